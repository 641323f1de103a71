"""Fixes the batch of ONNX files at 1, as exporters do by default: what follows from it becomes constants.

Every line of standard input names a file to read and, behind a tab, one to write; the answer is a line of JSON, with an `error` where
that fails.
"""

import json
import sys

import onnx
import onnxruntime

# What no exporter does to transposes and products.
LEFT_OUT = ["GemmTransposeFusion", "MatMulAddFusion", "ReshapeFusion", "TransposeOptimizer"]


def fix(source, target):
    model = onnx.load(source)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=LEFT_OUT
    )


for line in sys.stdin:
    try:
        fix(*line.rstrip("\n").split("\t"))
        answer = {}
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
