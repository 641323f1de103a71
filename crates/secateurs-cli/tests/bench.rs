//! Latency is measured in a child process that never loads libtorch, and `bench` shows it.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateurs::runtime::{LatencyJob, LatencyOptions, LatencyRequest, RuntimeError, measure_in_child};
use secateurs_onnx::{ElementType, ModelBuilder, WriteOptions, write};

const SECATEURS: &str = env!("CARGO_BIN_EXE_secateurs");

/// Writes `y = sqrt(x)`.
fn model(folder: &Path) -> PathBuf {
    let path = folder.join("sqrt.onnx");
    let builder = ModelBuilder::new(17).input("x", ElementType::Float32, &["batch", "length"]);
    let model = builder.node("Sqrt", &["x"], &["y"]).output("y").build().unwrap();
    write(&model, &path, &WriteOptions::default()).unwrap();
    path
}

fn request(model: &Path) -> LatencyRequest {
    let job = LatencyJob { model: model.to_owned(), shapes: vec![("x".to_owned(), vec![4, 4])] };
    let options = LatencyOptions { seconds: 0.0, min_runs: 7, ..LatencyOptions::default() };
    LatencyRequest { jobs: vec![job.clone(), job], options }
}

#[test]
fn a_child_answers_with_timings() {
    let folder = tempfile::tempdir().unwrap();
    let timings =
        measure_in_child(Path::new(SECATEURS), &["latency-child"], &request(&model(folder.path()))).unwrap();
    assert_eq!(timings.len(), 2);
    assert!(timings.iter().all(|timing| timing.runs == 7 && timing.median_ms > 0.0), "{timings:?}");
}

#[test]
fn failures_of_the_child_come_back_as_errors() {
    let error = |executable: &str, arguments: &[&str]| {
        let request = request(Path::new("none.onnx"));
        let error = measure_in_child(Path::new(executable), arguments, &request).unwrap_err();
        assert!(matches!(error, RuntimeError::Child { .. }), "{error}");
        error.to_string()
    };
    assert!(error(SECATEURS, &["latency-child"]).contains("none.onnx"));
    // It may end before or after the request is written.
    let silent = error("true", &[]);
    assert!(silent.contains("request") || silent.contains("answer"), "{silent}");
    assert!(error("false", &[]).contains("exit status: 1"));
    assert!(error("no-such-executable", &[]).contains("no-such-executable"));
}

#[test]
fn bench_compares_models_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path());
    let path = path.to_str().unwrap();
    let output = Command::new(SECATEURS)
        .args([
            "bench",
            path,
            path,
            "--dim",
            "length=8",
            "--batch",
            "2",
            "--seconds",
            "0",
            "--runs",
            "5",
            "--json",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let models = report["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!(models[0]["shapes"], serde_json::json!([["x", [2, 8]]]));
    assert_eq!(models[0]["speedup"], 1.0);
    assert!(models[1]["median_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_unbound_size_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path());
    let output = Command::new(SECATEURS).args(["bench", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--dim length=N"));
}
