//! Every model of the zoo (`cargo xtask test` unpacks it into `data/zoo`): written back losslessly, inferred as it runs,
//! and equal to ONNX Runtime, at two batch sizes.
//!
//! `ZOO=resnet,bert` tries the models whose names contain one of these. `SECATEURS_ZOO_COVERAGE=FILE` writes what was seen as
//! JSON lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use secateurs::rng::Rng;
use secateurs::runtime::{Optimisation, OrtModel, SessionOptions as RuntimeOptions, relative_difference};
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{Model, Tensor, WriteOptions, write};

const TOLERANCE: f64 = 1e-4;

#[test]
fn every_zoo_model_is_lossless_inferred_and_equal_to_onnx_runtime() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest_path = root.join("../shared/zoo/manifest.json");
    let Ok(manifest) = std::fs::read(&manifest_path) else {
        eprintln!("skipped: the zoo is not there ({})", manifest_path.display());
        return;
    };
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let wanted = std::env::var("ZOO").unwrap_or_default();
    let (mut failures, mut lines) = (String::new(), String::new());
    for entry in manifest["entries"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        if !wanted.split(',').any(|w| name.contains(w)) {
            continue;
        }
        let path = root.join(format!("data/zoo/{name}.onnx"));
        match check(&path, entry) {
            Ok(line) => {
                eprintln!("{name}: {line}");
                writeln!(lines, "{line}").unwrap();
            }
            Err(reason) => {
                eprintln!("{name}: FAILED: {reason}");
                writeln!(failures, "{name}: {reason}").unwrap();
            }
        }
    }
    if let Ok(path) = std::env::var("SECATEURS_ZOO_COVERAGE") {
        std::fs::write(path, lines).unwrap();
    }
    assert!(failures.is_empty(), "{failures}");
}

fn check(path: &Path, entry: &serde_json::Value) -> Result<serde_json::Value, String> {
    let model = Model::read(path).map_err(|e| e.to_string())?;
    let graph = Graph::from_model(model.clone()).map_err(|e| e.to_string())?;
    lossless(&model, &graph)?;
    let mut runtime = OrtModel::load(
        path,
        &RuntimeOptions { optimisation: Optimisation::Off, ..RuntimeOptions::default() },
    )
    .map_err(|e| e.to_string())?;
    let graph = Arc::new(graph);
    let session = Session::new(graph.clone(), SessionOptions::default()).map_err(|e| e.to_string())?;
    let mut largest = 0f64;
    for batch in [2usize, 3] {
        let inputs = example_inputs(entry, batch);
        inference_is_complete(&graph, &inputs)?;
        let tensors: Vec<Tensor> =
            graph.inputs.iter().map(|&v| inputs[&graph.values[v].name].clone()).collect();
        // A debug build compares what was inferred with what every op gives.
        let ours = session.run(&tensors).map_err(|e| format!("batch {batch}: {e}"))?;
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
        "model": entry["name"], "nodes": graph.order.len(), "parameters": cost.params, "statistics": cost.statistics,
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

/// Random inputs as the manifest describes them.
fn example_inputs(entry: &serde_json::Value, batch: usize) -> BTreeMap<String, Tensor> {
    let mut inputs = BTreeMap::new();
    for (i, input) in entry["inputs"].as_array().unwrap().iter().enumerate() {
        let mut shape: Vec<usize> =
            input["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        if input["dynamic_batch"].as_bool() == Some(true) {
            shape[0] = batch;
        }
        let mut rng = Rng::new(7, "zoo inputs", batch as u64, i as u64);
        let count = shape.iter().product();
        let tensor = match input["dtype"].as_str().unwrap() {
            "int64" => {
                let (low, high) = (input["low"].as_i64().unwrap(), input["high"].as_i64().unwrap());
                let draw = |rng: &mut Rng| low + rng.below((high - low + 1) as usize) as i64;
                let values: Vec<i64> = (0..count).map(|_| draw(&mut rng)).collect();
                Tensor::from_slice(shape, &values)
            }
            _ => {
                let values: Vec<f32> = (0..count).map(|_| rng.normal() as f32).collect();
                Tensor::from_slice(shape, &values)
            }
        };
        inputs.insert(input["name"].as_str().unwrap().to_owned(), tensor.unwrap());
    }
    inputs
}
