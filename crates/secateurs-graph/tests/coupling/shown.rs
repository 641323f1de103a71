//! Sizes that leave the model, or that a subgraph reads: they say after surgery what they said before.

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Net, run};

/// A layer whose sizes are computed by the model.
fn sized() -> Net {
    Net::new(17).input("x", &[0, 6]).dense("x", "a", [6, 8], "h").node("Relu", &["h"], "r").node(
        "Shape",
        &["r"],
        "sizes",
    )
}

#[test]
fn sizes_that_are_outputs_stay() {
    let model = sized()
        .node("Size", &["r"], "count")
        .int("axis", 1)
        .node("Gather", &["sizes", "axis"], "width")
        .dense("r", "b", [8, 2], "y")
        .done(&["y", "sizes", "count", "width"]);
    assert_eq!(model.exact().groups(), ["8 neuron: a.weight[1] a.bias[0] b.weight[0]"]);
    let whole = run(&model.graph, &model.feed(3));
    assert_eq!(whole[1].to_vec::<i64>().unwrap(), [3, 8]);
    assert_eq!(whole[2].to_vec::<i64>().unwrap(), [24]);
}

#[test]
fn what_also_reads_such_a_size_is_put_right() {
    let model = sized()
        .node("Reshape", &["r", "sizes"], "again")
        .dense("again", "b", [8, 2], "y")
        .done(&["y", "sizes"]);
    model.exact();
}

#[test]
fn sizes_that_a_subgraph_reads_stay() {
    let branch = |by: f32| {
        let body = ModelBuilder::new(17)
            .constant("by", &Tensor::scalar(by))
            .node_with(
                "Cast",
                &["width"],
                &["number"],
                vec![AttributeProto::from_int("to", ElementType::Float32.to_onnx() as i64)],
            )
            .node("Mul", &["number", "by"], &["scaled"])
            .output("scaled");
        body.proto().graph.unwrap_or_default()
    };
    let model = sized()
        .int("axis", 1)
        .node("Gather", &["sizes", "axis"], "width")
        .tensor("condition", &Tensor::scalar(true))
        .with(
            "If",
            &["condition"],
            &["scale"],
            vec![
                AttributeProto::from_graph("then_branch", branch(0.5)),
                AttributeProto::from_graph("else_branch", branch(2.0)),
            ],
        )
        .dense("r", "b", [8, 2], "z")
        .node("Div", &["z", "scale"], "y")
        .done(&["y"]);
    assert_eq!(model.exact().groups(), ["8 neuron: a.weight[1] a.bias[0] b.weight[0]"]);
}
