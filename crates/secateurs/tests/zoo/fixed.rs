//! Models that are exported for a single sample compute batches of any size, and so do their prunings.

use std::path::Path;
use std::sync::Arc;

use secateurs::plan::PlannedSplit;
use secateurs::runtime::relative_difference;
use secateurs_graph::Graph;
use secateurs_graph::coupling::CouplingOptions;
use secateurs_graph::rewrite::free_batch;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;
use serde_json::{Value, json};

use crate::models::{ZooModel, check_all, in_order};
use crate::pruning::pruned;
use crate::python::Script;

const TOLERANCE: f64 = 1e-4;
const BATCH: usize = 3;

#[test]
fn every_zoo_model_of_a_fixed_batch_computes_any() {
    let script = Script::start("fix.py");
    check_all("SECATEURS_FIXED", |zoo| check(zoo, &script));
}

fn check(zoo: &ZooModel, script: &Script) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("fixed.onnx");
    let files = format!("{}\t{}", zoo.path.display(), path.display());
    if script.ask(Path::new(&files))?.is_none() {
        return Ok(Value::Null);
    }
    let read = |path: &Path| Graph::read(path).map_err(|e| e.to_string());
    let (dynamic, fixed) = (read(&zoo.path)?, read(&path)?);
    let inputs = in_order(&dynamic, &zoo.example_inputs(BATCH));
    let expected = run(&dynamic, &inputs)?;
    let freed = free_batch(&fixed).ok_or("its batch cannot be freed")?;
    let difference = differ(&run(&freed, &inputs)?, &expected);
    let coupling = fixed.coupling(&CouplingOptions::default());
    let consumed = |graph: &Graph| coupling.consumed(graph).map_err(|e| e.to_string());
    if consumed(&fixed)? != consumed(&freed)? {
        return Err("units are consumed elsewhere where the batch is freed".into());
    }
    let (_, applied) = pruned(&fixed, 0, PlannedSplit::Outer)?;
    let smaller = free_batch(&applied.graph).ok_or("the batch of the pruned model cannot be freed")?;
    let at_once = run(&smaller, &inputs)?;
    let firsts: Vec<Tensor> = inputs.iter().map(first).collect();
    let alone = run(&applied.graph, &firsts)?;
    let of_pruned = differ(&at_once.iter().map(first).collect::<Vec<_>>(), &alone);
    if !(difference <= TOLERANCE && of_pruned <= TOLERANCE) {
        return Err(format!(
            "batches differ by {difference:.1e}, those of the pruned model by {of_pruned:.1e}"
        ));
    }
    Ok(json!({ "model": zoo.name, "difference": difference, "of pruned": of_pruned }))
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let session = Session::new(Arc::new(graph.clone()), SessionOptions::default());
    session.and_then(|session| session.run(inputs)).map_err(|e| e.to_string())
}

/// The first sample of a batch.
fn first(batch: &Tensor) -> Tensor {
    let shape = [&[1], &batch.shape()[1..]].concat();
    let bytes = batch.bytes()[..batch.bytes().len() / batch.shape()[0]].to_vec();
    Tensor::new(batch.element_type(), shape, bytes.into()).unwrap()
}

fn differ(a: &[Tensor], b: &[Tensor]) -> f64 {
    a.iter().zip(b).map(|(a, b)| relative_difference(a, b)).max_by(f64::total_cmp).unwrap()
}
