//! Fused patterns give what their nodes give, and are found.

use std::sync::Arc;

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};
use secateurs_torch::tch::{self, Device, Kind};

use super::plan::Plan;
use super::{Session, SessionOptions, to_device};
use crate::graph::Graph;
use crate::op::TrainingMode;

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

/// A batch norm with a ReLU behind it, and one that is read twice.
fn normalized() -> ModelBuilder {
    let (ones, small) = (floats(&[5], 0.8), floats(&[5], 0.1));
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["2", "3", "6", "6"])
        .constant("w", &floats(&[5, 3, 3, 3], 0.4))
        .constant("v", &floats(&[5, 5, 1, 1], 0.4));
    let model = ["first", "second"].into_iter().fold(model, |model, name| {
        let name = |part: &str| format!("{part} of {name}");
        model
            .constant(&name("scale"), &ones)
            .constant(&name("bias"), &small)
            .constant(&name("mean"), &small)
            .constant(&name("variance"), &Tensor::from_slice(vec![5], &[0.7f32, 1.0, 1.3, 0.2, 2.0]).unwrap())
    });
    let parameters = |x: &'static str, name: &str| {
        let of = |part: &str| format!("{part} of {name}");
        [x.to_owned(), of("scale"), of("bias"), of("mean"), of("variance")]
    };
    let (first, second) = (parameters("c", "first"), parameters("d", "second"));
    model
        .node("Conv", &["x", "w"], &["c"])
        .node("BatchNormalization", &first.each_ref().map(String::as_str), &["n"])
        .node("Relu", &["n"], &["r"])
        .node("Conv", &["r", "v"], &["d"])
        .node("BatchNormalization", &second.each_ref().map(String::as_str), &["m"])
        .node("Relu", &["m"], &["s"])
        .node("Add", &["m", "s"], &["y"])
        .output("y")
}

#[test]
fn a_relu_that_alone_reads_a_batch_norm_runs_with_it() {
    let input = floats(&[2, 3, 6, 6], 1.5);
    let (fused, plain, difference) = compare(normalized(), &input);
    assert_eq!((fused, plain), (6, 7));
    assert!(difference < 1e-6, "{difference}");

    let graph = Arc::new(Graph::from_model(normalized().build().unwrap()).unwrap());
    let trained = |fuse: bool| -> Vec<Vec<f32>> {
        let options = SessionOptions { fuse, train_parameters: true, ..SessionOptions::default() };
        let mut session = Session::new(graph.clone(), options).unwrap();
        session.set_training(TrainingMode {
            batch_statistics: true,
            statistics_rate: Some(0.3),
            dropout: false,
        });
        let x = to_device(&input, Device::Cpu, session.floats()).unwrap();
        let y = session.forward(&[x], &[]).unwrap().outputs.remove(0);
        let parameters: Vec<_> = session.parameters().map(|(_, tensor)| tensor).collect();
        let square = y.f_square().unwrap().f_sum(Kind::Float).unwrap();
        let gradients = tch::Tensor::f_run_backward(&[&square], &parameters, false, false).unwrap();
        let statistics = session.statistics().map(|(_, tensor)| tensor.shallow_clone());
        let all = std::iter::once(y).chain(gradients).chain(statistics);
        all.map(|tensor| Vec::try_from(tensor.f_reshape(-1).unwrap()).unwrap()).collect()
    };
    let (fused, plain) = (trained(true), trained(false));
    assert_eq!(fused.len(), 1 + 6 + 4);
    for (fused, plain) in fused.iter().zip(&plain) {
        let largest = plain.iter().fold(1f32, |m, x| m.max(x.abs()));
        let difference = fused.iter().zip(plain).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(difference <= 1e-5 * largest, "{difference} of {largest}");
    }
}
