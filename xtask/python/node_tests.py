"""node_tests.py OUT : writes ONNX's operator tests, as the installed `onnx` package has them.

OUT/<case>/model.onnx and OUT/<case>/test_data_set_<i>/{input,output}_<j>.pb, each a TensorProto. Cases whose inputs or
outputs are no tensors (sequences, optionals, maps) are named in OUT/skipped.txt. An optional input that is left out
has no file.
"""

import os
import sys
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

out = sys.argv[1]
# Some cases draw their data.
np.random.seed(0)


def to_tensor(value, info):
    """The value as a TensorProto of the type that the model declares, or None if it is not a tensor."""
    if isinstance(value, onnx.TensorProto):
        return value
    if not info.type.HasField("tensor_type") or isinstance(value, (list, dict)) or value is None:
        return None
    tensor = numpy_helper.from_array(np.asarray(value))
    if tensor.data_type != info.type.tensor_type.elem_type:
        raise ValueError(f"{info.name}: the value has element type {tensor.data_type}")
    tensor.name = info.name
    return tensor


written, skipped = 0, []
for case in collect_testcases(None):
    graph = case.model.graph
    sets = []
    for inputs, outputs in case.data_sets:
        tensors = [[to_tensor(v, i) for v, i in zip(vs, infos)] for vs, infos in ((inputs, graph.input), (outputs, graph.output))]
        sets.append(tensors)
    if any(t is None for s in sets for ts in s for t in ts):
        skipped.append(case.name)
        continue
    folder = os.path.join(out, case.name)
    os.makedirs(folder)
    onnx.save(case.model, os.path.join(folder, "model.onnx"))
    for k, tensors in enumerate(sets):
        data = os.path.join(folder, f"test_data_set_{k}")
        os.makedirs(data)
        for kind, ts in zip(("input", "output"), tensors):
            for j, tensor in enumerate(ts):
                with open(os.path.join(data, f"{kind}_{j}.pb"), "wb") as f:
                    f.write(tensor.SerializeToString())
    written += 1
with open(os.path.join(out, "skipped.txt"), "w") as f:
    f.writelines(name + "\n" for name in sorted(skipped))
print(f"{written} cases, {len(skipped)} skipped")
