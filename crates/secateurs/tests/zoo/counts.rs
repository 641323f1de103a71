//! Parameters, MACs and bytes equal what a Python script counts in the ONNX file.

use std::path::Path;

use secateurs::pipeline::macs_sizes;
use secateurs::plan::PlannedSplit;
use secateurs_graph::{Bindings, Graph};
use serde_json::{Value, json};

use crate::models::{ZooModel, check_all};
use crate::pruning::{pruned, write_graph};
use crate::python::Script;

#[test]
fn reported_costs_of_every_zoo_model_and_a_pruned_one_equal_an_independent_count() {
    let script = Script::start("count.py");
    check_all("SECATEURS_COUNTS", |zoo| check(zoo, &script));
}

fn check(zoo: &ZooModel, script: &Script) -> Result<Value, String> {
    let graph = Graph::read(&zoo.path).map_err(|e| e.to_string())?;
    let original = compare(&zoo.path, &graph, script).map_err(|e| format!("original: {e}"))?;
    let (_, applied) = pruned(&graph, 0, PlannedSplit::Outer)?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("smaller.onnx");
    write_graph(&applied.graph, &path)?;
    let smaller = compare(&path, &applied.graph, script).map_err(|e| format!("pruned: {e}"))?;
    Ok(json!({ "model": zoo.name, "original": original, "pruned": smaller }))
}

fn compare(path: &Path, graph: &Graph, script: &Script) -> Result<Value, String> {
    let cost = graph.cost();
    let macs = cost.macs.bind(&macs_sizes(graph, &Bindings::new())).known();
    let ours = json!({ "parameters": cost.params, "statistics": cost.statistics, "bytes": cost.bytes, "macs": macs });
    match script.ask(path)? {
        Some(counted) if counted != ours => Err(format!("we report {ours}; counted are {counted}")),
        _ => Ok(ours),
    }
}
