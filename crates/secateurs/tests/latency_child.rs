//! Latency in a child process: this test is its own child, so it has no test harness, whose output would mix with
//! the answer.

use std::path::Path;

use secateurs::runtime::{
    LatencyJob, LatencyOptions, LatencyRequest, RuntimeError, latency_child, measure_in_child,
};
use secateurs_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, type_proto,
};
use secateurs_onnx::{ElementType, Model, WriteOptions, write};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("latency-child") => latency_child(std::io::stdin(), std::io::stdout()).unwrap(),
        Some("silent-child") => {}
        Some("failing-child") => std::process::exit(3),
        _ => {
            a_child_answers_with_timings();
            failures_come_back_as_errors();
            println!("latency_child: ok");
        }
    }
}

/// Writes `y = sqrt(x)` for a float of any shape.
fn write_model(path: &Path) {
    let value = |name: &str| {
        let tensor = type_proto::Tensor { elem_type: Some(ElementType::Float32.to_onnx()), shape: None };
        let r#type = TypeProto { denotation: None, value: Some(type_proto::Value::TensorType(tensor)) };
        ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..ValueInfoProto::default() }
    };
    let node = NodeProto {
        op_type: Some("Sqrt".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: Some("test".to_owned()),
        node: vec![node],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    write(&Model::from_proto(proto, None).unwrap(), path, &WriteOptions::default()).unwrap();
}

fn request(model: &Path) -> LatencyRequest {
    let job = LatencyJob { model: model.to_owned(), shapes: vec![("x".to_owned(), vec![4, 4])] };
    let options = LatencyOptions { seconds: 0.0, min_runs: 7, ..LatencyOptions::default() };
    LatencyRequest { jobs: vec![job.clone(), job], options }
}

fn a_child_answers_with_timings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sqrt.onnx");
    write_model(&path);
    let executable = std::env::current_exe().unwrap();
    let timings = measure_in_child(&executable, &["latency-child"], &request(&path)).unwrap();
    assert_eq!(timings.len(), 2);
    assert!(timings.iter().all(|timing| timing.runs == 7 && timing.median_ms > 0.0), "{timings:?}");
}

fn failures_come_back_as_errors() {
    let executable = std::env::current_exe().unwrap();
    let error = |executable: &Path, argument: &str| {
        let error = measure_in_child(executable, &[argument], &request(Path::new("none.onnx"))).unwrap_err();
        assert!(matches!(error, RuntimeError::Child { .. }), "{error}");
        error.to_string()
    };
    assert!(error(&executable, "latency-child").contains("none.onnx"));
    assert!(error(&executable, "silent-child").contains("answer cannot be read"));
    assert!(error(&executable, "failing-child").contains("exit status: 3"));
    assert!(error(Path::new("no-such-executable"), "").contains("no-such-executable"));
}
