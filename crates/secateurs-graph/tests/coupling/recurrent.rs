//! Recurrent layers in the forms that exporters write.

use crate::net::{Net, int, ints};
use secateurs_onnx::proto::AttributeProto;

/// A recurrent layer of `hidden` units over `width` features, its Y named as the call says. The state before the first step
/// is made at the size of the batch.
fn layer(net: Net, op: &str, x: &str, name: &str, sizes: [usize; 3], y: &str) -> Net {
    let [directions, width, hidden] = sizes;
    let gates = match op {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let named = |part: &str| format!("{name}.{part}");
    let (w, r, b) = (named("w"), named("r"), named("b"));
    let shape = named("shape");
    let (size, at, pieces) = (named("size"), named("at"), [named("directions"), named("hidden")]);
    let net = net
        .param(&w, &[directions, gates * hidden, width])
        .param(&r, &[directions, gates * hidden, hidden])
        .param(&b, &[directions, 2 * gates * hidden])
        .ints(&at, &[1])
        .ints(&pieces[0], &[directions as i64])
        .ints(&pieces[1], &[hidden as i64])
        .node("Shape", &[x], &shape)
        .node("Gather", &[&shape, &at], &size)
        .with("Concat", &[&pieces[0], &size, &pieces[1]], &[&named("sizes")], vec![int("axis", 0)])
        .node("ConstantOfShape", &[&named("sizes")], &named("zeros"));
    let zeros = named("zeros");
    let inputs = match op {
        "LSTM" => vec![x, &w, &r, &b, "", &zeros, &zeros],
        _ => vec![x, &w, &r, &b, "", &zeros],
    };
    let mut attributes = vec![int("hidden_size", hidden as i64)];
    if directions == 2 {
        attributes.push(AttributeProto::from_string("direction", "bidirectional"));
    }
    if op == "GRU" {
        attributes.push(int("linear_before_reset", 1));
    }
    net.with(op, &inputs, &[y], attributes)
}

/// Words as features, time first.
fn embedded() -> Net {
    Net::new(17)
        .tokens("ids", &[0, 4], 9)
        .param("table", &[9, 6])
        .node("Gather", &["table", "ids"], "e")
        .transpose("e", &[1, 0, 2], "x")
}

/// The hidden units of both directions side by side, as PyTorch's exporter writes it.
fn merged(net: Net, y: &str, hidden: i64, output: &str) -> Net {
    let turned = format!("{output}.turned");
    net.transpose(y, &[0, 2, 1, 3], &turned).reshape(&turned, &[0, 0, 2 * hidden], output)
}

fn squeezed(net: Net, y: &str, output: &str) -> Net {
    let axes = format!("{output}.axes");
    net.ints(&axes, &[1]).node("Squeeze", &[y, &axes], output)
}

fn last_step(net: Net, x: &str, output: &str) -> Net {
    net.int("last", -1).with("Gather", &[x, "last"], &[output], vec![int("axis", 0)])
}

#[test]
fn hidden_units_and_the_features_that_come_in() {
    let net = squeezed(layer(embedded(), "LSTM", "x", "lstm", [1, 6, 5], "y4"), "y4", "y3");
    let model = last_step(net, "y3", "h").dense("h", "head", [5, 3], "out").done(&["out"]);
    assert_eq!(
        model.exact().groups(),
        [
            "6 neuron: table[1] lstm.w[2]",
            "5 neuron: lstm.w[1]×4 lstm.r[1]×4 lstm.r[2] lstm.b[1]×8 head.weight[0]"
        ]
    );
}

#[test]
fn removed_units_no_longer_reach_the_next_step() {
    let net = squeezed(layer(embedded(), "RNN", "x", "rnn", [1, 6, 5], "y4"), "y4", "y3");
    let model = last_step(net, "y3", "h").dense("h", "head", [5, 3], "out").done(&["out"]);
    let coupling = model.coupling();
    let group = coupling.groups.iter().position(|g| g.units.len() == 5).unwrap();
    let mut selection = secateurs_graph::coupling::Selection::all(&coupling);
    selection.kept[group] = vec![0, 2, 4];
    let mut masked = (*model.graph).clone();
    coupling.masking(&model.graph, &selection).unwrap().apply(&mut masked).unwrap();
    let read = |name: &str| masked.tensor(masked.value_named(name).unwrap()).unwrap().to_f64_vec().unwrap();
    let zero = |row: &[f64]| row.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
    assert!(read("rnn.r").chunks(5).all(|row| zero(row) == [false, true, false, true, false]));
    assert!(read("rnn.w").iter().all(|v| *v != 0.0), "what makes a unit stays");
    let smaller = model.smaller(&coupling, &selection);
    let shape = |name: &str| smaller.tensor(smaller.value_named(name).unwrap()).unwrap().shape().to_vec();
    assert_eq!((shape("rnn.w"), shape("rnn.r"), shape("rnn.b")), (vec![1, 3, 6], vec![1, 3, 3], vec![1, 6]));
}

#[test]
fn stacked_layers() {
    let net = squeezed(layer(embedded(), "LSTM", "x", "one", [1, 6, 5], "a4"), "a4", "a");
    let net = squeezed(layer(net, "LSTM", "a", "two", [1, 5, 7], "b4"), "b4", "b");
    let model = last_step(net, "b", "h").dense("h", "head", [7, 3], "out").done(&["out"]);
    assert_eq!(
        model.exact().groups(),
        [
            "6 neuron: table[1] one.w[2]",
            "5 neuron: one.w[1]×4 one.r[1]×4 one.r[2] one.b[1]×8 two.w[2]",
            "7 neuron: two.w[1]×4 two.r[1]×4 two.r[2] two.b[1]×8 head.weight[0]"
        ]
    );
}

#[test]
fn both_directions_lose_the_same_units() {
    let net = merged(layer(embedded(), "LSTM", "x", "one", [2, 6, 5], "a4"), "a4", 5, "a");
    let net = merged(layer(net, "GRU", "a", "two", [2, 10, 4], "b4"), "b4", 4, "b");
    let model = last_step(net, "b", "h").dense("h", "head", [8, 3], "out").done(&["out"]);
    assert_eq!(
        model.exact().groups(),
        [
            "6 neuron: table[1] one.w[2]",
            "5 neuron: one.w[1]×4 one.r[1]×4 one.r[2] one.b[1]×8 two.w[2]×2",
            "4 neuron: two.w[1]×3 two.r[1]×3 two.r[2] two.b[1]×6 head.weight[0]×2"
        ]
    );
}

#[test]
fn the_last_state_as_the_output_of_a_layer() {
    let net = embedded()
        .param("gru.w", &[1, 15, 6])
        .param("gru.r", &[1, 15, 5])
        .param("gru.b", &[1, 30])
        .with("GRU", &["x", "gru.w", "gru.r", "gru.b"], &["", "state"], vec![int("hidden_size", 5)])
        .ints("zero", &[0]);
    let model = net.node("Squeeze", &["state", "zero"], "h").dense("h", "head", [5, 3], "out").done(&["out"]);
    assert_eq!(
        model.exact().groups(),
        ["6 neuron: table[1] gru.w[2]", "5 neuron: gru.w[1]×3 gru.r[1]×3 gru.r[2] gru.b[1]×6 head.weight[0]"]
    );
}

#[test]
fn weights_put_together_from_gates_of_another_order() {
    // PyTorch stacks the gates of a GRU as r, z, n; its exporter without constant folding reorders them in the graph.
    let gates = |net: Net, name: &str| {
        let parts: Vec<String> = (0..3).map(|n| format!("{name}{n}")).collect();
        let net = net.with("Split", &[name], &[&parts[0], &parts[1], &parts[2]], vec![int("axis", 0)]);
        let joined = format!("{name}.zrh");
        let net = net.with("Concat", &[&parts[1], &parts[0], &parts[2]], &[&joined], vec![int("axis", 0)]);
        net.ints(&format!("{name}.axes"), &[0]).node(
            "Unsqueeze",
            &[&joined, &format!("{name}.axes")],
            &format!("{name}.onnx"),
        )
    };
    let net = gates(gates(embedded().param("w", &[15, 6]).param("r", &[15, 5]), "w"), "r");
    let net = net.with("GRU", &["x", "w.onnx", "r.onnx"], &["y4"], vec![int("hidden_size", 5)]);
    let net = last_step(squeezed(net, "y4", "y3"), "y3", "h");
    let model = net.dense("h", "head", [5, 3], "out").done(&["out"]);
    assert_eq!(
        model.exact().groups(),
        ["6 neuron: table[1] w[1]", "5 neuron: w[0]×3 r[0]×3 r[1] head.weight[0]"]
    );
}

#[test]
fn time_steps_and_states_that_leave_the_model_stay() {
    let net = layer(embedded(), "LSTM", "x", "lstm", [1, 6, 5], "y");
    let model = net.done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 neuron: table[1] lstm.w[2]"]);
    assert!(model.reason("lstm.r", 2).contains("output 'y'"), "{}", model.reason("lstm.r", 2));
    let convolved = Net::new(17)
        .input("x", &[0, 6, 4])
        .param("w", &[1, 20, 4])
        .param("r", &[1, 20, 5])
        .param("kernel", &[7, 6, 1])
        .with("Conv", &["x", "kernel"], &["c"], vec![ints("pads", &[0, 0])])
        .transpose("c", &[1, 0, 2], "steps");
    let net = squeezed(
        convolved.with("LSTM", &["steps", "w", "r"], &["y4"], vec![int("hidden_size", 5)]),
        "y4",
        "y3",
    );
    let model = last_step(net, "y3", "h").dense("h", "head", [5, 3], "out").done(&["out"]);
    assert_eq!(model.exact().groups(), ["5 neuron: w[1]×4 r[1]×4 r[2] head.weight[0]"]);
    assert!(model.reason("kernel", 0).contains("steps in time"), "{}", model.reason("kernel", 0));
}
