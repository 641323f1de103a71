//! What depends on constants alone, and what masks and taps see of it.

use std::sync::Arc;

use secateurs_onnx::{ElementType, ModelBuilder, Tensor as HostTensor};
use secateurs_torch::tch::Tensor;

use super::{Mask, Run, Session, SessionOptions, Tap};
use crate::graph::Graph;

/// x plus the sum of a constant's negative.
fn session() -> Session {
    let c = HostTensor::from_slice(vec![3], &[1f32, 2.0, 4.0]).unwrap();
    let model = ModelBuilder::new(13)
        .input("x", ElementType::Float32, &["1"])
        .constant("c", &c)
        .node("Neg", &["c"], &["n"])
        .node("ReduceSum", &["n"], &["s"])
        .node("Add", &["x", "s"], &["y"])
        .output("y");
    let graph = Graph::from_model(model.build().unwrap()).unwrap();
    Session::new(Arc::new(graph), SessionOptions::default()).unwrap()
}

#[test]
fn unfolded_nodes_run_and_are_masked_and_tapped() {
    let mut session = session();
    let graph = session.graph().clone();
    let [negative, sum] = ["n", "s"].map(|name| graph.value_named(name).unwrap());
    let reduces = graph.order.iter().copied().find(|&id| graph.nodes[id].outputs[0] == Some(sum)).unwrap();
    let masks = [Mask { node: reduces, input: 0, axis: 0, indices: vec![1] }];
    let x = [Tensor::f_from_slice(&[10f32]).unwrap()];
    let y = |run: Run| run.outputs[0].f_double_value(&[0]).unwrap();
    assert_eq!(y(session.forward(&x, &[]).unwrap()), 3.0);
    let refused = session.forward_masked(&x, &masks).err().unwrap().to_string();
    assert!(refused.contains("is folded"), "{refused}");

    session.unfold([reduces]);
    assert!(session.constant(negative).is_some(), "what it reads stays folded");
    assert_eq!(y(session.forward(&x, &[]).unwrap()), 3.0);
    assert_eq!(y(session.forward_masked(&x, &masks).unwrap()), 5.0);
    let tapped = session.forward(&x, &[Tap::Edge { node: reduces, input: 0 }]).unwrap();
    let gradients = Tensor::f_run_backward(&[&tapped.outputs[0]], &[&tapped.taps[0]], false, false).unwrap();
    assert_eq!(Vec::<f64>::try_from(&gradients[0]).unwrap(), [1.0; 3]);
}
