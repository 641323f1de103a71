//! Sizes that only the run tells.

use std::sync::Arc;

use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::{Session, SessionOptions};
use crate::graph::Graph;

#[test]
fn an_op_checks_shapes_that_only_the_run_tells() {
    let weight = Tensor::from_slice(vec![4, 3, 2], &[0.5f32; 24]).unwrap();
    let model = ModelBuilder::new(13)
        .input("x", ElementType::Float32, &["2", "3", "5"])
        .input("shape", ElementType::Int64, &["rank"])
        .constant("w", &weight)
        .node("Reshape", &["x", "shape"], &["reshaped"])
        .node("Conv", &["reshaped", "w"], &["y"])
        .output("y")
        .build()
        .unwrap();
    let graph = Arc::new(Graph::from_model(model).unwrap());
    let session = Session::new(graph, SessionOptions::default()).unwrap();
    let x = Tensor::from_slice(vec![2, 3, 5], &[1f32; 30]).unwrap();
    let run = |shape: &[i64]| {
        let shape = Tensor::from_slice(vec![shape.len()], shape).unwrap();
        session.run(&[x.clone(), shape]).map_err(|e| e.to_string())
    };
    assert_eq!(run(&[2, 3, 5]).unwrap()[0].shape(), [2, 4, 4]);
    assert_eq!(run(&[5, 3, 2]).unwrap()[0].shape(), [5, 4, 1]);
    let error = run(&[30]).unwrap_err();
    assert!(error.contains("the input has 1 axes"), "{error}");
}
