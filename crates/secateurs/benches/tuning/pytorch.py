"""PyTorch's usual training loop on the same model and data, driven by the benchmark beside it.

    pytorch.py EXCHANGE DATA [JOB]

EXCHANGE is an archive with the model's weights by name, `images` with the `logits` that ONNX Runtime gives for them, and the
`order` of the samples for comparing losses; DATA is CIFAR-10; JOB is JSON (`job.rs`). Without a job PyTorch's version is printed
and how far its logits are from ONNX Runtime's.
"""
import itertools, json, sys, time
from pathlib import Path

import numpy as np, torch, torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

sys.path.append(str(Path(__file__).parents[1] / "peers"))
from preresnet import PreResNet

BATCH_SIZE = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Cifar10(Dataset):
    """As `torchvision.datasets.CIFAR10` does it."""

    def __init__(self, file, transform):
        arrays = np.load(file)
        self.images, self.labels, self.transform = arrays["x"], arrays["y"], transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def model(exchange):
    net = PreResNet()
    # Batch norms count their batches, which ONNX does not.
    own = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    missing = net.load_state_dict({name: torch.from_numpy(exchange[name]) for name in own}, strict=False)
    assert not missing.unexpected_keys and all("num_batches" in name for name in missing.missing_keys)
    return net


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)


def train(net, data, training, precision):
    """The loop, with the loss for the user's log after every step."""
    ((kind, how),) = training.items()
    layout = torch.channels_last if how["channels_last"] else torch.contiguous_format
    changes = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    dataset = Cifar10(data, transforms.Compose([*changes, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))
    workers = how.get("workers", 0)
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers)
    if kind == "pytorch_step":
        images, labels = next(iter(loader))
        loader = itertools.repeat((images.to(memory_format=layout), labels))
    net = net.to(memory_format=layout).train()
    optimizer = sgd(net.parameters())
    while True:
        for images, labels in loader:
            images = images.to(memory_format=layout)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            yield loss.item()


def take_turns(steps, warmup, lead_in, timed):
    def run(count):
        for _ in range(count):
            next(steps)

    run(warmup)
    print(peak_memory(), flush=True)
    for _ in sys.stdin:
        run(lead_in)
        start = time.perf_counter()
        run(timed)
        print(time.perf_counter() - start, flush=True)


def peak_memory():
    """The most that this process has had in memory, in bytes; the loader's processes are not counted."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def losses(net, data, order, precision):
    """Of the first steps through the samples in this order, without augmentation."""
    kind = {"f32": torch.float32, "f64": torch.float64}[precision]
    net = net.to(kind).train()
    norms_and_biases = [parameter for parameter in net.parameters() if parameter.dim() == 1]
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    optimizer = sgd([{"params": weights}, {"params": norms_and_biases, "weight_decay": 0}])
    arrays = np.load(data)
    for samples in order.reshape(-1, BATCH_SIZE):
        # Pixels are 32-bit numbers in both precisions, as the model's input is.
        images = ((arrays["x"][samples] / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(torch.from_numpy(images).to(kind)), torch.from_numpy(arrays["y"][samples]))
        loss.backward()
        optimizer.step()
        yield loss.item()


def main(exchange, data, job=None):
    exchange = np.load(exchange)
    net = model(exchange)
    if job is None:
        with torch.no_grad():
            logits = net.eval()(torch.from_numpy(exchange["images"]))
        print(torch.__version__, float((logits - torch.from_numpy(exchange["logits"])).abs().max()))
        return
    job = json.loads(job)
    torch.set_num_threads(job["threads"])
    if job["task"] == "losses":
        print(*losses(net, data, exchange["order"], job["precision"]))
    else:
        turns = job["task"]["turns"]
        steps = train(net, data, job["training"], job["precision"])
        take_turns(steps, turns["warmup"], turns["lead_in"], turns["steps"])


if __name__ == "__main__":
    main(*sys.argv[1:])
