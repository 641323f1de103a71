//! Normalisation and reductions beside and over the pruned axis.

use crate::net::{Net, int, ints};

fn tokens() -> Net {
    Net::new(23).input("x", &[0, 5, 4])
}

#[test]
fn layer_norm_over_the_axis_is_inexact_and_beside_it_is_not() {
    let model = tokens()
        .dense("x", "a", [4, 8], "a")
        .positive("ln.weight", &[8])
        .param("ln.bias", &[8])
        .node("LayerNormalization", &["a", "ln.weight", "ln.bias"], "n")
        .dense("n", "b", [8, 6], "b")
        .transpose("b", &[0, 2, 1], "t")
        .positive("ln2.weight", &[5])
        .node("LayerNormalization", &["t", "ln2.weight"], "n2")
        .transpose("n2", &[0, 2, 1], "t2")
        .dense("t2", "c", [6, 2], "y")
        .done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        [
            "6 neuron: b.weight[1] b.bias[0] c.weight[0]",
            "~8 neuron: a.weight[1] a.bias[0] ln.weight[0] ln.bias[0] b.weight[0]",
        ]
    );
    let coupling = model.coupling();
    let inexact = coupling.groups[1].inexact.as_ref().unwrap().describe(&model.graph);
    assert!(inexact.contains("layer normalization"), "{inexact}");
}

#[test]
fn rms_norm_is_exact_with_its_statistics_rescaled() {
    let fused = tokens()
        .dense("x", "a", [4, 8], "a")
        .positive("g", &[8])
        .node("RMSNormalization", &["a", "g"], "n")
        .dense("n", "b", [8, 2], "y")
        .done(&["y"]);
    // √(n/m) is rounded as the scale's type has it.
    assert_eq!(fused.exact_to(1e-7).groups(), ["8 neuron: a.weight[1] a.bias[0] g[0] b.weight[0]"]);
    let decomposed = tokens()
        .dense("x", "a", [4, 8], "a")
        .number("two", 2.0)
        .node("Pow", &["a", "two"], "sq")
        .ints("last", &[-1])
        .node("ReduceMean", &["sq", "last"], "ms")
        .number("eps", 1e-6)
        .node("Add", &["ms", "eps"], "e")
        .node("Sqrt", &["e"], "rms")
        .node("Div", &["a", "rms"], "n")
        .positive("g", &[8])
        .node("Mul", &["n", "g"], "s")
        .dense("s", "b", [8, 2], "y")
        .done(&["y"]);
    assert_eq!(decomposed.exact().groups(), fused.groups());
}

#[test]
fn group_norm_goes_by_whole_groups() {
    let conv = || Net::new(21).input("x", &[0, 3, 4, 4]).conv("x", "a", [6, 3], 1, 1, "a");
    let fused = conv()
        .positive("g", &[6])
        .param("b", &[6])
        .with("GroupNormalization", &["a", "g", "b"], &["n"], vec![int("num_groups", 3)])
        .conv("n", "c", [2, 6], 1, 1, "y")
        .done(&["y"]);
    let groups = fused.exact().groups();
    assert!(groups[0].starts_with("3 ") && groups[0].contains("a.weight[0]×2"), "{groups:?}");
    // As exporters write it: instance normalisation of a reshaped tensor.
    let decomposed = conv()
        .reshape("a", &[0, 3, -1], "r")
        .positive("one", &[3])
        .param("zero", &[3])
        .node("InstanceNormalization", &["r", "one", "zero"], "i")
        .node("Shape", &["a"], "shape")
        .node("Reshape", &["i", "shape"], "back")
        .positive("g", &[6, 1, 1])
        .node("Mul", &["back", "g"], "n")
        .conv("n", "c", [2, 6], 1, 1, "y")
        .done(&["y"]);
    let groups = decomposed.exact().groups();
    assert!(groups[0].starts_with("3 ") && groups[0].contains("a.weight[0]×2"), "{groups:?}");
}

#[test]
fn means_over_pruned_channels_are_rescaled() {
    // Spatial attention: a gate from the mean over channels.
    let model = Net::new(18)
        .input("x", &[0, 3, 4, 4])
        .conv("x", "a", [6, 3], 1, 1, "a")
        .ints("channel", &[1])
        .node("ReduceMean", &["a", "channel"], "m")
        .node("Sigmoid", &["m"], "gate")
        .node("Mul", &["a", "gate"], "g")
        .conv("g", "b", [2, 6], 1, 1, "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 channel: a.weight[0] a.bias[0] b.weight[1]"]);
}

#[test]
fn a_mean_that_divides_by_a_size_keeps_its_divisor() {
    // A mean written as a sum and a division by a size taken from the shape.
    let model = tokens()
        .dense("x", "a", [4, 8], "a")
        .ints("last", &[2])
        .with("ReduceSum", &["a", "last"], &["sum"], vec![int("keepdims", 1)])
        .node("Shape", &["a"], "shape")
        .int("two", 2)
        .node("Gather", &["shape", "two"], "size")
        .with("Cast", &["size"], &["n"], vec![int("to", 1)])
        .node("Div", &["sum", "n"], "mean")
        .node("Sub", &["a", "mean"], "centred")
        .dense("centred", "b", [8, 2], "y")
        .done(&["y"]);
    model.exact();
}

#[test]
fn softmax_and_maxima_over_the_axis_are_inexact() {
    for (op, attributes) in [("Softmax", vec![int("axis", 1)]), ("LRN", vec![int("size", 3)])] {
        let model = Net::new(17)
            .input("x", &[0, 3, 4, 4])
            .conv("x", "a", [6, 3], 1, 1, "a")
            .with(op, &["a"], &["s"], attributes)
            .conv("s", "b", [2, 6], 1, 1, "y")
            .done(&["y"]);
        assert!(model.groups()[0].starts_with("~6 channel"), "{op}: {:?}", model.groups());
    }
    let model = Net::new(17)
        .input("x", &[0, 3, 4, 4])
        .conv("x", "a", [6, 3], 1, 1, "a")
        .with("ReduceMax", &["a"], &["m"], vec![ints("axes", &[1])])
        .node("Mul", &["a", "m"], "g")
        .conv("g", "b", [2, 6], 1, 1, "y")
        .done(&["y"]);
    assert!(model.groups()[0].starts_with("~6 channel"), "{:?}", model.groups());
}

#[test]
fn instance_norm_beside_the_channels_is_exact() {
    let model = Net::new(17)
        .input("x", &[0, 3, 4, 4])
        .conv("x", "a", [6, 3], 3, 1, "a")
        .positive("g", &[6])
        .param("b", &[6])
        .node("InstanceNormalization", &["a", "g", "b"], "n")
        .conv("n", "c", [2, 6], 1, 1, "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 channel: a.weight[0] a.bias[0] g[0] b[0] c.weight[1]"]);
}

#[test]
fn a_weight_behind_views_makes_units_where_its_layer_does() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .param("in", &[6, 4])
        .param("out", &[2, 1, 6])
        .node("Transpose", &["in"], "turned")
        .with("Cast", &["turned"], &["wide"], vec![int("to", 11)])
        .with("Cast", &["wide"], &["narrow"], vec![int("to", 1)])
        .node("MatMul", &["x", "narrow"], "h")
        .node("Relu", &["h"], "r")
        .with("Transpose", &["out"], &["last"], vec![ints("perm", &[2, 1, 0])])
        .reshape("last", &[6, 2], "flat")
        .node("MatMul", &["r", "flat"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 neuron: in[0] out[2]"]);
    let coupling = model.coupling();
    let made: Vec<&str> = coupling.groups[0]
        .made_of(&Default::default())
        .into_iter()
        .map(|parameter| model.graph.values[parameter.value].name.as_str())
        .collect();
    assert_eq!(made, ["in"]);
}
