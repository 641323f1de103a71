"""PyTorch eager, one forward pass at a time, driven by the benchmark beside it.

Reads `MODEL RUNS` lines, answers each with the milliseconds of the runs. Models: `preresnet` (batch 128) and `minilm` (32 x 64),
with random weights of the same architectures as the ONNX files that we run, in evaluation mode without gradients. The
PreResNet is given in channels-last layout too (`preresnet-channels-last`), which PyTorch's users have to ask for.
"""
import sys, time
import torch, torch.nn as nn, torch.nn.functional as F
from preresnet import PreResNet

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)


class Layer(nn.Module):
    def __init__(self, d=384, ff=1536):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, ff), nn.Linear(ff, d)
        self.n1, self.n2 = nn.LayerNorm(d, 1e-12), nn.LayerNorm(d, 1e-12)

    def forward(self, x, mask):
        b, s, d = x.shape
        heads = lambda t: t.view(b, s, 12, d // 12).transpose(1, 2)
        a = F.scaled_dot_product_attention(heads(self.q(x)), heads(self.k(x)), heads(self.v(x)), attn_mask=mask)
        x = self.n1(x + self.o(a.transpose(1, 2).reshape(b, s, d)))
        return self.n2(x + self.down(F.gelu(self.up(x))))


class MiniLM(nn.Module):
    def __init__(self, d=384):
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(30522, d), nn.Embedding(512, d), nn.Embedding(2, d)
        self.norm = nn.LayerNorm(d, 1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(6))
        self.pool, self.classify = nn.Linear(d, d), nn.Linear(d, 2)

    def forward(self, ids, mask):
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1])) + self.types(torch.zeros_like(ids))
        x = self.norm(x)
        mask = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        mask = mask.expand(-1, -1, ids.shape[1], -1)
        for layer in self.layers:
            x = layer(x, mask)
        return self.classify(torch.tanh(self.pool(x[:, 0])))


images = torch.randn(128, 3, 32, 32)
ids = torch.randint(0, 30522, (32, 64))
last = torch.channels_last
net, bert = PreResNet().eval(), MiniLM().eval()
net_last = PreResNet().eval().to(memory_format=last)
jobs = {
    "preresnet": (net, (images,)),
    "preresnet-channels-last": (net_last, (images.to(memory_format=last),)),
    "minilm": (bert, (ids, torch.ones(32, 64, dtype=torch.long))),
}
print(torch.__version__, flush=True)
with torch.no_grad():
    for line in sys.stdin:
        name, runs = line.split()
        model, inputs = jobs[name]
        times = []
        for _ in range(int(runs)):
            start = time.perf_counter()
            model(*inputs)
            times.append(1e3 * (time.perf_counter() - start))
        print(*times, flush=True)
