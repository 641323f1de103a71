//! Small models of convolutions and batch norms, and how to run them.

use std::sync::Arc;

use half::{bf16, f16};
use secateurs_graph::Graph;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

/// Reproducible numbers (xorshift64*).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in 0..bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// Uniform in low..high.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    /// Numbers in −1..1.
    pub fn tensor(&mut self, element_type: ElementType, shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.between(-1.0, 1.0)).collect();
        stored(element_type, shape, &values)
    }

    /// Scale, bias, mean and variance of a batch norm.
    pub fn statistics(&mut self, element_type: ElementType, channels: usize) -> [Tensor; 4] {
        let mut list = |low, high| {
            let values: Vec<f64> = (0..channels).map(|_| self.between(low, high)).collect();
            stored(element_type, &[channels], &values)
        };
        [list(-1.5, 1.5), list(-1.0, 1.0), list(-1.0, 1.0), list(0.05, 2.0)]
    }
}

pub fn stored(element_type: ElementType, shape: &[usize], values: &[f64]) -> Tensor {
    let shape = shape.to_vec();
    let tensor = match element_type {
        ElementType::Float64 => Tensor::from_slice(shape, values),
        ElementType::Float32 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| x as f32).collect::<Vec<_>>())
        }
        ElementType::Float16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>())
        }
        ElementType::Bfloat16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| bf16::from_f64(x)).collect::<Vec<_>>())
        }
        other => panic!("{other}"),
    };
    tensor.unwrap()
}

/// Adds `y = BatchNormalization(x)` with its constants.
pub fn batch_norm(builder: ModelBuilder, x: &str, y: &str, statistics: &[Tensor; 4]) -> ModelBuilder {
    let names: Vec<String> =
        ["scale", "bias", "mean", "variance"].iter().map(|part| format!("{y}.{part}")).collect();
    let builder =
        names.iter().zip(statistics).fold(builder, |builder, (name, tensor)| builder.constant(name, tensor));
    let inputs: Vec<&str> = [x].into_iter().chain(names.iter().map(String::as_str)).collect();
    builder.node("BatchNormalization", &inputs, &[y])
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, values)
}

pub fn graph(builder: ModelBuilder) -> Graph {
    Graph::from_model(builder.build().unwrap()).unwrap()
}

pub fn run(graph: &Graph, inputs: &[Tensor], double: bool) -> Vec<Tensor> {
    let precision = if double { Precision::Double } else { Precision::Single };
    let options = SessionOptions { precision, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options).unwrap().run(inputs).unwrap()
}

/// The largest difference, as a share of the largest value.
pub fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    let of = |(a, b): (&Tensor, &Tensor)| {
        assert_eq!(a.shape(), b.shape());
        let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        assert!(a.iter().chain(&b).all(|x| x.is_finite()));
        let largest = b.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
        a.iter().zip(&b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest
    };
    a.iter().zip(b).map(of).fold(0.0, f64::max)
}

pub fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes.values().filter(|node| node.op.name() == op).count()
}
