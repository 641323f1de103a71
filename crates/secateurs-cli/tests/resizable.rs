//! `--resizable`: inputs and outputs that shrink with the units that they carry, from `inspect` to a run of `compress`.

mod support;

use std::path::Path;

use secateurs::data::npz;
use secateurs_graph::Graph;
use secateurs_onnx::{ElementType, ModelBuilder};
use serde_json::Value;
use support::{Folder, ends, normal};

/// A step of a recurrent net with 16 hidden units: `state = relu(x·w + b) + past`, `y = state·v`.
fn step() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .input("past", ElementType::Float32, &["batch", "16"])
        .input("length", ElementType::Int64, &["batch"])
        .constant("w", &normal(&[4, 16], 0))
        .constant("b", &normal(&[16], 1))
        .constant("v", &normal(&[16, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("Add", &["j", "past"], &["state"])
        .node("MatMul", &["state", "v"], &["y"])
        .node("Identity", &["length"], &["same"])
        .output("y")
        .output("state")
        .output("same")
}

/// A classifier that gives its features too.
fn features() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &normal(&[4, 16], 0))
        .constant("v", &normal(&[16, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["features"])
        .node("MatMul", &["features", "v"], &["y"])
        .output("features")
        .output("y")
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&ends(0, words, &[])).unwrap()
}

fn shapes(path: &str) -> Vec<String> {
    let graph = Graph::read(Path::new(path)).unwrap();
    let ports = graph.inputs.iter().chain(&graph.outputs);
    ports.map(|&port| format!("{} {}", graph.values[port].name, graph.values[port].fact)).collect()
}

const BOTH: [&str; 2] = ["--resizable", "past,state"];

#[test]
fn what_is_named_shrinks_and_the_plan_says_so() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", step());
    let inspect = ["inspect", &model, "--groups", "--json"];
    assert_eq!(json(&inspect)["groups"], serde_json::json!([]));
    let groups = json(&[&inspect[..], &["--resizable", "past,sta*"]].concat());
    assert_eq!(groups["groups"][0]["units"], 16);

    let (smaller, plan, again) = (folder.path("s.onnx"), folder.path("p.json"), folder.path("a.onnx"));
    let half = ["--method", "magnitude", "--keep", "units=0.5"];
    let prune = [&["prune", &model, "-o", &smaller, "--plan", &plan], &half[..], &BOTH].concat();
    ends(0, &prune, &[]);
    let told = shapes(&smaller);
    assert_eq!(told[1], "past float32[batch, 8]");
    assert_eq!(told[4], "state float32[batch, 8]");
    assert_eq!(told[3], "y float32[batch, 3]");
    let written: Value = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
    assert_eq!(written["asked"]["resizable"], serde_json::json!(["past", "state"]));
    ends(0, &["apply", &model, &plan, "-o", &again], &[]);
    assert_eq!(std::fs::read(&smaller).unwrap(), std::fs::read(&again).unwrap());
}

#[test]
fn what_cannot_shrink_is_told_with_the_reason() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", step());
    let smaller = folder.path("s.onnx");
    let prune = |names| ["prune", &model, "-o", &smaller, "--keep", "units=0.5", "--resizable", names];
    ends(2, &prune("past,sate"), &["'sate'", "'past'", "'state'", "'length'"]);
    ends(2, &prune("past,state,length"), &["'length'", "no floating-point numbers"]);
    ends(2, &prune("past"), &["'past'", "tied to an axis of the model's output 'state'"]);
    ends(2, &["inspect", &model, "--resizable", "past"], &["--groups"]);
    ends(2, &["inspect", &model, "--groups", "--resizable", "none"], &["'none'", "model.onnx"]);
    assert!(!Path::new(&smaller).exists());
}

#[test]
fn units_are_measured_and_planned_with_the_same_names() {
    let folder = Folder::new();
    let (model, evidence) = (folder.model("model.onnx", step()), folder.path("evidence"));
    let data = folder.path("data.npz");
    let length = secateurs_onnx::Tensor::from_slice(vec![40], &[3i64; 40]).unwrap();
    let arrays = [("x", &normal(&[40, 4], 7)), ("past", &normal(&[40, 16], 8)), ("length", &length)];
    npz::write(Path::new(&data), &arrays).unwrap();
    let measure = ["measure", &model, "--data", &data, "-o", &evidence];
    ends(2, &measure, &["no unit"]);
    ends(2, &[&measure[..], &BOTH, &["--output", "state"]].concat(), &["'state'", "--resizable"]);
    ends(0, &[&measure[..], &BOTH, &["--verify", "3", "--verify-same"]].concat(), &[]);
    let shown = json(&["show", &evidence, "--json"]);
    assert_eq!(shown["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(shown["outputs"][0]["name"], "y");
    let plan = ["plan", &model, "--evidence", &evidence, "--keep", "units=0.5", "-o", &folder.path("p.json")];
    ends(2, &plan, &["--resizable"]);
    ends(0, &[&plan[..], &BOTH].concat(), &[]);
    // The data have the state as the original does.
    let run = folder.path("run");
    let compress = ["compress", &model, "--data", &data, "--keep", "units=0.5", "-o", &run];
    ends(2, &[&compress[..], &BOTH].concat(), &["'past'", "secateurs prune"]);
    assert!(!Path::new(&run).exists());
}

#[test]
fn a_run_shrinks_an_output_and_looks_at_the_others() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", features()), folder.data("data.npz", 120, true), folder.path("run"));
    let recipe = folder.file("mine.toml", "[plan]\nresizable = [\"feat*\"]\nkeep = [\"units=0.5\"]\n");
    let words = ["compress", &model, "--data", &data, "--recipe", &recipe, "-o", &run];
    let more = ["--epochs", "1", "--threads", "1", "--no-latency", "--json", "--steps", "2"];
    let summary = json(&[&words[..], &more].concat());
    assert_eq!(summary["report"]["result"]["units"], 8);
    assert_eq!(
        shapes(&format!("{run}/model.onnx")),
        ["x float32[batch, 4]", "features float32[batch, 8]", "y float32[batch, 3]"]
    );
    let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
    assert!(config.contains("resizable = [\"feat*\"]"), "{config}");
    // What was measured under the name is evidence for a pattern that means it.
    let (evidence, again) = (format!("{run}/evidence.safetensors"), folder.path("again"));
    let given =
        ["compress", &model, "--data", &data, "--recipe", &recipe, "--evidence", &evidence, "-o", &again];
    assert_eq!(json(&[&given[..], &more].concat())["report"]["result"]["units"], 8);
    let only = folder.model("only.onnx", features());
    let run = folder.path("other");
    let words =
        ["compress", &only, "--data", &data, "--resizable", "features", "--keep", "units=0.5", "-o", &run];
    ends(2, &[&words[..], &["--output", "features"]].concat(), &["'features'", "--resizable"]);
}
