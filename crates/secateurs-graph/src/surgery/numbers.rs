//! The numbers that an implant starts from.

use secateurs_onnx::Tensor;

use super::implant::{Form, Implant};
use super::place::{Place, refused};
use crate::error::GraphError;
use crate::graph::Graph;

/// The numbers of an implant, row-major.
pub(super) struct Numbers {
    pub weights: Vec<Vec<f64>>,
    /// Of a bias of its own.
    pub bias: Option<Vec<f64>>,
}

impl Numbers {
    /// What an implant on so many channels starts from. Two matrices of zeros would never get a gradient: without a start, the first has orthonormal rows
    /// (those of the discrete cosine transform) and only the second is zero.
    pub fn of(
        graph: &Graph,
        place: &Place,
        implant: &Implant,
        channels: usize,
    ) -> Result<Numbers, GraphError> {
        let rows = implant.rows.len();
        let shapes = match implant.form {
            Form::Pointwise => vec![[rows, channels]],
            Form::LowRank { rank: 0 } => return Err(refused(graph, place.node, "a rank must be 1 or more")),
            Form::LowRank { rank } => vec![[rank, channels], [rows, rank]],
        };
        let Some(start) = &implant.start else {
            let mut weights: Vec<Vec<f64>> = shapes.iter().map(|[a, b]| vec![0.0; a * b]).collect();
            if let Form::LowRank { .. } = implant.form {
                let angle =
                    |i: usize| (i / channels) as f64 * (0.5 + (i % channels) as f64) / channels as f64;
                let norm = |i: usize| if i < channels { 1.0 } else { 2.0 } / channels as f64;
                let cosine = |i: usize| norm(i).sqrt() * (std::f64::consts::PI * angle(i)).cos();
                weights[0] = (0..weights[0].len()).map(cosine).collect();
            }
            return Ok(Numbers { weights, bias: implant.bias.then(|| vec![0.0; rows]) });
        };
        let numbers = |tensor: &Tensor, wanted: &[usize]| {
            let shape = tensor.shape();
            let fits = shape.starts_with(wanted) && shape[wanted.len()..].iter().all(|n| *n == 1);
            if !fits {
                let reason = format!("its starting weights have the shape {shape:?}, not {wanted:?}");
                return Err(refused(graph, place.node, reason));
            }
            tensor.to_f64_vec().map_err(|e| GraphError::Inconsistent(e.to_string()))
        };
        if start.weights.len() != shapes.len() {
            let reason =
                format!("it is given {} starting weights instead of {}", start.weights.len(), shapes.len());
            return Err(refused(graph, place.node, reason));
        }
        let weights = start.weights.iter().zip(&shapes).map(|(tensor, shape)| numbers(tensor, shape));
        let bias = match (&start.bias, implant.bias) {
            (Some(_), false) => {
                return Err(refused(graph, place.node, "it is given a bias, and was to keep the node's"));
            }
            (Some(bias), true) => Some(numbers(bias, &[rows])?),
            (None, own) => own.then(|| vec![0.0; rows]),
        };
        Ok(Numbers { weights: weights.collect::<Result<_, _>>()?, bias })
    }
}
