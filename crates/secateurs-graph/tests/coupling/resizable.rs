//! Inputs and outputs that shrink with the units that they carry.

use secateurs_graph::coupling::Selection;

use crate::net::{Model, Net, int, run};

/// A decoder's attention over cached keys and values of three earlier tokens: `queries` heads of two that share `heads` of keys and values.
fn decoder(queries: usize, heads: usize) -> Model {
    let mut net = Net::new(18)
        .input("x", &[0, 5, 6])
        .input("past.k", &[0, heads, 3, 2])
        .input("past.v", &[0, heads, 3, 2])
        .dense("x", "q", [6, 2 * queries], "q1")
        .reshape("q1", &[0, -1, queries as i64, 2], "q2")
        .transpose("q2", &[0, 2, 1, 3], "q4");
    for part in ["k", "v"] {
        let n = |suffix: &str| format!("{part}{suffix}");
        net = net
            .dense("x", part, [6, 2 * heads], &n("1"))
            .reshape(&n("1"), &[0, -1, heads as i64, 2], &n("2"))
            .transpose(&n("2"), &[0, 2, 1, 3], &n("3"))
            .with(
                "Concat",
                &[&format!("past.{part}"), &n("3")],
                &[&format!("present.{part}")],
                vec![int("axis", 2)],
            )
            .ints(&n(".axes"), &[2])
            .node("Unsqueeze", &[&format!("present.{part}"), &n(".axes")], &n("5"))
            .ints(&n(".repeats"), &[1, 1, (queries / heads) as i64, 1, 1])
            .node("Tile", &[&n("5"), &n(".repeats")], &n("6"))
            .reshape(&n("6"), &[0, queries as i64, 8, 2], &n("4"));
    }
    net.transpose("k4", &[0, 1, 3, 2], "kt")
        .node("MatMul", &["q4", "kt"], "qk")
        .with("Softmax", &["qk"], &["p"], vec![int("axis", -1)])
        .node("MatMul", &["p", "v4"], "av")
        .transpose("av", &[0, 2, 1, 3], "avt")
        .reshape("avt", &[0, 0, 2 * queries as i64], "merged")
        .dense("merged", "o", [2 * queries, 3], "y")
        .done(&["y", "present.k", "present.v"])
}

const CACHE: [&str; 4] = ["past.k", "past.v", "present.k", "present.v"];

#[test]
fn cached_keys_and_values_lose_the_heads() {
    let model = decoder(4, 4).resizing(&CACHE);
    assert_eq!(
        model.exact().groups(),
        [
            "4 attention head: q.weight[1]×2 q.bias[0]×2 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 o.weight[0]×2"
        ]
    );
    let coupling = model.coupling();
    let mut kept = Selection::all(&coupling);
    kept.kept[0] = vec![0, 3];
    let smaller = model.smaller(&coupling, &kept);
    let shape = |name: &str| {
        let shape = smaller.values[smaller.value_named(name).unwrap()].fact.shape.as_ref().unwrap();
        shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((shape("past.k"), shape("present.v")), ("batch 2 3 2".into(), "batch 2 8 2".into()));
    // The file says so too.
    let read = secateurs_graph::Graph::from_model(smaller.to_model()).unwrap();
    let proto = smaller.to_model().proto.graph.unwrap();
    assert_eq!(proto.input.len(), 3);
    let heads = |info: &secateurs_onnx::proto::ValueInfoProto| {
        use secateurs_onnx::proto::{tensor_shape_proto::dimension::Value, type_proto};
        let Some(type_proto::Value::TensorType(t)) = &info.r#type.as_ref().unwrap().value else { panic!() };
        match &t.shape.as_ref().unwrap().dim[1].value {
            Some(Value::DimValue(n)) => *n,
            _ => panic!("no number of heads"),
        }
    };
    assert_eq!(heads(&proto.input[1]), 2);
    let feed = coupling.ports(&model.graph, &kept).inputs(&model.feed(2)).unwrap();
    assert_eq!(feed[1].shape(), [2, 2, 3, 2]);
    assert_eq!(run(&read, &feed), run(&smaller, &feed));
}

#[test]
fn a_cached_head_goes_with_all_queries_that_share_it() {
    let model = decoder(6, 3).resizing(&CACHE);
    assert_eq!(
        model.exact().groups(),
        [
            "3 attention head: q.weight[1]×4 q.bias[0]×4 k.weight[1]×2 k.bias[0]×2 v.weight[1]×2 v.bias[0]×2 o.weight[0]×4"
        ]
    );
}

#[test]
fn dimensions_of_cached_heads() {
    let groups = decoder(4, 4).resizing(&CACHE).inner().exact().groups();
    assert_eq!(
        groups,
        [
            "2 head_dim: q.weight[1]×4 q.bias[0]×4 k.weight[1]×4 k.bias[0]×4",
            "2 head_dim: v.weight[1]×4 v.bias[0]×4 o.weight[0]×4"
        ]
    );
}

#[test]
fn the_other_end_of_what_is_fed_back_keeps_its_shape_where_it_is_not_named() {
    let model = decoder(4, 4);
    assert!(model.groups().is_empty(), "the cache is as it was");
    let model = model.resizing(&["past.k", "past.v"]);
    assert!(model.groups().is_empty());
    assert_eq!(model.reason("k.weight", 1), "tied to an axis of the model's output 'present.k'");
    let why = model.coupling().why_fixed(&model.graph, model.graph.value_named("past.k").unwrap());
    assert_eq!(why[0], (1, "tied to an axis of the model's output 'present.k'".into()));
    assert!(!model.coupling().resizes(&model.graph, model.graph.value_named("past.k").unwrap()));
}

/// A layer over six features whose states come from outside and go there.
fn states(op: &str) -> Model {
    let gates = if op == "LSTM" { 4 } else { 3 };
    let net = Net::new(17)
        .input("x", &[4, 0, 6])
        .input("h0", &[1, 0, 5])
        .param("w", &[1, gates * 5, 6])
        .param("r", &[1, gates * 5, 5])
        .param("b", &[1, 2 * gates * 5]);
    let size = vec![int("hidden_size", 5)];
    let net = match op {
        "LSTM" => net.input("c0", &[1, 0, 5]).with(
            op,
            &["x", "w", "r", "b", "", "h0", "c0"],
            &["y4", "hn", "cn"],
            size,
        ),
        _ => net.with(op, &["x", "w", "r", "b", "", "h0"], &["y4", "hn"], size),
    };
    let net = net.ints("axes", &[1]).node("Squeeze", &["y4", "axes"], "y3").dense("y3", "o", [5, 3], "y");
    match op {
        "LSTM" => net.done(&["y", "hn", "cn"]).resizing(&["h0", "c0", "hn", "cn"]),
        _ => net.done(&["y", "hn"]).resizing(&["h0", "hn"]),
    }
}

#[test]
fn the_states_of_recurrent_layers_lose_the_hidden_units() {
    for (op, gates) in [("LSTM", 4), ("GRU", 3)] {
        let model = states(op);
        let times = 2 * gates;
        let line = format!("5 neuron: w[1]×{gates} r[1]×{gates} r[2] b[1]×{times} o.weight[0]");
        assert_eq!(model.exact().groups(), [line]);
    }
    let fixed = states("LSTM").resizing(&["h0", "c0", "hn"]);
    assert_eq!(fixed.reason("r", 2), "tied to an axis of the model's output 'cn'");
}

#[test]
fn channels_of_a_map_that_is_an_output_too() {
    let net =
        Net::new(17).input("x", &[0, 3, 6, 6]).conv("x", "one", [4, 3], 3, 1, "a").node("Relu", &["a"], "f");
    let model = net.conv("f", "two", [2, 4], 3, 1, "y").done(&["y", "f"]).resizing(&["f"]);
    assert_eq!(model.exact().groups(), ["4 channel: one.weight[0] one.bias[0] two.weight[1]"]);
}
