//! Parameters used more than once.

use crate::net::{Net, int};
use secateurs_graph::coupling::Selection;

#[test]
fn vectors_shared_by_accident_are_cloned_when_their_uses_part() {
    // Both layers read the same bias; their widths are not coupled.
    let model = Net::new(17)
        .input("x", &[0, 4])
        .param("w1", &[4, 6])
        .param("w2", &[6, 6])
        .param("w3", &[6, 2])
        .param("bias", &[6])
        .node("MatMul", &["x", "w1"], "a")
        .node("Add", &["a", "bias"], "ab")
        .node("Relu", &["ab"], "ar")
        .node("MatMul", &["ar", "w2"], "b")
        .node("Add", &["b", "bias"], "bb")
        .node("Relu", &["bb"], "br")
        .node("MatMul", &["br", "w3"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 neuron: w1[1] bias[0] w2[0]", "6 neuron: bias[0] w2[1] w3[0]"]);
}

#[test]
fn a_tied_matrix_stays_tied() {
    // An autoencoder whose decoder is the encoder's transpose.
    let model = Net::new(17)
        .input("x", &[0, 4])
        .param("w", &[4, 6])
        .node("MatMul", &["x", "w"], "h")
        .node("Sigmoid", &["h"], "s")
        .node("Transpose", &["w"], "wt")
        .node("MatMul", &["s", "wt"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 neuron: w[1]"]);
    // The twin zeroes the decoder's half only.
    let coupling = model.coupling();
    let mut masked = (*model.graph).clone();
    let selection = Selection { kept: vec![vec![0, 2, 3, 4, 5]] };
    coupling.masking(&model.graph, &selection).unwrap().apply(&mut masked).unwrap();
    let w = masked.value_named("w").unwrap();
    assert_eq!(masked.tensor(w).unwrap().bytes(), model.graph.tensor(w).unwrap().bytes());
}

#[test]
fn a_layer_applied_twice_is_one_layer() {
    let model = Net::new(17)
        .input("x", &[0, 4])
        .param("in", &[4, 6])
        .param("w", &[6, 6])
        .param("out", &[6, 2])
        .node("MatMul", &["x", "in"], "a")
        .node("Relu", &["a"], "ar")
        .node("MatMul", &["ar", "w"], "b")
        .node("Relu", &["b"], "br")
        .node("MatMul", &["br", "w"], "c")
        .node("Relu", &["c"], "cr")
        .node("MatMul", &["cr", "out"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["6 channel: in[1] w[0] w[1] out[0]"]);
}

#[test]
fn an_embedding_that_is_also_the_output_layer_keeps_its_rows() {
    let model = Net::new(17)
        .tokens("ids", &[0, 5], 9)
        .param("table", &[9, 8])
        .node("Gather", &["table", "ids"], "e")
        .dense("e", "ff", [8, 6], "f")
        .node("Relu", &["f"], "fr")
        .dense("fr", "back", [6, 8], "b")
        .node("Add", &["e", "b"], "s")
        .node("Transpose", &["table"], "t")
        .node("MatMul", &["s", "t"], "y")
        .done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        [
            "8 channel: table[1] ff.weight[0] back.weight[1] back.bias[0]",
            "6 neuron: ff.weight[1] ff.bias[0] back.weight[0]"
        ]
    );
    assert!(
        model.reason("table", 0).contains("model's output 'y'")
            || model.reason("table", 0).contains("Gather")
    );
}

#[test]
fn gated_feed_forward_layers_lose_neurons_in_both_halves() {
    let separate = Net::new(17)
        .input("x", &[0, 5, 4])
        .dense("x", "gate", [4, 6], "g")
        .dense("x", "up", [4, 6], "u")
        .node("Sigmoid", &["g"], "gs")
        .node("Mul", &["g", "gs"], "silu")
        .node("Mul", &["silu", "u"], "h")
        .dense("h", "down", [6, 4], "y")
        .done(&["y"]);
    assert_eq!(
        separate.exact().groups(),
        ["6 neuron: gate.weight[1] gate.bias[0] up.weight[1] up.bias[0] down.weight[0]"]
    );
    let fused = Net::new(17)
        .input("x", &[0, 5, 4])
        .dense("x", "gate_up", [4, 12], "gu")
        .with("Split", &["gu"], &["g", "u"], vec![int("axis", -1)])
        .node("Sigmoid", &["g"], "gs")
        .node("Mul", &["gs", "u"], "h")
        .dense("h", "down", [6, 4], "y")
        .done(&["y"]);
    assert_eq!(fused.exact().groups(), ["6 neuron: gate_up.weight[1]×2 gate_up.bias[0]×2 down.weight[0]"]);
}
