//! Variants of ops that few exporters write.

use secateurs_onnx::{ElementType, Tensor};

use crate::net::{Net, int};

#[test]
fn a_product_of_transposed_batches_is_pruned_as_any_other() {
    // [b, t, i], whose tokens are the batches, · [t, i, o] → [t, b, o].
    let model = Net::new(17)
        .input("x", &[0, 3, 4])
        .dense("x", "a", [4, 6], "h")
        .param("w", &[3, 6, 5])
        .with("com.microsoft::FusedMatMul", &["h", "w"], &["f"], vec![int("transBatchA", 1)])
        .dense("f", "b", [5, 2], "y")
        .done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        ["6 channel: a.weight[1] a.bias[0] w[1]", "5 channel: w[2] b.weight[0]"]
    );
}

#[test]
fn packed_weights_of_four_bits_are_sliced() {
    let codes: Vec<u8> = (0..35).map(|i| (i * 5 + 3) % 16).collect();
    let codes = Tensor::from_slice(vec![7, 5], &codes).unwrap();
    let model = Net::new(21)
        .input("x", &[0, 4])
        .dense("x", "a", [4, 7], "h")
        .tensor("q", &Tensor::from_codes(ElementType::Int4, &codes).unwrap())
        .number("scale", 0.25)
        .node("DequantizeLinear", &["q", "scale"], "w")
        .node("MatMul", &["h", "w"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["7 neuron: a.weight[1] a.bias[0]"]);
}
