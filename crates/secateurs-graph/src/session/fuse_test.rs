//! Fused patterns give what their nodes give, and are found.

use std::sync::Arc;

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::plan::Plan;
use super::{Session, SessionOptions};
use crate::graph::Graph;

fn floats(shape: &[usize], scale: f32) -> Tensor {
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| scale * ((i as f32 * 0.83).sin() + 0.1)).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn scalar(x: f32) -> Tensor {
    Tensor::scalar(x)
}

/// How many steps the plans have with and without fusing, and the largest difference of the outputs.
fn compare(builder: ModelBuilder, input: &Tensor) -> (usize, usize, f64) {
    let graph = Arc::new(Graph::from_model(builder.build().unwrap()).unwrap());
    let run = |fuse: bool| {
        let options = SessionOptions { fuse, ..SessionOptions::default() };
        let session = Session::new(graph.clone(), options).unwrap();
        let facts = session.infer(&[input.shape().iter().map(|&n| n as i64).collect()]).unwrap();
        let steps = Plan::new(&session, &facts, fuse).unwrap().steps();
        let output = session.run(std::slice::from_ref(input)).unwrap().remove(0);
        (steps, output.to_f64_vec().unwrap())
    };
    let (fused, a) = run(true);
    let (plain, b) = run(false);
    let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (fused, plain, difference)
}

#[test]
fn linear_and_both_spellings_of_gelu() {
    for half_first in [false, true] {
        let builder = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["2", "3", "4"])
            .constant("w", &floats(&[4, 5], 0.7))
            .constant("b", &floats(&[5], 0.2))
            .constant("root", &scalar(std::f32::consts::SQRT_2))
            .constant("one", &scalar(1.0))
            .constant("half", &scalar(0.5))
            .node("MatMul", &["x", "w"], &["p"])
            .node("Add", &["b", "p"], &["h"])
            .node("Div", &["h", "root"], &["d"])
            .node("Erf", &["d"], &["e"])
            .node("Add", &["e", "one"], &["a"]);
        let builder = match half_first {
            true => builder.node("Mul", &["h", "half"], &["m"]).node("Mul", &["m", "a"], &["y"]),
            false => builder.node("Mul", &["h", "a"], &["m"]).node("Mul", &["m", "half"], &["y"]),
        };
        let (fused, plain, difference) = compare(builder.output("y"), &floats(&[2, 3, 4], 1.5));
        assert_eq!((fused, plain), (2, 7));
        assert!(difference < 1e-6, "{difference}");
    }
}

#[test]
fn attention_with_and_without_a_mask() {
    for masked in [false, true] {
        let last_two_exchanged = AttributeProto::from_ints("perm", vec![0, 1, 3, 2]);
        let builder = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["2", "3", "4", "5"])
            .constant("scale", &scalar(0.4))
            .constant("mask", &floats(&[1, 1, 1, 4], 3.0))
            .node("Sigmoid", &["x"], &["k"])
            .node("Tanh", &["x"], &["v"])
            .node_with("Transpose", &["k"], &["t"], vec![last_two_exchanged])
            .node("MatMul", &["x", "t"], &["s"])
            .node("Mul", &["s", "scale"], &["c"]);
        let (builder, scores) = match masked {
            true => (builder.node("Add", &["c", "mask"], &["added"]), "added"),
            false => (builder, "c"),
        };
        let builder =
            builder.node("Softmax", &[scores], &["p"]).node("MatMul", &["p", "v"], &["y"]).output("y");
        let (fused, plain, difference) = compare(builder, &floats(&[2, 3, 4, 5], 1.0));
        assert_eq!((fused, plain), (4, if masked { 8 } else { 7 }));
        assert!(difference < 1e-6, "{difference}");
    }
}
