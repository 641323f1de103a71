//! What cannot be known blocks, and says why.

use secateurs_onnx::Tensor;

use crate::net::{Net, int, ints};

#[test]
fn indices_known_only_at_run_time_block() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .tokens("pick", &[2], 6)
        .dense("x", "a", [4, 6], "a")
        .with("Gather", &["a", "pick"], &["g"], vec![int("axis", 1)])
        .dense("g", "b", [2, 3], "y")
        .done(&["y"]);
    assert!(model.groups().is_empty(), "{:?}", model.groups());
    assert!(model.reason("a.weight", 1).contains("indexed at run time"), "{}", model.reason("a.weight", 1));
}

#[test]
fn an_axis_that_a_window_slides_over_blocks() {
    // Efficient channel attention: a convolution along the channels.
    let model = Net::new(17)
        .input("x", &[0, 3, 4, 4])
        .conv("x", "a", [6, 3], 1, 1, "a")
        .node("GlobalAveragePool", &["a"], "p")
        .reshape("p", &[0, 1, 6], "r")
        .param("eca", &[1, 1, 3])
        .with("Conv", &["r", "eca"], &["c"], vec![ints("pads", &[1, 1])])
        .node("Sigmoid", &["c"], "s")
        .reshape("s", &[0, 6, 1, 1], "gate")
        .node("Mul", &["a", "gate"], "m")
        .conv("m", "b", [2, 6], 1, 1, "y")
        .done(&["y"]);
    assert!(model.groups().is_empty(), "{:?}", model.groups());
    assert!(model.reason("a.weight", 0).contains("sliding window"), "{}", model.reason("a.weight", 0));
}

#[test]
fn an_op_that_we_do_not_know_blocks_what_it_reads_and_makes() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .dense("x", "a", [4, 6], "a")
        .dense("a", "b", [6, 5], "b")
        .node("Frobnicate", &["b"], "f")
        .node("Relu", &["f"], "y")
        .done(&["y"]);
    assert!(model.reason("b.weight", 1).contains("Frobnicate"), "{}", model.reason("b.weight", 1));
    assert_eq!(model.groups(), ["6 neuron: a.weight[1] a.bias[0] b.weight[0]"]);
}

#[test]
fn two_readings_of_a_symbolic_axis_that_disagree_block() {
    // [batch, 4] → [4·batch]: read back as (batch 4) the channels can go, read as (4 batch) they cannot.
    let build = |back: &[i64], perm: &[i64]| {
        Net::new(17)
            .input("x", &[0, 3])
            .dense("x", "a", [3, 4], "a")
            .reshape("a", &[-1], "flat")
            .reshape("flat", back, "b")
            .transpose("b", perm, "t")
            .dense("t", "c", [4, 2], "y")
            .done(&["y"])
    };
    assert_eq!(build(&[-1, 4], &[0, 1]).exact().groups(), ["4 neuron: a.weight[1] a.bias[0] c.weight[0]"]);
    let conflict = build(&[4, -1], &[1, 0]);
    assert!(conflict.groups().is_empty(), "{:?}", conflict.groups());
}

#[test]
fn quantized_weights_alone_make_no_units() {
    let weight = |seed: i64, shape: Vec<usize>| {
        let values: Vec<i8> =
            (0..shape.iter().product::<usize>() as i64).map(|i| ((i * 7 + seed) % 11) as i8).collect();
        Tensor::from_slice(shape, &values).unwrap()
    };
    let model = Net::new(17)
        .input("x", &[0, 4])
        .tensor("qa", &weight(1, vec![4, 6]))
        .tensor("qb", &weight(2, vec![6, 3]))
        .number("scale", 0.25)
        .node("DequantizeLinear", &["qa", "scale"], "a")
        .node("DequantizeLinear", &["qb", "scale"], "b")
        .node("MatMul", &["x", "a"], "h")
        .node("Relu", &["h"], "r")
        .node("MatMul", &["r", "b"], "y")
        .done(&["y"]);
    assert!(model.groups().is_empty(), "{:?}", model.groups());
    assert!(model.reason("qa", 1).contains("integers"), "{}", model.reason("qa", 1));
}

#[test]
fn a_channel_that_feeds_an_output_directly_stays() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .dense("x", "a", [4, 6], "a")
        .node("Relu", &["a"], "r")
        .dense("r", "b", [6, 3], "y")
        .done(&["y", "r"]);
    assert!(model.groups().is_empty());
    assert!(model.reason("a.weight", 1).contains("model's output 'r'"));
}

#[test]
fn a_single_index_used_by_its_position_stays() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .dense("x", "a", [4, 6], "a")
        .int("third", 3)
        .with("Gather", &["a", "third"], &["g"], vec![int("axis", 1)])
        .ints("one", &[1])
        .node("Unsqueeze", &["g", "one"], "u")
        .node("Mul", &["a", "u"], "m")
        .dense("m", "b", [6, 3], "y")
        .done(&["y"]);
    model.exact();
    let units: usize = model.coupling().groups.iter().map(|g| g.units.len()).sum();
    assert_eq!(units, 5);
}

#[test]
fn heads_in_the_batch_that_meet_a_number_known_only_at_run_time_block() {
    // Keys of all tokens as [5, 2·batch, 4], queries of those that a mask picks.
    let mut net = Net::new(17)
        .input("x", &[5, 0, 6])
        .tokens("mask", &[5], 2)
        .with("Cast", &["mask"], &["picked"], vec![int("to", 9)])
        .with("Compress", &["x", "picked"], &["few"], vec![int("axis", 0)])
        .with("Shape", &["x"], &["batch"], vec![int("start", 1), int("end", 2)])
        .ints("two", &[2])
        .node("Mul", &["batch", "two"], "both")
        .ints("any", &[-1])
        .ints("width", &[4])
        .with("ReduceSum", &["mask"], &["count"], vec![int("keepdims", 0)])
        .reshape("count", &[1], "counted")
        .with("Concat", &["any", "both", "width"], &["k.shape"], vec![int("axis", 0)])
        .with("Concat", &["counted", "both", "width"], &["q.shape"], vec![int("axis", 0)]);
    for (name, from) in [("q", "few"), ("k", "x")] {
        let n = |part: &str| format!("{name}{part}");
        net = net
            .dense(from, name, [6, 8], &n("1"))
            .node("Reshape", &[&n("1"), &n(".shape")], &n("3"))
            .transpose(&n("3"), &[1, 0, 2], &n("t"));
    }
    let model = net
        .transpose("kt", &[0, 2, 1], "keys")
        .node("MatMul", &["qt", "keys"], "s")
        .with("ReduceSum", &["s"], &["y"], vec![int("keepdims", 0)])
        .done(&["y"]);
    assert!(model.groups().is_empty(), "{:?}", model.groups());
    assert!(
        model.reason("k.weight", 1).contains("not fixed before the model runs"),
        "{}",
        model.reason("k.weight", 1)
    );
}
