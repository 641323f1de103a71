"""Traces of the filters of the PreResNet by PyHessian: its gradients and Hessian-vector products, added up filter by filter.

Called with an exchange file and a number of threads: prints the versions and how far the logits are from ONNX Runtime's. Then for every
line `PROBES` on stdin a line of JSON: the seconds that the probes took, and for every convolution the traces of its filters.
"""
import json, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
import numpy as np, torch, torch.nn.functional as F
from importlib.metadata import version
from preresnet import PreResNet
from pyhessian.hessian import hessian
from pyhessian.utils import hessian_vector_product

torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
exchange = dict(np.load(sys.argv[1]))
images, logits, labels = (torch.from_numpy(exchange.pop(name)) for name in ("images", "logits", "labels"))
model = PreResNet().eval()
missing = model.load_state_dict({name: torch.from_numpy(array) for name, array in exchange.items()}, strict=False)
assert not missing.unexpected_keys, missing
assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys), missing
with torch.no_grad():
    difference = float((model(images) - logits).abs().max() / logits.abs().max())
print(f"PyTorch {torch.__version__}, PyHessian {version('pyhessian')}", f"{difference:.1e}", sep="\t", flush=True)

names = {id(p): name for name, p in model.named_parameters() if p.dim() == 4}
for line in sys.stdin:
    start = time.perf_counter()
    whole = hessian(model, F.cross_entropy, data=(images, labels), cuda=False)
    sums = {name: 0 for name in names.values()}
    for _ in range(int(line)):
        signs = [torch.randint_like(p, high=2) * 2 - 1 for p in whole.params]
        products = hessian_vector_product(whole.gradsH, whole.params, signs)
        for p, v, hv in zip(whole.params, signs, products):
            if id(p) in names:
                sums[names[id(p)]] = sums[names[id(p)]] + (v * hv).flatten(1).sum(1) / int(line)
    seconds = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    print(json.dumps({"seconds": seconds, "traces": {name: sum.tolist() for name, sum in sums.items()}}), flush=True)
