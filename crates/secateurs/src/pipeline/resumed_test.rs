//! The times of a run that was interrupted.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};
use secateurs_torch::tch::Device;

use super::{JobError, Progress, RunJob, Stage, compress};
use crate::data::npz;
use crate::recipe::Settings;
use crate::report::Step;
use crate::tune::Event;

fn wave(shape: &[usize], f: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (f * i as f64 + 0.3).sin() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

#[test]
fn steps_take_the_time_of_all_processes_that_worked_on_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &wave(&[4, 16], 0.7))
        .constant("v", &wave(&[16, 3], 1.3))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("MatMul", &["r", "v"], &["logits"])
        .output("logits");
    write(&model.build().unwrap(), &path("model.onnx"), &WriteOptions::default()).unwrap();
    npz::write(&path("data.npz"), &[("x", &wave(&[200, 4], 0.37))]).unwrap();
    let graph = Graph::read(&path("model.onnx")).unwrap();
    let mut settings = Settings::default();
    settings.plan.keep = vec!["params=0.5".parse().unwrap()];
    (settings.tune.epochs, settings.tune.batch_size) = (3, 32);
    settings.latency.batches = Vec::new();
    let job = RunJob {
        graph: &graph,
        data: &path("data.npz"),
        validation: None,
        test: None,
        evidence: None,
        teacher_cache: None,
        folder: &path("run"),
        settings: &settings,
        sizes: Bindings::new(),
        outputs: &[],
        device: Device::Cpu,
        threads: 1,
        restart: false,
        check: false,
        latency_child: (Path::new("none"), &[]),
        command: &[],
    };
    const WAIT: Duration = Duration::from_millis(200);
    let ends_in = |ended: Stage| {
        let mut now = None;
        compress(&job, &mut |progress| {
            let is_part = match &progress {
                Progress::Begins { stage, .. } => {
                    now = Some(*stage);
                    false
                }
                Progress::Samples(_) => true,
                Progress::Tuning(event) => {
                    matches!(event, Event::Step { .. } | Event::Epoch { epoch: 1.., .. })
                }
                _ => false,
            };
            if !is_part || now != Some(ended) {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(WAIT);
            match progress {
                Progress::Tuning(Event::Step { .. }) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })
    };
    for stage in [Stage::Measure, Stage::Tune] {
        assert!(matches!(ends_in(stage), Err(JobError::Interrupted)));
    }
    let report = compress(&job, &mut |_| ControlFlow::Continue(())).unwrap();
    let took = |name: &str| -> f64 {
        let own = |step: &&Step| step.name == name;
        report.ledger.iter().filter(own).map(|step| step.seconds).sum()
    };
    // What was measured and trained before the interruptions.
    assert!(took("measure") >= WAIT.as_secs_f64(), "{:?}", report.ledger);
    let epochs: f64 = std::fs::read_to_string(path("run").join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "epoch")
        .map(|line| line["seconds"].as_f64().unwrap())
        .sum();
    assert!(took("tune") >= epochs, "{:?} {epochs}", report.ledger);
    let sum: f64 = report.ledger.iter().map(|step| step.seconds).sum();
    assert!((sum - report.seconds).abs() < 1e-9);
}
