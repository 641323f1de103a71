//! What an op does where a session mixes precisions.

use std::sync::Arc;

use secateurs_onnx::Tensor;
use secateurs_torch::tch::{self, Device, Kind};

use super::check::assert_close;
use crate::graph::Graph;
use crate::op::Mixed;
use crate::session::{Precision, Session, SessionOptions, to_device, to_host};

/// A rounding to 8 bits, a few times over.
const TOLERANCE: f64 = 0.03;

/// An op that computes in bfloat16, or in whatever comes, gives with bfloat16 what it gives with 32 bits, up to rounding, and has a
/// gradient.
pub fn check(graph: &Arc<Graph>, fed: &[Tensor], what: &str) {
    let what = format!("{what}: in mixed precision");
    if graph.nodes.values().all(|node| node.op.mixed() == Mixed::Full) {
        return;
    }
    let session = |precision| {
        let session = Session::new(graph.clone(), SessionOptions { precision, ..SessionOptions::default() });
        session.unwrap_or_else(|e| panic!("{what}: {e}"))
    };
    let (single, mixed) = (session(Precision::Single), session(Precision::Bf16));
    let given: Vec<tch::Tensor> = fed
        .iter()
        .map(|tensor| {
            let tensor = to_device(tensor, Device::Cpu, mixed.floats()).unwrap();
            match tensor.f_kind().unwrap() {
                Kind::Float => tensor.f_to_kind(Kind::BFloat16).unwrap().f_set_requires_grad(true).unwrap(),
                _ => tensor,
            }
        })
        .collect();
    let widened: Vec<tch::Tensor> = given
        .iter()
        .map(|tensor| match tensor.f_kind().unwrap() {
            Kind::BFloat16 => tensor.f_detach().unwrap().f_to_kind(Kind::Float).unwrap(),
            _ => tensor.shallow_clone(),
        })
        .collect();
    let run = |session: &Session, inputs: &[tch::Tensor]| {
        session.forward(inputs, &[]).unwrap_or_else(|e| panic!("{what}: {e}")).outputs
    };
    let (expected, found) = (run(&single, &widened), run(&mixed, &given));
    for ((expected, found), &output) in expected.iter().zip(&found).zip(&graph.outputs) {
        let element_type = graph.values[output].fact.element_type;
        let host = |tensor| to_host(tensor, element_type).unwrap();
        assert_close(&host(found), &host(expected), TOLERANCE, &what);
    }
    let sums = found.iter().filter(|t| t.requires_grad()).map(|t| t.f_sum(None).unwrap());
    let Some(total) = sums.reduce(|a, b| a.f_add(&b).unwrap()) else { return };
    let inputs: Vec<&tch::Tensor> = given.iter().filter(|t| t.requires_grad()).collect();
    tch::Tensor::f_run_backward(&[&total], &inputs, false, false).unwrap_or_else(|e| panic!("{what}: {e}"));
}
