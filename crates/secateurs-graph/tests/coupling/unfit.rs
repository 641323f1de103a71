//! Files that no engine would run: what contradicts itself cannot be pruned, and what a file merely declares takes no memory.

use crate::net::{Net, int};
use secateurs_onnx::Tensor;

#[test]
fn nodes_that_lack_inputs_or_have_some_of_other_sizes_block() {
    let net = || Net::new(13).input("x", &[0, 4]).dense("x", "a", [4, 6], "a");
    let other = net().param("three", &[3, 1, 1]).param("b", &[6, 2]);
    for (what, net) in [
        ("no lengths", net().with("ReverseSequence", &["a"], &["y"], vec![int("batch_axis", 0)])),
        ("no updates", net().ints("at", &[0, 0]).node("ScatterND", &["a", "at"], "y")),
        ("no shape", net().node("Expand", &["a"], "y")),
        (
            "one operand too many",
            other.node("Softsign", &["a", "three"], "s").node("MatMul", &["s", "b"], "y"),
        ),
    ] {
        let model = net.done(&["y"]);
        assert!(model.groups().is_empty(), "{what}: {:?}", model.groups());
    }
}

#[test]
fn sizes_that_are_only_declared_take_no_memory() {
    let huge = 1i64 << 40;
    let none = Tensor::from_slice(vec![0, 1 << 40], &[] as &[i64]).unwrap();
    let model = Net::new(18)
        .input("x", &[0, 4])
        .dense("x", "a", [4, 6], "a")
        .dense("a", "b", [6, 2], "b")
        .ints("size", &[huge])
        .node("ConstantOfShape", &["size"], "zeros")
        .ints("start", &[0])
        .ints("end", &[i64::MAX])
        .ints("step", &[3])
        .node("Slice", &["zeros", "start", "end", "start", "step"], "third")
        .with("ReduceSum", &["third"], &["sum"], vec![int("keepdims", 0)])
        .tensor("none", &none)
        .node("ReduceMean", &["b", "none"], "mean")
        .node("Add", &["mean", "sum"], "y")
        .done(&["y"]);
    // What is small beside it can still go.
    assert_eq!(model.groups(), ["6 neurons: a.weight[1] a.bias[0] b.weight[0]"]);
}
