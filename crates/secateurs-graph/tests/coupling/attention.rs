//! Attention in the forms that exporters write.

use secateurs_onnx::Tensor;

use crate::net::{Model, Net, int};

const HEADS: [&str; 1] = [
    "4 attention head: q.weight[1]×2 q.bias[0]×2 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 o.weight[0]×2",
];

fn tokens() -> Net {
    Net::new(18).input("x", &[0, 5, 6])
}

/// `softmax(q kᵀ) v`, merged and projected; q, k, v as `[batch, heads, tokens, head_dim]`.
fn attend(net: Net, heads: usize, width: usize) -> Model {
    let merged = (heads * width) as i64;
    scores(net)
        .node("MatMul", &["p", "v4"], "av")
        .transpose("av", &[0, 2, 1, 3], "avt")
        .reshape("avt", &[0, 0, merged], "merged")
        .dense("merged", "o", [heads * width, 3], "y")
        .done(&["y"])
}

fn scores(net: Net) -> Net {
    net.transpose("k4", &[0, 1, 3, 2], "kt").node("MatMul", &["q4", "kt"], "qk").with(
        "Softmax",
        &["qk"],
        &["p"],
        vec![int("axis", -1)],
    )
}

/// Separate projections of four heads of two.
fn projections(mut net: Net) -> Net {
    for name in ["q", "k", "v"] {
        net = net.dense("x", name, [6, 8], &format!("{name}1"));
    }
    net
}

#[test]
fn separate_projections_reshaped_by_constants() {
    let mut net = projections(tokens());
    for name in ["q", "k", "v"] {
        net = net.reshape(&format!("{name}1"), &[0, -1, 4, 2], &format!("{name}2")).transpose(
            &format!("{name}2"),
            &[0, 2, 1, 3],
            &format!("{name}4"),
        );
    }
    let model = attend(net, 4, 2);
    assert_eq!(model.exact().groups(), HEADS);
    let inner = model.inner();
    assert_eq!(
        inner.exact().groups(),
        [
            "2 head_dim: q.weight[1]×4 q.bias[0]×4 k.weight[1]×4 k.bias[0]×4",
            "2 head_dim: v.weight[1]×4 v.bias[0]×4 o.weight[0]×4"
        ]
    );
}

#[test]
fn reshaped_by_shape_arithmetic_with_the_scale_from_the_shape() {
    let mut net = projections(tokens()).int("zero", 0).int("one", 1).int("minus", -1).ints("first", &[0]);
    for name in ["q", "k", "v"] {
        let n = |part: &str| format!("{name}.{part}");
        net = net
            .node("Shape", &[&format!("{name}1")], &n("shape"))
            .node("Gather", &[&n("shape"), "zero"], &n("batch"))
            .node("Gather", &[&n("shape"), "one"], &n("length"))
            .node("Gather", &[&n("shape"), "minus"], &n("width"))
            .int(&n("heads"), 4)
            .node("Div", &[&n("width"), &n("heads")], &n("head_dim"));
        for part in ["batch", "length", "heads", "head_dim"] {
            net = net.node("Unsqueeze", &[&n(part), "first"], &n(&format!("{part}1")));
        }
        net = net
            .with(
                "Concat",
                &[&n("batch1"), &n("length1"), &n("heads1"), &n("head_dim1")],
                &[&n("target")],
                vec![int("axis", 0)],
            )
            .node("Reshape", &[&format!("{name}1"), &n("target")], &format!("{name}2"))
            .transpose(&format!("{name}2"), &[0, 2, 1, 3], &format!("{name}4raw"));
    }
    net = net
        .with("Cast", &["q.head_dim"], &["d"], vec![int("to", 1)])
        .node("Sqrt", &["d"], "root")
        .node("Div", &["q4raw", "root"], "q4")
        .node("Identity", &["k4raw"], "k4")
        .node("Identity", &["v4raw"], "v4");
    let model = attend(net, 4, 2);
    assert_eq!(model.exact().groups(), HEADS);
    // The divisor is the old √head_dim also where head_dim shrinks.
    model.inner().exact();
}

#[test]
fn fused_projections_in_either_order() {
    // (3 heads head_dim): split off by Gather.
    let mut net = tokens().dense("x", "qkv", [6, 24], "f").reshape("f", &[0, -1, 3, 4, 2], "f5").transpose(
        "f5",
        &[2, 0, 3, 1, 4],
        "ft",
    );
    for (i, name) in ["q4", "k4", "v4"].iter().enumerate() {
        net = net.int(&format!("i{i}"), i as i64).node("Gather", &["ft", &format!("i{i}")], name);
    }
    let groups = ["4 attention head: qkv.weight[1]×6 qkv.bias[0]×6 o.weight[0]×2"];
    assert_eq!(attend(net, 4, 2).exact().groups(), groups);
    // (heads (head_dim head_dim head_dim)): split on the last axis, as GPT-NeoX and LeViT have it.
    let mut net = tokens().dense("x", "qkv", [6, 24], "f").reshape("f", &[0, -1, 4, 6], "f4").with(
        "Split",
        &["f4"],
        &["qs", "ks", "vs"],
        vec![int("axis", -1)],
    );
    for name in ["q", "k", "v"] {
        net = net.transpose(&format!("{name}s"), &[0, 2, 1, 3], &format!("{name}4"));
    }
    assert_eq!(attend(net, 4, 2).exact().groups(), groups);
    // Split first, as GPT-2 has it.
    let mut net = tokens().dense("x", "qkv", [6, 24], "f").ints("sizes", &[8, 8, 8]).with(
        "Split",
        &["f", "sizes"],
        &["q1", "k1", "v1"],
        vec![int("axis", 2)],
    );
    for name in ["q", "k", "v"] {
        net = net.reshape(&format!("{name}1"), &[0, -1, 4, 2], &format!("{name}2")).transpose(
            &format!("{name}2"),
            &[0, 2, 1, 3],
            &format!("{name}4"),
        );
    }
    assert_eq!(attend(net, 4, 2).exact().groups(), groups);
}

/// Four heads of two, merged with the batch: as torch.nn.MultiheadAttention is exported, `[tokens, batch · heads, head_dim]`.
fn merged_heads(mut net: Net) -> Net {
    for name in ["q", "k", "v"] {
        net = net
            .transpose(&format!("{name}1"), &[1, 0, 2], &format!("{name}s"))
            .reshape(&format!("{name}s"), &[5, -1, 2], &format!("{name}b"))
            .transpose(&format!("{name}b"), &[1, 0, 2], &format!("{name}h"));
    }
    net.transpose("kh", &[0, 2, 1], "kt").node("MatMul", &["qh", "kt"], "qk")
}

/// Softmax of `scores`, times v, parted again and projected.
fn attend_merged(net: Net, scores: &str) -> Model {
    net.with("Softmax", &[scores], &["p"], vec![int("axis", -1)])
        .node("MatMul", &["p", "vh"], "av")
        .transpose("av", &[1, 0, 2], "avt")
        .reshape("avt", &[5, -1, 8], "merged")
        .transpose("merged", &[1, 0, 2], "back")
        .dense("back", "o", [8, 3], "y")
        .done(&["y"])
}

#[test]
fn batch_and_heads_merged_into_one_axis() {
    let model = attend_merged(merged_heads(projections(tokens())), "qk");
    assert_eq!(model.exact().groups(), HEADS);
}

#[test]
fn positions_expanded_to_batch_and_heads() {
    // As DeBERTa-v2 picks the scores of relative positions; how many there are comes from what is pruned, or from the input and a number.
    let positions: Vec<i64> = (0..25).map(|i| (i / 5 + i % 5) % 5).collect();
    let positions = Tensor::from_slice(vec![1, 5, 5], &positions).unwrap();
    for of_scores in [true, false] {
        let net = merged_heads(projections(tokens())).tensor("positions", &positions).ints("first", &[0]);
        let net = match of_scores {
            true => net.node("Shape", &["qk"], "shape").node("Gather", &["shape", "first"], "rows"),
            false => net
                .node("Shape", &["x"], "shape")
                .node("Gather", &["shape", "first"], "batch")
                .ints("heads", &[4])
                .node("Mul", &["batch", "heads"], "rows"),
        };
        let net = net
            .ints("square", &[5, 5])
            .with("Concat", &["rows", "square"], &["all"], vec![int("axis", 0)])
            .node("Expand", &["positions", "all"], "index")
            .with("GatherElements", &["qk", "index"], &["relative"], vec![int("axis", 2)])
            .node("Add", &["qk", "relative"], "scores");
        let model = attend_merged(net, "scores");
        assert_eq!(model.exact().groups(), HEADS, "{of_scores}");
    }
}

#[test]
fn einsum_over_heads() {
    let einsum = |equation: &'static str| {
        vec![secateurs_onnx::proto::AttributeProto::from_string("equation", equation)]
    };
    let mut net = projections(tokens());
    for name in ["q", "k", "v"] {
        net = net.reshape(&format!("{name}1"), &[0, -1, 4, 2], &format!("{name}4"));
    }
    let model = net
        .with("Einsum", &["q4", "k4"], &["qk"], einsum("bihd,bjhd->bhij"))
        .with("Softmax", &["qk"], &["p"], vec![int("axis", -1)])
        .with("Einsum", &["p", "v4"], &["av"], einsum("bhij,bjhd->bihd"))
        .param("o.weight", &[4, 2, 3])
        .with("Einsum", &["av", "o.weight"], &["y"], einsum("bihd,hdo->bio"))
        .done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        [
            "4 attention head: q.weight[1]×2 q.bias[0]×2 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 o.weight[0]"
        ]
    );
}

#[test]
fn the_attention_op_with_heads_in_the_last_axis() {
    let build = |heads: i64, kv_heads: i64| {
        let kv = (2 * kv_heads) as usize;
        Net::new(23)
            .input("x", &[0, 5, 6])
            .dense("x", "q", [6, 2 * heads as usize], "q1")
            .dense("x", "k", [6, kv], "k1")
            .dense("x", "v", [6, kv], "v1")
            .with(
                "Attention",
                &["q1", "k1", "v1"],
                &["a"],
                vec![int("q_num_heads", heads), int("kv_num_heads", kv_heads)],
            )
            .dense("a", "o", [2 * heads as usize, 3], "y")
            .done(&["y"])
    };
    assert_eq!(build(4, 4).exact().groups(), HEADS);
    assert_eq!(
        build(4, 2).exact().groups(),
        [
            "2 attention head: q.weight[1]×4 q.bias[0]×4 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 o.weight[0]×4"
        ]
    );
}

#[test]
fn grouped_queries_expanded_or_repeated() {
    for repeat in ["Expand", "Tile", "Concat"] {
        let mut net = tokens().dense("x", "q", [6, 8], "q1").dense("x", "k", [6, 4], "k1").dense(
            "x",
            "v",
            [6, 4],
            "v1",
        );
        net = net.reshape("q1", &[0, -1, 4, 2], "q2").transpose("q2", &[0, 2, 1, 3], "q4");
        for name in ["k", "v"] {
            let n = |part: &str| format!("{name}{part}");
            net = net
                .reshape(&n("1"), &[0, -1, 2, 2], &n("2"))
                .transpose(&n("2"), &[0, 2, 1, 3], &n("3"))
                .ints(&n("two"), &[2])
                .node("Unsqueeze", &[&n("3"), &n("two")], &n("5"));
            net = match repeat {
                "Expand" => {
                    net.ints(&n("to"), &[1, 2, 2, 1, 2]).node("Expand", &[&n("5"), &n("to")], &n("6"))
                }
                "Tile" => net.ints(&n("by"), &[1, 1, 2, 1, 1]).node("Tile", &[&n("5"), &n("by")], &n("6")),
                _ => net.with("Concat", &[&n("5"), &n("5")], &[&n("6")], vec![int("axis", 2)]),
            };
            net = net.reshape(&n("6"), &[0, 4, -1, 2], &n("4"));
        }
        assert_eq!(
            attend(net, 4, 2).exact().groups(),
            [
                "2 attention head: q.weight[1]×4 q.bias[0]×4 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 \
              o.weight[0]×4"
            ],
            "{repeat}"
        );
    }
}

#[test]
fn a_relative_position_bias_per_head_follows_the_heads() {
    // A table of positions × heads, looked up by constant indices, as Swin has it.
    let mut net = projections(tokens());
    for name in ["q", "k", "v"] {
        net = net.reshape(&format!("{name}1"), &[0, -1, 4, 2], &format!("{name}2")).transpose(
            &format!("{name}2"),
            &[0, 2, 1, 3],
            &format!("{name}4"),
        );
    }
    let index: Vec<i64> = (0..25).map(|i| (i / 5) - (i % 5) + 4).collect();
    let net = net
        .param("table", &[9, 4])
        .ints("index", &index)
        .node("Gather", &["table", "index"], "looked")
        .reshape("looked", &[5, 5, 4], "b3")
        .transpose("b3", &[2, 0, 1], "bt")
        .ints("front", &[0])
        .node("Unsqueeze", &["bt", "front"], "bias")
        .transpose("k4", &[0, 1, 3, 2], "kt")
        .node("MatMul", &["q4", "kt"], "qk0")
        .node("Add", &["qk0", "bias"], "qk")
        .with("Softmax", &["qk"], &["p"], vec![int("axis", -1)])
        .node("MatMul", &["p", "v4"], "av")
        .transpose("av", &[0, 2, 1, 3], "avt")
        .reshape("avt", &[0, 0, 8], "merged");
    let model = net.dense("merged", "o", [8, 3], "y").done(&["y"]);
    assert_eq!(model.exact().groups(), [HEADS[0].replace(" o.weight", " table[1] o.weight")]);
}

#[test]
fn window_partition_and_rotary_halves() {
    // Windows of two by two out of four by four, heads inside, and rotary positions on head_dim.
    let mut net = Net::new(18)
        .input("x", &[0, 4, 4, 6])
        .reshape("x", &[-1, 2, 2, 2, 2, 6], "w6")
        .transpose("w6", &[0, 1, 3, 2, 4, 5], "wt")
        .reshape("wt", &[-1, 4, 6], "win")
        .dense("win", "qkv", [6, 24], "f")
        .reshape("f", &[-1, 4, 3, 2, 4], "f5")
        .transpose("f5", &[2, 0, 3, 1, 4], "ft")
        .param("cos", &[4, 4])
        .param("sin", &[4, 4]);
    for (i, name) in ["q", "k", "v4"].iter().enumerate() {
        net = net.int(&format!("i{i}"), i as i64).node("Gather", &["ft", &format!("i{i}")], name);
    }
    for name in ["q", "k"] {
        let n = |part: &str| format!("{name}{part}");
        net = net
            .with("Split", &[name], &[&n("a"), &n("b")], vec![int("axis", -1)])
            .node("Neg", &[&n("b")], &n("nb"))
            .with("Concat", &[&n("nb"), &n("a")], &[&n("r")], vec![int("axis", -1)])
            .node("Mul", &[name, "cos"], &n("c"))
            .node("Mul", &[&n("r"), "sin"], &n("s"))
            .node("Add", &[&n("c"), &n("s")], &n("4"));
    }
    let model = scores(net)
        .node("MatMul", &["p", "v4"], "av")
        .transpose("av", &[0, 2, 1, 3], "avt")
        .reshape("avt", &[-1, 4, 8], "merged")
        .dense("merged", "o", [8, 3], "y0")
        .reshape("y0", &[-1, 2, 2, 2, 2, 3], "y6")
        .transpose("y6", &[0, 1, 3, 2, 4, 5], "yt")
        .reshape("yt", &[-1, 4, 4, 3], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["2 attention head: qkv.weight[1]×12 qkv.bias[0]×12 o.weight[0]×4"]);
    assert_eq!(
        model.inner().exact().groups(),
        ["2 head_dim: qkv.weight[1]×12 qkv.bias[0]×12 cos[1]×2 sin[1]×2 o.weight[0]×4"],
        "one axis holds head_dim of queries, keys and values"
    );
}

#[test]
fn heads_come_before_the_frequencies_of_rotary_positions() {
    // The frequencies are the first parameter of the model, and belong to a dimension of all heads.
    let mut net = Net::new(18)
        .input("t", &[0, 5, 1])
        .input("x", &[0, 5, 6])
        .param("frequencies", &[1, 2])
        .node("MatMul", &["t", "frequencies"], "angle")
        .with("Concat", &["angle", "angle"], &["angles"], vec![int("axis", -1)])
        .reshape("angles", &[0, 1, 5, 4], "a4")
        .node("Cos", &["a4"], "cos")
        .node("Sin", &["a4"], "sin");
    for name in ["q", "k", "v"] {
        let n = |part: &str| format!("{name}{part}");
        net = net.dense("x", name, [6, 12], &n("1")).reshape(&n("1"), &[0, 5, -1, 4], &n("2")).transpose(
            &n("2"),
            &[0, 2, 1, 3],
            &n(if name == "v" { "4" } else { "3" }),
        );
    }
    for name in ["q", "k"] {
        let n = |part: &str| format!("{name}{part}");
        net = net
            .with("Split", &[&n("3")], &[&n("a"), &n("b")], vec![int("axis", -1)])
            .node("Neg", &[&n("b")], &n("nb"))
            .with("Concat", &[&n("nb"), &n("a")], &[&n("r")], vec![int("axis", -1)])
            .node("Mul", &[&n("3"), "cos"], &n("c"))
            .node("Mul", &[&n("r"), "sin"], &n("s"))
            .node("Add", &[&n("c"), &n("s")], &n("4"));
    }
    let model = attend(net, 3, 4);
    let heads = "3 attention head: q.weight[1]×4 q.bias[0]×4 k.weight[1]×4 k.bias[0]×4 v.weight[1]×4 v.bias[0]×4 o.weight[0]×4";
    assert_eq!(model.exact().groups(), [heads]);
    assert_eq!(
        model.inner().exact().groups(),
        [
            "2 head_dim: frequencies[1] q.weight[1]×6 q.bias[0]×6 k.weight[1]×6 k.bias[0]×6",
            "4 head_dim: v.weight[1]×3 v.bias[0]×3 o.weight[0]×3"
        ]
    );
}

#[test]
fn one_key_head_beside_those_of_the_queries_in_one_projection() {
    // Three heads of queries, one of keys and one of values, as in Falcon; the frequencies of positions belong to all of them.
    let mut net = tokens()
        .param("cos", &[5, 2])
        .dense("x", "qkv", [6, 10], "f")
        .reshape("f", &[0, 5, 5, 2], "f4")
        .ints("axis", &[2]);
    for (name, from, to) in [("q", 0, -2), ("k", -2, -1), ("v", -1, i64::MAX)] {
        let n = |part: &str| format!("{name}{part}");
        net = net
            .ints(&n(".from"), &[from])
            .ints(&n(".to"), &[to])
            .node("Slice", &["f4", &n(".from"), &n(".to"), "axis"], &n("1"))
            .transpose(&n("1"), &[0, 2, 1, 3], &n(if name == "v" { "4" } else { "2" }));
    }
    for name in ["q", "k"] {
        net = net.node("Mul", &[&format!("{name}2"), "cos"], &format!("{name}4"));
    }
    let model = attend(net, 3, 2);
    assert_eq!(
        model.exact().groups(),
        ["3 attention head: qkv.weight[1]×2 qkv.bias[0]×2 o.weight[0]×2"],
        "the head of keys and that of values stay"
    );
    assert_eq!(
        model.inner().exact().groups(),
        ["2 head_dim: qkv.weight[1]×5 qkv.bias[0]×5 cos[1] o.weight[0]×3"]
    );
}

#[test]
fn heads_are_found_where_the_mask_names_its_batch_apart() {
    let mut net = projections(tokens().input("m", &[0, 1, 1, 5]));
    for name in ["q", "k", "v"] {
        let n = |part: &str| format!("{name}{part}");
        net = net.reshape(&n("1"), &[0, -1, 4, 2], &n("2")).transpose(&n("2"), &[0, 2, 1, 3], &n("4"));
    }
    // ⌊(2n + 1) / 2⌋ is n, and no polynomial.
    net = net
        .ints("first", &[0])
        .ints("one", &[1])
        .ints("two", &[2])
        .ints("one_one_tokens", &[1, 1, 5])
        .ints("tokens_width", &[5, 8])
        .node("Shape", &["x"], "shape")
        .node("Gather", &["shape", "first"], "batch")
        .node("Mul", &["batch", "two"], "twice")
        .node("Add", &["twice", "one"], "odd")
        .node("Div", &["odd", "two"], "apart")
        .with("Concat", &["apart", "one_one_tokens"], &["mask_target"], vec![int("axis", 0)])
        .node("Reshape", &["m", "mask_target"], "mask")
        .with("Concat", &["batch", "tokens_width"], &["target"], vec![int("axis", 0)])
        .transpose("k4", &[0, 1, 3, 2], "kt")
        .node("MatMul", &["q4", "kt"], "qk")
        .node("Add", &["qk", "mask"], "masked")
        .with("Softmax", &["masked"], &["p"], vec![int("axis", -1)])
        .node("MatMul", &["p", "v4"], "av")
        .transpose("av", &[0, 2, 1, 3], "avt")
        .node("Reshape", &["avt", "target"], "merged");
    let model = net.dense("merged", "o", [8, 3], "y").done(&["y"]);
    let scores = &model.graph.values[model.graph.value_named("masked").unwrap()].fact;
    assert_eq!(scores.to_string(), "float32[max(batch,(2*batch+1)/(2)), 4, 5, 5]");
    assert_eq!(model.exact().groups(), HEADS);
}
