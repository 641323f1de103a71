//! Units that go at no loss.

use std::sync::Arc;

use secateurs_graph::coupling::{Coupling, Remaining, Selection};
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::Tensor;

use super::example::{Filling, example_inputs};
use crate::runtime::relative_difference;
use crate::search::SelectOptions;

/// In 64 bits nothing changes but signs of zeros.
const NOTHING: f64 = 1e-12;

/// Of every group that may lose units those that are provably dead, as far as one stays; the model without them is tried on random inputs.
pub(super) fn dead_units(
    graph: &Graph,
    coupling: &Coupling,
    sizes: &Bindings,
    guards: &SelectOptions,
) -> Result<Vec<Vec<usize>>, String> {
    let inputs = example_inputs(graph, sizes, Filling::Random)?;
    let session = |graph: Arc<Graph>| {
        let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
        Session::as_it_is(graph, options).map_err(|e| e.to_string())
    };
    let original = session(Arc::new(graph.clone()))?;
    let mut dead = coupling.dead(&original, &inputs).map_err(|e| {
        format!("one run says what is zero, and the model does not run at these sizes ({e}); give others, as in --dim batch=1")
    })?;
    let mut remaining = Remaining::new(coupling);
    for (group, own) in dead.iter_mut().enumerate() {
        let may_go = guards.groups.as_ref().is_none_or(|groups| groups.contains(&group));
        own.retain(|&unit| may_go && remaining.units(group) > 1 && remaining.remove(group, unit));
    }
    if dead.iter().all(Vec::is_empty) {
        return Ok(dead);
    }
    let mut masked = graph.clone();
    let selection = Selection::without(coupling, &dead);
    let patch = coupling.masking(graph, &selection).map_err(|e| e.to_string())?;
    patch.apply(&mut masked).map_err(|e| e.to_string())?;
    let run = |session: &Session| session.run(&inputs).map_err(|e| e.to_string());
    let (before, after) = (run(&original)?, run(&session(Arc::new(masked))?)?);
    let changes = |(a, b): (&Tensor, &Tensor)| {
        let difference = relative_difference(a, b);
        difference.is_nan() || difference > NOTHING
    };
    match after.iter().zip(&before).any(changes) {
        true => Err("units that seemed dead are not: the model computes with numbers that are not finite; plan without --lossless".into()),
        false => Ok(dead),
    }
}

#[cfg(test)]
mod tests {
    use secateurs_graph::coupling::CouplingOptions;
    use secateurs_onnx::proto::AttributeProto;
    use secateurs_onnx::{ElementType, ModelBuilder};

    use super::*;

    #[test]
    fn a_constant_of_one_sample_is_looked_into_where_the_batch_is_fixed() {
        // The third channel of the pictures and the token is zero; the second hidden unit is read by nothing.
        let without = |shape: &[usize], at: &dyn Fn(usize) -> bool| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|i| if at(i) { 0.0 } else { 0.5 + i as f32 }).collect();
            Tensor::from_slice(shape.to_vec(), &values).unwrap()
        };
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["1", "5", "4"])
            .constant("in", &without(&[4, 3], &|i| i % 3 == 2))
            .constant("one", &without(&[1, 1, 3], &|i| i == 2))
            .constant("up", &without(&[3, 4], &|_| false))
            .constant("down", &without(&[4, 2], &|i| i / 2 == 1))
            .node("MatMul", &["x", "in"], &["patches"])
            .node_with("Concat", &["one", "patches"], &["tokens"], vec![AttributeProto::from_int("axis", 1)])
            .node("MatMul", &["tokens", "up"], &["u"])
            .node("Relu", &["u"], &["r"])
            .node("MatMul", &["r", "down"], &["y"])
            .output("y");
        let graph = Graph::from_model(model.build().unwrap()).unwrap();
        let coupling = graph.coupling(&CouplingOptions::default());
        let dead = dead_units(&graph, &coupling, &Bindings::new(), &SelectOptions::default()).unwrap();
        assert_eq!(dead, [vec![2], vec![1]]);
    }
}
