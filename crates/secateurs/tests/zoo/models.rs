//! The models, their inputs, and the loop over them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use secateurs::rng::Rng;
use secateurs::runtime::{Optimisation, OrtModel, SessionOptions};
use secateurs_graph::Graph;
use secateurs_onnx::Tensor;
use secateurs_torch::tch;
use serde_json::Value;

pub const BATCHES: [usize; 2] = [2, 3];

pub struct ZooModel {
    pub name: String,
    pub path: PathBuf,
    pub inputs: Vec<Value>,
}

/// The models that are wanted; `None`, with a word about it, where there is no zoo.
pub fn zoo() -> Option<Vec<ZooModel>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("../shared/zoo/manifest.json");
    let Ok(manifest) = std::fs::read(&path) else {
        eprintln!("skipped: the zoo is not there ({})", path.display());
        return None;
    };
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let wanted = std::env::var("ZOO").unwrap_or_default();
    let models = manifest["entries"].as_array().unwrap().iter().map(|entry| {
        let name = entry["name"].as_str().unwrap().to_owned();
        let path = root.join(format!("data/zoo/{name}.onnx"));
        ZooModel { name, path, inputs: entry["inputs"].as_array().unwrap().clone() }
    });
    Some(models.filter(|model| wanted.split(',').any(|w| model.name.contains(w))).collect())
}

/// Checks every model and fails with all that went wrong. What the checks give goes to the file that the environment variable
/// names, as JSON lines.
pub fn check_all(variable: &str, check: impl Fn(&ZooModel) -> Result<Value, String> + Sync) {
    check_each(variable, &zoo().unwrap_or_default(), check);
}

/// The same of other models.
pub fn check_each(
    variable: &str,
    models: &[ZooModel],
    check: impl Fn(&ZooModel) -> Result<Value, String> + Sync,
) {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    // The models are small: a thread for each of two is quicker than two threads for one.
    let work = || {
        secateurs_torch::load().unwrap();
        tch::set_num_threads(1);
        while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let result = check(model);
            let outcome = result.as_ref().map_or_else(|reason| format!("FAILED: {reason}"), |_| "ok".into());
            eprintln!("{} ({:.1} s): {outcome}", model.name, start.elapsed().as_secs_f64());
            results.lock().unwrap().insert(&model.name, result);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (mut failures, mut lines) = (String::new(), String::new());
    for (name, result) in results.into_inner().unwrap() {
        match result {
            Ok(line) => writeln!(lines, "{line}").unwrap(),
            Err(reason) => writeln!(failures, "{name}: {reason}").unwrap(),
        }
    }
    if let Ok(path) = std::env::var(variable) {
        std::fs::write(path, lines).unwrap();
    }
    assert!(failures.is_empty(), "{failures}");
}

/// A file in ONNX Runtime, computed as it is written.
pub fn onnx_runtime(path: &Path) -> Result<OrtModel, String> {
    let options =
        SessionOptions { threads: Some(1), optimisation: Optimisation::Off, ..SessionOptions::default() };
    OrtModel::load(path, &options).map_err(|e| e.to_string())
}

/// Tensors by name in the order of the graph's inputs.
pub fn in_order(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Vec<Tensor> {
    graph.inputs.iter().map(|&v| inputs[&graph.values[v].name].clone()).collect()
}

impl ZooModel {
    /// Random inputs as the manifest describes them.
    pub fn example_inputs(&self, batch: usize) -> BTreeMap<String, Tensor> {
        let mut inputs = BTreeMap::new();
        for (i, input) in self.inputs.iter().enumerate() {
            let mut shape: Vec<usize> =
                input["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            if input["dynamic_batch"].as_bool() == Some(true) {
                shape[0] = batch;
            }
            let mut rng = Rng::new(7, "zoo inputs", batch as u64, i as u64);
            let count = shape.iter().product();
            let tensor = match input["dtype"].as_str().unwrap() {
                "int32" | "int64" => {
                    let (low, high) = (input["low"].as_i64().unwrap(), input["high"].as_i64().unwrap());
                    let draw = |rng: &mut Rng| low + rng.below((high - low + 1) as usize) as i64;
                    let values: Vec<i64> = (0..count).map(|_| draw(&mut rng)).collect();
                    match input["dtype"] == "int32" {
                        true => {
                            Tensor::from_slice(shape, &values.iter().map(|&v| v as i32).collect::<Vec<_>>())
                        }
                        false => Tensor::from_slice(shape, &values),
                    }
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
}
