//! Starting weights that are exact in any float type, products included.

use secateurs_graph::surgery::{Form, Start};
use secateurs_onnx::Tensor;

use crate::rng::Rng;

/// Halves from −2 to 2.
pub fn numbers(shape: &[usize], rng: &mut Rng) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| (rng.below(9) as f32 - 4.0) / 2.0).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

pub fn start(rows: usize, channels: usize, form: Form, bias: bool, rng: &mut Rng) -> Start {
    let weights = match form {
        Form::Pointwise => vec![numbers(&[rows, channels, 1], rng)],
        Form::LowRank { rank } => vec![numbers(&[rank, channels], rng), numbers(&[rows, rank], rng)],
    };
    Start { weights, bias: (bias && rng.percent(70)).then(|| numbers(&[rows], rng)) }
}
