//! Subgraphs in a session.

use std::sync::Arc;

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor as HostTensor};
use secateurs_torch::tch::Tensor;

use super::{Session, SessionOptions};
use crate::graph::Graph;

/// x² or x + x, by a condition; the branches read x from outside, one of them through a branch of its own.
fn model() -> Graph {
    let branch =
        |op: &str| ModelBuilder::new(17).node(op, &["x", "x"], &["z"]).output("z").proto().graph.unwrap();
    let choice = |builder: ModelBuilder, output: &str, then, other| {
        let attributes = vec![
            AttributeProto::from_graph("then_branch", then),
            AttributeProto::from_graph("else_branch", other),
        ];
        builder.node_with("If", &["go"], &[output], attributes).output(output)
    };
    let nested = choice(ModelBuilder::new(17), "w", branch("Mul"), branch("Sub")).proto().graph.unwrap();
    let outer =
        ModelBuilder::new(17).input("x", ElementType::Float32, &["n"]).input("go", ElementType::Bool, &[]);
    Graph::from_model(choice(outer, "y", nested, branch("Add")).build().unwrap()).unwrap()
}

#[test]
fn branches_read_outer_values_and_pass_gradients_to_them() {
    let graph = model();
    let y = graph.outputs[0];
    assert_eq!(graph.values[y].fact.to_string(), "float32[n]");
    let session = Session::new(Arc::new(graph), SessionOptions::default()).unwrap();
    for (go, expected, slope) in [(true, 9.0, 6.0), (false, 6.0, 2.0)] {
        let x = Tensor::f_from_slice(&[3f32]).unwrap().f_set_requires_grad(true).unwrap();
        let condition = Tensor::f_from_slice(&[go]).unwrap().f_reshape([0i64; 0]).unwrap();
        let y = session.forward(&[x.shallow_clone(), condition], &[]).unwrap().outputs.remove(0);
        assert_eq!(y.f_double_value(&[0]).unwrap(), expected);
        let gradients = Tensor::f_run_backward(&[&y], &[&x], false, false).unwrap();
        assert_eq!(gradients[0].f_double_value(&[0]).unwrap(), slope);
    }
}

#[test]
fn a_model_with_branches_is_written_as_it_was() {
    let graph = model();
    assert_eq!(graph.to_model().proto, graph.source.proto);
    let tensor = HostTensor::from_slice(vec![2], &[1f32, -2.0]).unwrap();
    let session = Session::new(Arc::new(graph), SessionOptions::default()).unwrap();
    let outputs = session.run(&[tensor, HostTensor::scalar(true)]).unwrap();
    assert_eq!(outputs[0].to_vec::<f32>().unwrap(), [1.0, 4.0]);
}
