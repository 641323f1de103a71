//! What the twin zeroes, where more than one input could be.

use crate::net::{Net, int};
use secateurs_onnx::Tensor;
use secateurs_onnx::proto::AttributeProto;

#[test]
fn labels_are_not_zeroed() {
    // The sum over samples takes their losses, not their labels, as zero.
    let labels = Tensor::from_slice(vec![4], &[2i64, 1, 2, 1]).unwrap();
    let model = Net::new(17)
        .input("x", &[1, 6])
        .dense("x", "a", [6, 12], "h")
        .reshape("h", &[4, 3], "scores")
        .tensor("labels", &labels)
        .with("NegativeLogLikelihoodLoss", &["scores", "labels"], &["y"], vec![string("reduction", "sum")])
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["4 neuron: a.weight[1]×3 a.bias[0]×3"]);
}

#[test]
fn keys_are_zeroed_beside_queries() {
    // By the delta rule, keys read the state that they have made.
    let model = Net::new(27)
        .input("x", &[0, 3, 6])
        .dense("x", "q", [6, 8], "q")
        .dense("x", "k", [6, 8], "k")
        .dense("x", "v", [6, 4], "v")
        .dense("x", "b", [6, 2], "b")
        .node("Sigmoid", &["b"], "beta")
        .with(
            "LinearAttention",
            &["q", "k", "v", "", "", "beta"],
            &["h", "state"],
            vec![
                int("q_num_heads", 2),
                int("kv_num_heads", 2),
                string("update_rule", "delta"),
                AttributeProto::from_float("scale", 0.5),
            ],
        )
        .dense("h", "o", [4, 2], "y")
        .done(&["y"]);
    model.inner().exact();
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto::from_string(name, value.to_owned())
}
