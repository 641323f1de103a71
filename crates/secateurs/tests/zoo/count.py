"""Counts parameters, bytes and multiply-accumulates of ONNX files, from the files alone.

Every file named on standard input, or as an argument, is answered with a line of JSON: `parameters`, `statistics`, `bytes`,
`macs`; or `error`. Symbolic sizes are 1 on the first axis of an input and 128 elsewhere.
"""

import json
import math
import sys

import numpy
import onnx
from onnx import numpy_helper

ALL = range(64)
# Inputs where a constant is a trained weight, even a single number.
WEIGHTS = {
    "BatchNormalization": (1, 2), "Conv": (1, 2), "ConvTranspose": (1, 2), "Einsum": ALL, "Gemm": ALL,
    "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "MatMul": ALL, "PRelu": (1,),
    "RMSNormalization": (1,),
}
STATISTICS = {"BatchNormalization": (3, 4)}
# Inputs that hold sizes, indices, bounds.
SETTINGS = {
    "CastLike": (1,), "Clip": (1, 2), "ConstantOfShape": ALL, "CumSum": (1,), "Expand": (1,), "Gather": (1,),
    "GatherElements": (1,), "GatherND": (1,), "OneHot": (1, 2), "Pad": (1, 2, 3), "Range": ALL, "Reshape": (1,),
    "Resize": (1, 2, 3), "ScatterElements": (1,), "ScatterND": (1,), "Shape": ALL, "Size": ALL, "Slice": (1, 2, 3, 4),
    "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,),
}
# Ops behind which a constant is still the same constant.
VIEWS = {"Cast", "CastLike", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
FLOATS = {"float16", "float32", "float64", "bfloat16"}
NOT_COUNTED = {"Attention", "CausalConvWithState", "DeformConv", "GRU", "If", "LSTM", "LinearAttention", "Loop", "RNN", "Scan"}


def constants(graph):
    """All constants by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            value = onnx.helper.get_attribute_value(attribute)
            is_tensor = attribute.type == onnx.AttributeProto.TENSOR
            kind = numpy.float32 if attribute.name.startswith("value_float") else numpy.int64
            found[node.output[0]] = numpy_helper.to_array(value) if is_tensor else numpy.asarray(value, kind)
    return found


def purposes(name, uses):
    """What a constant is for, seen through views."""
    for node, place in uses.get(name, ()):
        if node.op_type in VIEWS and place == 0:
            yield from purposes(node.output[0], uses)
        elif place in WEIGHTS.get(node.op_type, ()):
            yield "weight"
        elif place in STATISTICS.get(node.op_type, ()):
            yield "statistic"
        elif place not in SETTINGS.get(node.op_type, ()) and not node.op_type.startswith("Reduce"):
            yield "operand"
        elif node.op_type.startswith("Reduce") and place == 0:
            yield "operand"


def stored(graph):
    uses = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            uses.setdefault(name, []).append((node, place))
    counted = {"parameters": 0, "statistics": 0, "bytes": 0}
    for name, array in constants(graph).items():
        counted["bytes"] += array.nbytes
        found = set(purposes(name, uses))
        if array.dtype.name not in FLOATS:
            continue
        if "weight" in found or "operand" in found:
            counted["parameters"] += array.size if array.size > 1 or "weight" in found else 0
        elif "statistic" in found:
            counted["statistics"] += array.size
    return counted


def bind(model):
    """Numbers for the symbolic sizes of the inputs; what else the file says of shapes is forgotten."""
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    shapes = [value.type.tensor_type.shape.dim for value in inputs]
    sizes = {}
    for first, size in ((True, 1), (False, 128)):
        for shape in shapes:
            for axis, dim in enumerate(shape):
                if dim.HasField("dim_param") and (axis == 0) == first:
                    sizes.setdefault(dim.dim_param, size)
    for shape in shapes:
        for dim in shape:
            if dim.HasField("dim_param"):
                dim.dim_value = sizes[dim.dim_param]
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return inputs


def shapes_by_running(model, inputs, wanted):
    """What no inference finds a run does, on zeros."""
    import onnxruntime

    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {}
    for value in inputs:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = numpy.zeros([dim.dim_value for dim in value.type.tensor_type.shape.dim], kind)
    return {name: list(array.shape) for name, array in zip(wanted, session.run(wanted, feeds))}


def shapes_of(model, wanted):
    inputs = bind(model)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {name: list(array.shape) for name, array in constants(model.graph).items()}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                shapes[value.name] = [dim.dim_value for dim in dims]
    missing = sorted(name for name in wanted if name not in shapes)
    if missing:
        shapes |= shapes_by_running(model, inputs, missing)
    return shapes


def einsum(equation, shapes):
    sizes = {}
    for term, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes):
        assert "." not in term, "ellipses are not counted"
        sizes |= {label: size for label, size in zip(term, shape) if size > 1 or label not in sizes}
    return math.prod(sizes.values()) if len(shapes) > 1 else 0


def macs(model):
    counted = {"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"}
    nodes = [node for node in model.graph.node if node.op_type in counted]
    for node in model.graph.node:
        if node.op_type in NOT_COUNTED:
            raise ValueError(f"{node.op_type} is not counted here")
    names = {name for node in nodes for name in [*node.input, *node.output] if name}
    shapes = shapes_of(model, names)
    total = 0
    for node in nodes:
        inputs, output = [shapes[name] for name in node.input if name], shapes[node.output[0]]
        if node.op_type == "Conv":
            total += math.prod(output) * math.prod(inputs[1][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(inputs[0]) * math.prod(inputs[1][1:])
        elif node.op_type == "MatMul":
            total += math.prod(output) * inputs[0][-1]
        elif node.op_type == "Gemm":
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += math.prod(output) * inputs[0][0 if transposed else 1]
        else:
            total += einsum(node.attribute[0].s.decode(), inputs)
    return total


def answer(file):
    try:
        model = onnx.load(file)
        return {**stored(model.graph), "macs": macs(model)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


for file in sys.argv[1:] or sys.stdin:
    print(json.dumps(answer(file.rstrip("\n"))), flush=True)
