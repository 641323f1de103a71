//! What computes something else is not written.

use std::path::Path;

use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};

use super::check::Check;
use super::{Applied, CheckError, PlanOptions, WriteAppliedOptions, WriteError, apply, plan, write_applied};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::search::Budget;

fn weights(shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(0, "test weights", shape[0] as u64, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn graph(path: &Path) -> Graph {
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &weights(&[4, 8]))
        .constant("v", &weights(&[8, 3]))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Tanh", &["h"], &["i"])
        .node("MatMul", &["i", "v"], &["y"]);
    write(&model.output("y").build().unwrap(), path, &WriteOptions::default()).unwrap();
    Graph::read(path).unwrap()
}

fn half(graph: &Graph) -> Plan {
    let options = PlanOptions {
        budget: Budget::new(vec!["params=0.5".parse().unwrap()]).unwrap(),
        ..PlanOptions::default()
    };
    plan(graph, &options).unwrap()
}

#[test]
fn one_wrong_index_is_found_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let original = graph(&folder.path().join("model.onnx"));
    let plan = half(&original);
    let mut wrong = plan.clone();
    let kept = &mut wrong.groups[0].kept;
    let other = (0..8).find(|unit| !kept.contains(unit)).unwrap();
    kept[0] = other;
    let right = apply(&original, &plan).unwrap();
    let wrong = apply(&original, &wrong).unwrap();
    let (smaller, twin) = (folder.path().join("smaller.onnx"), folder.path().join("twin.onnx"));
    let options =
        WriteAppliedOptions { smaller: &smaller, masked: Some(&twin), check: true, sizes: &plan.model.sizes };
    let mixed = Applied { masked: right.masked.clone(), ..wrong };
    let error = write_applied(&original, &mixed, &options).unwrap_err();
    assert!(
        matches!(&error, WriteError::Check(CheckError::Differs { output, .. }) if output == "y"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let written = write_applied(&original, &right, &options).unwrap();
    assert!(written.difference.unwrap() < 1e-5);
    assert_eq!(written.cost, right.after);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_first_axis_that_must_be_a_multiple_is_checked_at_the_size_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let numbers = |numbers: &[i64]| Tensor::from_slice(vec![numbers.len()], numbers).unwrap();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["n", "4"])
        .constant("w", &weights(&[4, 16]))
        .constant("v", &weights(&[16, 4]))
        .constant("frames", &numbers(&[-1, 8, 4]))
        .constant("rows", &numbers(&[-1, 4]))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("MatMul", &["i", "v"], &["j"])
        .node("Reshape", &["j", "frames"], &["k"])
        .node("Reshape", &["k", "rows"], &["y"]);
    write(&model.output("y").build().unwrap(), &path, &WriteOptions::default()).unwrap();
    let graph = Graph::read(&path).unwrap();
    assert!(Check::new(&graph, &Bindings::from([("n".into(), 8)])).is_ok());
    assert!(Check::new(&graph, &Bindings::new()).is_err());
}
