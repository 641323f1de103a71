//! Convolutional networks.

use crate::net::{Net, int, ints, random, run};

fn stem() -> Net {
    Net::new(17).input("x", &[0, 3, 6, 6])
}

/// A 1×1 convolution to two channels, so that nothing before it touches an output.
fn head(net: Net, x: &str, channels: usize) -> crate::net::Model {
    net.conv(x, "head", [2, channels], 1, 1, "y").done(&["y"])
}

#[test]
fn a_residual_add_couples_both_sides_through_batch_norm_and_activation() {
    let net = stem()
        .conv("x", "a", [8, 3], 3, 1, "a")
        .batch_norm("a", "bn", 8, "n")
        .node("Relu", &["n"], "r")
        .conv("r", "b", [5, 8], 3, 1, "b")
        .conv("b", "c", [8, 5], 1, 1, "c")
        .node("Add", &["r", "c"], "s");
    let model = head(net, "s", 8);
    assert_eq!(
        model.exact().groups(),
        [
            "8 channel: a.weight[0] a.bias[0] bn.weight[0] bn.bias[0] bn.mean[0] bn.var[0] b.weight[1] c.weight[0] \
             c.bias[0] head.weight[1]",
            "5 channel: b.weight[0] b.bias[0] c.weight[1]",
        ]
    );
    assert!(model.reason("a.weight", 1).contains("model's input 'x'"));
    assert!(model.reason("head.weight", 0).contains("model's output 'y'"));
    assert!(model.reason("a.weight", 2).contains("a sliding window"));
}

#[test]
fn a_wrong_index_is_noticed() {
    let model = head(stem().conv("x", "a", [8, 3], 3, 1, "a"), "a", 8);
    let coupling = model.coupling();
    let kept = random(&coupling, 3);
    let mut wrong = kept.clone();
    let gone = (0..8).find(|u| !kept.kept[0].contains(u)).unwrap();
    wrong.kept[0][0] = gone;
    wrong.kept[0].sort_unstable();
    assert!(model.difference(&coupling, &kept, &kept, 2) < 1e-9);
    assert!(model.difference(&coupling, &kept, &wrong, 2) > 1e-3);
}

#[test]
fn concatenated_split_sliced_and_gathered_channels_are_followed_by_offset() {
    let net = stem()
        .conv("x", "a", [4, 3], 1, 1, "a")
        .conv("x", "b", [6, 3], 1, 1, "b")
        .with("Concat", &["a", "b"], &["ab"], vec![int("axis", 1)])
        .ints("sizes", &[3, 7])
        .with("Split", &["ab", "sizes"], &["p", "q"], vec![int("axis", 1)])
        .ints("starts", &[1])
        .ints("ends", &[6])
        .ints("axes", &[1])
        .node("Slice", &["q", "starts", "ends", "axes"], "s")
        .ints("order", &[4, 0, 2, 2])
        .with("Gather", &["s", "order"], &["g"], vec![int("axis", 1)])
        .conv("p", "c", [4, 3], 1, 1, "c")
        .conv("g", "d", [4, 4], 1, 1, "d")
        .node("Add", &["c", "d"], "cd")
        .node("Relu", &["ab"], "r")
        .conv("r", "e", [4, 10], 1, 1, "e")
        .node("Add", &["cd", "e"], "s2");
    let model = head(net, "s2", 4);
    model.exact();
    let coupling = model.coupling();
    let units: usize = coupling.groups.iter().map(|g| g.units.len()).sum();
    assert_eq!(units, 14, "ten channels before, four behind: {:?}", model.groups());
}

#[test]
fn a_channel_shuffle_is_seen_through() {
    let net = stem()
        .conv("x", "a", [8, 3], 1, 1, "a")
        .reshape("a", &[0, 2, 4, 6, 6], "split")
        .transpose("split", &[0, 2, 1, 3, 4], "t")
        .reshape("t", &[0, -1, 6, 6], "m")
        .conv("m", "b", [5, 8], 1, 1, "b");
    let model = head(net, "b", 5);
    assert_eq!(model.exact().groups()[0], "4 channel: a.weight[0]×2 a.bias[0]×2 b.weight[1]×2");
}

#[test]
fn shuffle_units_with_halves_that_cut_through_pairs() {
    // Two ShuffleNet units of 6 channels: the halves of 3 are not a multiple of the two groups.
    let mut net = stem().conv("x", "stem", [6, 3], 1, 1, "u0");
    for i in 0..2 {
        let at = |name: &str| format!("{name}{i}");
        let (input, output) = (at("u"), format!("u{}", i + 1));
        net = net
            .with("Split", &[&input], &[&at("l"), &at("r")], vec![int("axis", 1)])
            .conv(&at("r"), &at("conv"), [3, 3], 3, 1, &at("c"))
            .with("Concat", &[&at("l"), &at("c")], &[&at("cat")], vec![int("axis", 1)])
            .reshape(&at("cat"), &[0, 2, 3, 6, 6], &at("g"))
            .transpose(&at("g"), &[0, 2, 1, 3, 4], &at("t"))
            .reshape(&at("t"), &[0, 6, 6, 6], &output);
    }
    head(net, "u2", 6).exact();
}

#[test]
fn flatten_gives_every_channel_its_block_of_a_dense_layer() {
    let net = stem()
        .conv("x", "a", [5, 3], 3, 1, "a")
        .node("Relu", &["a"], "r")
        .with("Flatten", &["r"], &["f"], vec![int("axis", 1)])
        .dense("f", "fc", [180, 7], "h")
        .node("Relu", &["h"], "hr")
        .dense("hr", "out", [7, 2], "y");
    let model = net.done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        [
            "5 channel: a.weight[0] a.bias[0] fc.weight[0]×36",
            "7 neuron: fc.weight[1] fc.bias[0] out.weight[0]"
        ]
    );
}

#[test]
fn a_grouped_convolution_loses_groups_or_channels_within() {
    let build = || {
        let net = stem().conv("x", "a", [12, 3], 1, 1, "a").conv("a", "g", [6, 4], 3, 3, "g").node(
            "Relu",
            &["g"],
            "r",
        );
        head(net, "r", 6)
    };
    assert_eq!(
        build().exact().groups(),
        ["3 conv group: a.weight[0]×4 a.bias[0]×4 g.weight[0]×2 g.bias[0]×2 head.weight[1]×2"]
    );
    let inner = build().inner();
    assert_eq!(
        inner.exact().groups(),
        [
            "4 channel: a.weight[0]×3 a.bias[0]×3 g.weight[1]",
            "2 channel: g.weight[0]×3 g.bias[0]×3 head.weight[1]×3"
        ]
    );
}

#[test]
fn a_depthwise_convolution_follows_its_input() {
    let net = stem().conv("x", "a", [6, 3], 1, 1, "a").conv("a", "dw", [12, 1], 3, 6, "d").node(
        "Relu",
        &["d"],
        "r",
    );
    let model = head(net, "r", 12);
    assert_eq!(
        model.exact().groups(),
        ["6 conv group: a.weight[0] a.bias[0] dw.weight[0]×2 dw.bias[0]×2 head.weight[1]×2"]
    );
}

#[test]
fn a_squeeze_excite_gate_follows_what_it_gates() {
    let net = stem()
        .conv("x", "a", [8, 3], 3, 1, "a")
        .node("GlobalAveragePool", &["a"], "pool")
        .conv("pool", "down", [3, 8], 1, 1, "down")
        .node("Relu", &["down"], "dr")
        .conv("dr", "up", [8, 3], 1, 1, "up")
        .node("HardSigmoid", &["up"], "gate")
        .node("Mul", &["a", "gate"], "m");
    let model = head(net, "m", 8);
    assert_eq!(
        model.exact().groups(),
        [
            "8 channel: a.weight[0] a.bias[0] down.weight[1] up.weight[0] up.bias[0] head.weight[1]",
            "3 channel: down.weight[0] down.bias[0] up.weight[1]"
        ]
    );
}

#[test]
fn pixel_shuffles_take_blocks_of_channels() {
    for mode in ["DCR", "CRD"] {
        let net = stem().conv("x", "a", [12, 3], 1, 1, "a").with(
            "DepthToSpace",
            &["a"],
            &["d"],
            vec![int("blocksize", 2), secateurs_onnx::proto::AttributeProto::from_string("mode", mode)],
        );
        assert_eq!(
            head(net, "d", 3).exact().groups(),
            ["3 channel: a.weight[0]×4 a.bias[0]×4 head.weight[1]"]
        );
    }
    let net = stem()
        .conv("x", "a", [12, 3], 1, 1, "a")
        .reshape("a", &[-1, 3, 2, 2, 6, 6], "r")
        .transpose("r", &[0, 1, 4, 2, 5, 3], "t")
        .reshape("t", &[-1, 3, 12, 12], "d");
    assert_eq!(head(net, "d", 3).exact().groups(), ["3 channel: a.weight[0]×4 a.bias[0]×4 head.weight[1]"]);
}

#[test]
fn transposed_convolutions_have_input_channels_first() {
    let net = stem()
        .conv("x", "a", [8, 3], 1, 1, "a")
        .param("up.weight", &[8, 3, 2, 2])
        .param("up.bias", &[6])
        .with(
            "ConvTranspose",
            &["a", "up.weight", "up.bias"],
            &["u"],
            vec![int("group", 2), ints("strides", &[2, 2])],
        );
    assert_eq!(
        head(net, "u", 6).exact().groups(),
        ["2 conv group: a.weight[0]×4 a.bias[0]×4 up.weight[0]×4 up.bias[0]×3 head.weight[1]×3"]
    );
}

#[test]
fn an_option_a_shortcut_pads_channels() {
    let net = stem()
        .conv("x", "a", [4, 3], 1, 1, "a")
        .ints("pads", &[0, 2, 0, 0, 0, 2, 0, 0])
        .node("Pad", &["a", "pads"], "p")
        .conv("a", "b", [8, 4], 3, 1, "b")
        .node("Add", &["p", "b"], "s");
    let model = head(net, "s", 8);
    model.exact();
    let units: usize = model.coupling().groups.iter().map(|g| g.units.len()).sum();
    assert_eq!(units, 8, "four channels with a partner, four without: {:?}", model.groups());
}

#[test]
fn channels_before_a_padding_of_ones_are_zeroed_behind_it() {
    let net = stem()
        .conv("x", "a", [4, 3], 1, 1, "a")
        .ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .number("one", 1.0)
        .node("Pad", &["a", "pads", "one"], "p")
        .node("Sigmoid", &["p"], "s");
    head(net, "s", 4).exact();
}

#[test]
fn dense_connections_make_a_group_of_every_layer() {
    let net = stem()
        .conv("x", "a", [4, 3], 1, 1, "a")
        .batch_norm("a", "n1", 4, "b1")
        .conv("b1", "b", [3, 4], 3, 1, "b")
        .with("Concat", &["a", "b"], &["ab"], vec![int("axis", 1)])
        .batch_norm("ab", "n2", 7, "b2")
        .conv("b2", "c", [3, 7], 3, 1, "c")
        .with("Concat", &["a", "b", "c"], &["abc"], vec![int("axis", 1)]);
    let model = head(net, "abc", 10);
    let sizes: Vec<usize> = model.exact().coupling().groups.iter().map(|g| g.units.len()).collect();
    assert_eq!(sizes, [4, 3, 3]);
}

#[test]
fn maxout_takes_whole_pools() {
    let net = stem()
        .conv("x", "a", [12, 3], 1, 1, "a")
        .reshape("a", &[0, 4, 3, 6, 6], "r")
        .ints("axes", &[2])
        .with("ReduceMax", &["r"], &["m"], vec![ints("axes", &[2]), int("keepdims", 0)]);
    assert_eq!(head(net, "m", 4).exact().groups(), ["4 channel: a.weight[0]×3 a.bias[0]×3 head.weight[1]"]);
}

#[test]
fn sizes_that_only_the_file_tells_shrink_with_their_units() {
    // Without its axes listed, Squeeze may take the batch too: only the file says that it does not.
    let model = Net::new(11)
        .input("x", &[0, 2, 5, 5])
        .conv("x", "a", [6, 2], 3, 1, "a")
        .node("Relu", &["a"], "r")
        .node("GlobalAveragePool", &["r"], "p")
        .node("Squeeze", &["p"], "s")
        .node("Identity", &["s"], "i")
        .param("w", &[6, 3])
        .node("MatMul", &["i", "w"], "y")
        .declaring(&[("s", &["batch", "6"]), ("i", &["batch", "6"])], &["y"]);
    assert_eq!(model.exact().groups(), ["6 channel: a.weight[0] a.bias[0] w[0]"]);
}

#[test]
fn sizes_that_only_a_run_can_tell_stay_beside_units_that_go() {
    let model = Net::new(17)
        .input("x", &[0, 2, 5])
        .tokens("end", &[1], 5)
        .ints("start", &[0])
        .ints("axis", &[2])
        .param("w", &[6, 2, 1])
        .node("Conv", &["x", "w"], "h")
        .node("Slice", &["h", "start", "end", "axis"], "s")
        .node("Shape", &["s"], "sizes")
        .node("Relu", &["s"], "r")
        .node("Reshape", &["r", "sizes"], "t")
        .with("ReduceSum", &["t", "axis"], &["m"], vec![int("keepdims", 0)])
        .param("v", &[6, 3])
        .node("MatMul", &["m", "v"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 channel: w[0] v[0]"]);
}

#[test]
fn pooling_bars_channels_only_where_its_indices_are_wanted() {
    let net = |indices: &str| {
        stem().conv("x", "a", [4, 3], 3, 1, "a").with(
            "MaxPool",
            &["a"],
            &["p", indices],
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
        )
    };
    let groups = ["4 channel: a.weight[0] a.bias[0] head.weight[1]"];
    assert_eq!(head(net(""), "p", 4).exact().groups(), groups);
    let read = net("i").conv("p", "head", [2, 4], 1, 1, "y").done(&["y", "i"]);
    assert!(read.groups().is_empty());
    assert!(read.reason("a.weight", 0).contains("indices into the flattened input"));
}

/// As much padding on one side of the rows as half the batch, rounded up, then twice as many rows and columns: computed in floats, as
/// exporters write it.
#[test]
fn channels_are_free_beside_axes_whose_sizes_are_computed_in_floats() {
    let model = stem()
        .conv("x", "a", [6, 3], 1, 1, "a")
        .ints("first", &[0])
        .number("two", 2.0)
        .ints("zeros", &[0, 0, 0, 0, 0])
        .ints("zero", &[0])
        .node("Shape", &["x"], "shape")
        .node("Gather", &["shape", "first"], "batch")
        .with("Cast", &["batch"], &["float"], vec![int("to", 1)])
        .node("Div", &["float", "two"], "half")
        .node("Ceil", &["half"], "rounded")
        .with("Cast", &["rounded"], &["pad"], vec![int("to", 7)])
        .with("Concat", &["zeros", "zero", "pad", "zero"], &["pads"], vec![int("axis", 0)])
        .node("Pad", &["a", "pads"], "wide")
        .ints("outer", &[0, 1])
        .ints("inner", &[2, 3])
        .node("Shape", &["wide"], "sizes")
        .node("Gather", &["sizes", "outer"], "same")
        .node("Gather", &["sizes", "inner"], "small")
        .with("Cast", &["small"], &["floats"], vec![int("to", 1)])
        .node("Mul", &["floats", "two"], "twice")
        .node("Floor", &["twice"], "floored")
        .with("Cast", &["floored"], &["large"], vec![int("to", 7)])
        .with("Concat", &["same", "large"], &["to"], vec![int("axis", 0)])
        .node("Resize", &["wide", "", "", "to"], "larger")
        .conv("larger", "d", [6, 1], 3, 6, "d")
        .conv("d", "e", [5, 6], 1, 1, "e")
        .node("GlobalAveragePool", &["e"], "m");
    let model = head(model, "m", 5);
    assert_eq!(
        model.groups(),
        [
            "6 channel: a.weight[0] a.bias[0] d.weight[0] d.bias[0] e.weight[1]",
            "5 channel: e.weight[0] e.bias[0] head.weight[1]",
        ]
    );
    let coupling = model.coupling();
    for seed in 0..3 {
        let kept = random(&coupling, seed);
        let (mut smaller, mut masked) = ((*model.graph).clone(), (*model.graph).clone());
        coupling.surgery(&model.graph, &kept).unwrap().apply(&mut smaller).unwrap();
        coupling.masking(&model.graph, &kept).unwrap().apply(&mut masked).unwrap();
        for batch in [2, 3] {
            let feed = model.feed(batch);
            let outputs = [&smaller, &masked].map(|graph| run(graph, &feed)[0].to_f64_vec().unwrap());
            assert_eq!(outputs[0].len(), batch * 2);
            for (a, b) in outputs[0].iter().zip(&outputs[1]) {
                assert!((a - b).abs() < 1e-9, "{a} and {b}");
            }
        }
    }
}
