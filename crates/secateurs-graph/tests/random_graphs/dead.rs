//! Units that are said to be dead: without them a graph computes what it computed.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, CouplingOptions, Selection, Split};
use secateurs_graph::patch::Patch;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_onnx::{ElementType, Model, Tensor};

use crate::check::{close, fed_all, run};
use crate::net::Feed;
use crate::rng::Rng;

/// Zeroes slices of parameters at random; whether units were dead then.
pub fn check(model: &Model, feeds: &[Feed], split: Split, seed: u64) -> Result<bool, String> {
    let mut graph = Graph::from_model(model.clone()).map_err(|e| format!("the graph: {e}"))?;
    let coupling = graph.coupling(&CouplingOptions { split, ..CouplingOptions::default() });
    zeroed(&graph, &coupling, &mut Rng::new(seed)).apply(&mut graph).map_err(|e| e.to_string())?;
    let graph = Arc::new(graph);
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    let session = Session::new(graph.clone(), options).map_err(|e| e.to_string())?;
    let dead = coupling.dead(&session, &fed_all(feeds, 0)).map_err(|e| format!("no analysis: {e}"))?;
    if dead.iter().all(Vec::is_empty) {
        return Ok(false);
    }
    let selection = Selection::without(&coupling, &dead);
    let mut masked = (*graph).clone();
    let patch = coupling.masking(&graph, &selection).map_err(|e| format!("no mask: {e}"))?;
    patch.apply(&mut masked).map_err(|e| format!("masking leaves no graph: {e}"))?;
    for round in 0..3 {
        let feed = fed_all(feeds, round);
        let own = |graph: &Graph| run(graph, &feed).map_err(|e| format!("it does not run: {e}"));
        let (a, b) = (own(&masked)?, own(&graph)?);
        // Zeros may be divided by, of which nothing is said.
        if !b.iter().all(is_finite) {
            return Ok(false);
        }
        close(&a, &b, 1e-9).map_err(|e| format!("{split:?}, {dead:?} are not dead: {e}\n{graph:?}"))?;
    }
    Ok(true)
}

/// Of some units what makes them is zero, of others what reads them.
fn zeroed(graph: &Graph, coupling: &Coupling, rng: &mut Rng) -> Patch {
    let mut patch = Patch::new();
    let mut tensors = std::collections::BTreeMap::new();
    for group in &coupling.groups {
        for unit in group.units.iter() {
            if !rng.percent(30) {
                continue;
            }
            let made = rng.percent(50);
            for parameter in group.parameters.iter().filter(|p| p.made == made) {
                let Some(tensor) = graph.tensor(parameter.value) else { continue };
                if tensor.element_type() != ElementType::Float32 {
                    continue;
                }
                let values = tensors.entry(parameter.value).or_insert_with(|| tensor.to_f64_vec().unwrap());
                let shape = tensor.shape();
                let inner: usize = shape[parameter.axis + 1..].iter().product();
                let indices = unit.indices(parameter);
                for (i, value) in values.iter_mut().enumerate() {
                    if indices.contains(&(i / inner % shape[parameter.axis])) {
                        *value = 0.0;
                    }
                }
            }
        }
    }
    for (value, values) in tensors {
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        let shape = graph.tensor(value).unwrap().shape().to_vec();
        patch.set_tensor(value, Tensor::from_slice(shape, &values).unwrap());
    }
    patch
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.to_f64_vec().is_ok_and(|values| values.iter().all(|v| v.is_finite()))
}
