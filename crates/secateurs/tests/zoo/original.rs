//! Written back losslessly, inferred as it runs, and equal to ONNX Runtime, at two batch sizes.
//!
//! `SECATEURS_ZOO_COVERAGE=FILE` writes what was seen as JSON lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use secateurs::runtime::relative_difference;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{Model, Tensor, WriteOptions, write};

use crate::models::{BATCHES, ZooModel, check_all, in_order, onnx_runtime};

const TOLERANCE: f64 = 1e-4;

#[test]
fn every_zoo_model_is_lossless_inferred_and_equal_to_onnx_runtime() {
    check_all("SECATEURS_ZOO_COVERAGE", check);
}

fn check(zoo: &ZooModel) -> Result<serde_json::Value, String> {
    let model = Model::read(&zoo.path).map_err(|e| e.to_string())?;
    let graph = Graph::from_model(model.clone()).map_err(|e| e.to_string())?;
    lossless(&model, &graph)?;
    let mut runtime = onnx_runtime(&zoo.path)?;
    let graph = Arc::new(graph);
    let session = Session::new(graph.clone(), SessionOptions::default()).map_err(|e| e.to_string())?;
    let mut largest = 0f64;
    for batch in BATCHES {
        let inputs = zoo.example_inputs(batch);
        inference_is_complete(&graph, &inputs)?;
        // A debug build compares what was inferred with what every op gives.
        let ours = session.run(&in_order(&graph, &inputs)).map_err(|e| format!("batch {batch}: {e}"))?;
        let named: Vec<(String, Tensor)> = inputs.into_iter().collect();
        let theirs = runtime.run(&named).map_err(|e| format!("batch {batch}: {e}"))?;
        for (ours, (name, theirs)) in ours.iter().zip(&theirs) {
            let difference = relative_difference(ours, theirs);
            if difference.is_nan() || difference > TOLERANCE {
                return Err(format!("batch {batch}: '{name}' differs from ONNX Runtime by {difference:.1e}"));
            }
            largest = largest.max(difference);
        }
    }
    let cost = graph.cost();
    let ops: std::collections::BTreeSet<String> =
        graph.nodes.values().map(|n| n.op.name().to_owned()).collect();
    Ok(serde_json::json!({
        "model": zoo.name, "nodes": graph.order.len(), "parameters": cost.params, "statistics": cost.statistics,
        "macs": cost.macs.to_string(), "difference": largest, "ops": ops,
    }))
}

fn lossless(model: &Model, graph: &Graph) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copy = folder.path().join("copy.onnx");
    write(&graph.to_model(), &copy, &WriteOptions::default()).map_err(|e| e.to_string())?;
    let again = Model::read(&copy).map_err(|e| e.to_string())?;
    if again.proto != model.proto {
        return Err("reading and writing changes the model".into());
    }
    // Written node by node, as after a patch, it must still be the same graph.
    let mut touched = graph.clone();
    touched.changed = true;
    if touched.to_model().proto != model.proto {
        return Err("writing node by node changes the model".into());
    }
    Ok(())
}

/// Every value has a known shape once the inputs have, and the same one that its formula over the batch size gives.
fn inference_is_complete(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Result<(), String> {
    let mut bound = graph.clone();
    let mut bindings = Bindings::new();
    for &id in &graph.inputs {
        let shape = graph.values[id].fact.shape.as_ref().ok_or("an input without a shape")?;
        for (dim, &size) in shape.iter().zip(inputs[&graph.values[id].name].shape()) {
            for symbol in dim.symbols() {
                bindings.insert(symbol.to_string(), size as i64);
            }
        }
    }
    bound.bind(&bindings).map_err(|e| e.to_string())?;
    for (id, value) in &graph.values {
        let before = value.fact.bind(&bindings);
        let after = &bound.values[id].fact;
        if after.known_shape().is_none() {
            return Err(format!("'{}' is inferred only as {after:?}", value.name));
        }
        if before.known_shape() != after.known_shape() {
            return Err(format!("'{}' is {:?} by its formula and {after:?}", value.name, value.fact));
        }
    }
    Ok(())
}
