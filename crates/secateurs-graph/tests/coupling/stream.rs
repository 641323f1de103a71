//! The residual stream of decoders whose norms divide by a root mean square: its width is a unit like any other.

use secateurs_onnx::proto::AttributeProto;

use crate::net::{Model, Net, int};

const WIDTH: usize = 8;

/// How the norms are written.
#[derive(Clone, Copy)]
enum Norm {
    /// `RMSNormalization` of opset 23.
    Op,
    /// The op that ONNX Runtime's optimizers write.
    Simplified,
    /// As PyTorch's exporters write it.
    Parts,
}

impl Norm {
    fn put(self, net: Net, x: &str, name: &str) -> Net {
        let (gain, y) = (format!("{name}.weight"), format!("{name}.y"));
        let net = net.positive(&gain, &[WIDTH]);
        let epsilon = || AttributeProto::from_float("epsilon", 0.01);
        let n = |part: &str| format!("{name}.{part}");
        match self {
            Norm::Op => net.with("RMSNormalization", &[x, &gain], &[&y], vec![int("axis", -1), epsilon()]),
            Norm::Simplified => {
                net.with("SimplifiedLayerNormalization", &[x, &gain], &[&y], vec![int("axis", -1), epsilon()])
            }
            Norm::Parts => net
                .number(&n("two"), 2.0)
                .number(&n("epsilon"), 0.01)
                .ints(&n("axes"), &[-1])
                .node("Pow", &[x, &n("two")], &n("square"))
                .node("ReduceMean", &[&n("square"), &n("axes")], &n("mean"))
                .node("Add", &[&n("mean"), &n("epsilon")], &n("positive"))
                .node("Sqrt", &[&n("positive")], &n("root"))
                .node("Reciprocal", &[&n("root")], &n("inverse"))
                .node("Mul", &[x, &n("inverse")], &n("unit"))
                .node("Mul", &[&gain, &n("unit")], &y),
        }
    }
}

/// A table, two blocks of grouped-query attention and gated neurons, a norm and the scores of tokens.
fn decoder(norm: Norm) -> Model {
    let mut net = Net::new(23).tokens("tokens", &[0, 5], 11).param("table", &[11, WIDTH]).node(
        "Gather",
        &["table", "tokens"],
        "stream0",
    );
    for block in 0..2 {
        let n = |part: &str| format!("{block}.{part}");
        let stream = format!("stream{block}");
        net = norm.put(net, &stream, &n("norm1"));
        for (name, width) in [("q", 8), ("k", 4), ("v", 4)] {
            net = net
                .param(&n(name), &[WIDTH, width])
                .node("MatMul", &[&n("norm1.y"), &n(name)], &n(&format!("{name}1")))
                .reshape(&n(&format!("{name}1")), &[0, -1, (width / 2) as i64, 2], &n(&format!("{name}2")))
                .transpose(&n(&format!("{name}2")), &[0, 2, 1, 3], &n(&format!("{name}4")));
        }
        net = net
            .node("Attention", &[&n("q4"), &n("k4"), &n("v4")], &n("attended"))
            .transpose(&n("attended"), &[0, 2, 1, 3], &n("merged4"))
            .reshape(&n("merged4"), &[0, 0, 8], &n("merged"))
            .param(&n("o"), &[8, WIDTH])
            .node("MatMul", &[&n("merged"), &n("o")], &n("attention"))
            .node("Add", &[&stream, &n("attention")], &n("middle"));
        net = norm.put(net, &n("middle"), &n("norm2"));
        net = net
            .param(&n("gate"), &[WIDTH, 6])
            .param(&n("up"), &[WIDTH, 6])
            .param(&n("down"), &[6, WIDTH])
            .node("MatMul", &[&n("norm2.y"), &n("gate")], &n("g"))
            .node("Sigmoid", &[&n("g")], &n("s"))
            .node("Mul", &[&n("g"), &n("s")], &n("silu"))
            .node("MatMul", &[&n("norm2.y"), &n("up")], &n("u"))
            .node("Mul", &[&n("silu"), &n("u")], &n("hidden"))
            .node("MatMul", &[&n("hidden"), &n("down")], &n("ffn"))
            .node("Add", &[&n("middle"), &n("ffn")], &format!("stream{}", block + 1));
    }
    norm.put(net, "stream2", "norm")
        .param("scores", &[WIDTH, 11])
        .node("MatMul", &["norm.y", "scores"], "y")
        .done(&["y"])
}

#[test]
fn the_width_of_a_stream_behind_root_mean_squares_goes_exactly() {
    for norm in [Norm::Op, Norm::Simplified, Norm::Parts] {
        let model = decoder(norm);
        let groups = model.groups();
        let stream = groups.iter().find(|group| group.contains("table[1]")).expect("the stream is a group");
        assert!(stream.starts_with("8 "), "{stream}");
        for parameter in ["0.norm1.weight[0]", "1.q[0]", "0.o[1]", "1.down[1]", "norm.weight[0]", "scores[0]"]
        {
            assert!(stream.contains(parameter), "{parameter} is not in {stream}");
        }
        // Heads of keys and values, with their queries, and neurons beside it.
        assert_eq!(groups.len(), 5, "{groups:?}");
        // Gains and ε are rounded to 32 bits.
        model.exact_to(1e-5);
    }
}
