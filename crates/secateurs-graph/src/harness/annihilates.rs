//! What an op says of zeros against evaluation: where the first of a pair is zero, output 0 is the same whatever the second holds.

use std::sync::Arc;

use secateurs_onnx::{ElementType, Tensor};

use super::case::Noise;
use super::check::{assert_close, run};
use crate::graph::{Graph, Source};
use crate::surgery::constants::floats;

/// Holds the pairs of [`Op::annihilates`](crate::op::Op::annihilates) against evaluation, in 64 bits.
pub fn check(graph: &Arc<Graph>, fed: &[Tensor], what: &str) {
    let node = &graph.nodes[graph.order[0]];
    for &(zero, other) in node.op.annihilates() {
        let what = format!("{what}: input {zero} is zero, and input {other}");
        let with = |seed: u64| {
            let (mut graph, mut fed) = ((**graph).clone(), fed.to_vec());
            for (input, noise) in [(zero, None), (other, Some(seed))] {
                let Some(value) = node.inputs[input] else { continue };
                let fed = graph.inputs.iter().position(|&own| own == value).map(|at| &mut fed[at]);
                let held = match &mut graph.values[value].source {
                    Source::Tensor(tensor) => Some(tensor),
                    _ => None,
                };
                let tensor = fed.or(held).unwrap_or_else(|| panic!("{what}: nothing is read"));
                *tensor = filled(tensor, noise);
            }
            run(&Arc::new(graph), &fed, true, &what).swap_remove(0)
        };
        assert_close(&with(1), &with(2), 1e-9, &what);
    }
}

/// A tensor like another one: of zeros, or of noise.
fn filled(like: &Tensor, seed: Option<u64>) -> Tensor {
    let mut noise = Noise(seed.unwrap_or(1));
    let count = like.shape().iter().product();
    let values: Vec<i64> = (0..count).map(|_| seed.map_or(0, |_| (noise.next() % 9) as i64 - 4)).collect();
    match like.element_type() {
        ElementType::Int64 => Tensor::from_slice(like.shape().to_vec(), &values).unwrap(),
        other => {
            let values: Vec<f64> = values.iter().map(|v| *v as f64).collect();
            floats(other, like.shape().to_vec(), &values).unwrap()
        }
    }
}
