//! `prune`, `plan`, `apply` and `inspect --groups` end to end: what is asked for is what is got, what is reported is what is in
//! the file, and bad input ends in an error with nothing written.

mod support;

use std::collections::HashMap;
use std::path::Path;

use secateurs::rng::Rng;
use secateurs::runtime::{Optimisation, OrtModel, SessionOptions, relative_difference};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ExternalData, Model, ModelBuilder, Tensor, WriteOptions, write};
use serde_json::Value;
use support::{Folder, ends};

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&ends(0, arguments, &[])).unwrap()
}

fn weights(shape: &[usize], number: u64) -> Tensor {
    let mut rng = Rng::new(0, "test weights", number, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// Two dense layers with 8 hidden neurons.
fn dense() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &weights(&[4, 8], 0))
        .constant("b", &weights(&[8], 1))
        .constant("v", &weights(&[8, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
}

/// Dense layers with a layer norm over the hidden neurons of one, and nothing over those of the other.
fn with_layer_norm() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &weights(&[4, 8], 0))
        .constant("scale", &weights(&[8], 1))
        .constant("v", &weights(&[8, 12], 2))
        .constant("u", &weights(&[12, 3], 3))
        .node("MatMul", &["x", "w"], &["h"])
        .node("LayerNormalization", &["h", "scale"], &["i"])
        .node("MatMul", &["i", "v"], &["j"])
        .node("Relu", &["j"], &["k"])
        .node("MatMul", &["k", "u"], &["y"])
        .output("y")
}

const PRERESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/cifar10-preresnet29.onnx");
const HALF: [&str; 4] = ["--method", "magnitude", "--keep", "params=0.5"];

fn prune<'a>(model: &'a str, options: &[&'a str], smaller: &'a str) -> Vec<&'a str> {
    [&["prune", model], options, &["-o", smaller]].concat()
}

/// Parameters, constant bytes and MACs of a convolutional net at batch 1 and 32×32 pixels, counted from its file alone.
fn count(path: &str) -> (u64, u64, u64) {
    let model = Model::read(Path::new(path)).unwrap();
    let graph = model.graph();
    let tensors: HashMap<&str, Tensor> =
        graph.initializer.iter().map(|t| (t.name(), model.tensor(t).unwrap())).collect();
    let trained = |name: &str, t: &Tensor| t.element_type().is_float() && !name.contains("running_");
    let parameters = tensors.iter().filter(|(name, t)| trained(name, t)).map(|(_, t)| t.len() as u64).sum();
    let mut bytes: u64 = tensors.values().map(|t| t.bytes().len() as u64).sum();
    let (mut pixels, mut macs) = (HashMap::<&str, u64>::new(), 0);
    pixels.insert(graph.input[0].name(), 32 * 32);
    for node in &graph.node {
        if node.op_type() == "Constant" {
            let attribute = &node.attribute[0];
            let tensor = attribute.t.as_ref().map(|t| model.tensor(t).unwrap().bytes().len());
            let numbers = 8 * (attribute.i.iter().len() + attribute.ints.len())
                + 4 * (attribute.f.iter().len() + attribute.floats.len());
            bytes += tensor.unwrap_or(numbers) as u64;
        }
        let mut own = node.input.iter().find_map(|i| pixels.get(i.as_str()).copied()).unwrap_or(1);
        let weight = node.input.get(1).and_then(|w| tensors.get(w.as_str()));
        match node.op_type() {
            "Conv" => {
                let strides = node.attribute.iter().find(|a| a.name() == "strides");
                own /= strides.map_or(1, |s| s.ints.iter().product::<i64>() as u64);
                macs += weight.unwrap().len() as u64 * own;
            }
            "Gemm" | "MatMul" => macs += weight.unwrap().len() as u64,
            "ReduceMean" | "GlobalAveragePool" => own = 1,
            _ => {}
        }
        pixels.insert(&node.output[0], own);
    }
    (parameters, bytes, macs)
}

#[test]
fn the_share_asked_for_is_the_share_got_and_what_is_reported_is_in_the_file() {
    let folder = Folder::new();
    let (smaller, twin) = (folder.path("smaller.onnx"), folder.path("twin.onnx"));
    for (keep, share, index) in [("params=0.5", 0.5, 0), ("macs=0.3", 0.3, 2)] {
        let options = ["--method", "magnitude", "--keep", keep, "--masked", &twin, "--json"];
        let report = json(&prune(PRERESNET, &options, &smaller));
        let (before, after) = (count(PRERESNET), count(&smaller));
        assert_eq!(report["parameters"], serde_json::json!([before.0, after.0]));
        assert_eq!(report["constant_bytes"], serde_json::json!([before.1, after.1]));
        assert_eq!(report["macs"], serde_json::json!([before.2, after.2]));
        assert_eq!(report["sizes"], serde_json::json!({"batch": 1}));
        assert_eq!(report["file_bytes"][1], std::fs::metadata(&smaller).unwrap().len());
        let got = [after.0 as f64 / before.0 as f64, 0.0, after.2 as f64 / before.2 as f64][index];
        assert!(got <= share && got >= 0.99 * share, "{keep}: {got}");
        // What `prune` has checked, once more from outside.
        let mut rng = Rng::new(1, "test input", 0, 0);
        let pixels: Vec<f32> = (0..3 * 3 * 32 * 32).map(|_| rng.normal() as f32).collect();
        let input = Tensor::from_slice(vec![3, 3, 32, 32], &pixels).unwrap();
        let options = SessionOptions { optimisation: Optimisation::Off, ..SessionOptions::default() };
        let [a, b] = [&smaller, &twin].map(|path| {
            let mut model = OrtModel::load(Path::new(path), &options).unwrap();
            model.run(&[(model.inputs()[0].name.clone(), input.clone())]).unwrap().remove(0).1
        });
        assert!(relative_difference(&a, &b) < 1e-4);
        assert!(ends(0, &["inspect", &twin], &[]).contains("312,218"));
    }
}

#[test]
fn plan_and_apply_give_the_file_that_prune_gives() {
    let folder = Folder::new();
    let [pruned, applied, plan, same, other, twin] =
        ["pruned.onnx", "applied.onnx", "plan.json", "same.json", "other.onnx", "twin.onnx"]
            .map(|name| folder.path(name));
    let keep = ["--method", "random", "--keep", "units=0.6", "--scope", "layer", "--seed"];
    let seeded = |seed: &'static str| [&keep[..], &[seed]].concat();
    ends(0, &[&prune(PRERESNET, &seeded("3"), &pruned)[..], &["--plan", &same]].concat(), &[]);
    ends(0, &[&["plan", PRERESNET][..], &seeded("3"), &["-o", &plan]].concat(), &[]);
    ends(0, &["apply", PRERESNET, &plan, "-o", &applied, "--masked", &twin], &[]);
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert_eq!(bytes(&plan), bytes(&same));
    assert_eq!(bytes(&pruned), bytes(&applied));
    ends(0, &prune(PRERESNET, &[&seeded("4")[..], &["--no-check"]].concat(), &other), &[]);
    assert_ne!(bytes(&pruned), bytes(&other));
    let plan: Value = serde_json::from_slice(&bytes(&plan)).unwrap();
    for group in plan["groups"].as_array().unwrap() {
        let (units, kept) = (group["units"].as_f64().unwrap(), group["kept"].as_array().unwrap().len());
        assert_eq!(kept, (0.6 * units).round() as usize);
    }
    assert_eq!(folder.files().len(), 6);
}

#[test]
fn amounts_are_met_and_counted_in_the_file() {
    let folder = Folder::new();
    let (model, smaller) = (folder.model("dense.onnx", dense()), folder.path("smaller.onnx"));
    // A neuron has 8 numbers of 4 bytes.
    for (keep, resource, kept) in
        [("bytes=160B", "bytes", 160), ("params=0.04k", "params", 40), ("units=5", "units", 5)]
    {
        let words = prune(&model, &["--method", "magnitude", "--keep", keep, "--json"], &smaller);
        let report = json(&words);
        assert_eq!(report["reached"][resource]["kept"], kept, "{report}");
        assert_eq!(report["constant_bytes"][1], 160);
        assert_eq!(count(&smaller).1, 160);
    }
}

/// The program with a cache of its own.
fn with_cache(folder: &Folder, words: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(support::SECATEURS);
    command.args(words).env("XDG_CACHE_HOME", folder.path("cache"));
    command.env("ORT_DYLIB_PATH", secateurs::runtime::find_library().unwrap()).output().unwrap()
}

#[test]
fn latency_is_measured_once_for_every_layer_and_what_was_measured_is_in_the_plan() {
    let folder = Folder::new();
    let (model, plan) = (folder.model("dense.onnx", dense()), folder.path("plan.json"));
    let words = ["plan", &model, "--method", "magnitude", "--keep", "latency=0.9", "-o", &plan];
    // Whether so small a model becomes faster is up to the machine: what counts is what is told.
    let run = || {
        let output = with_cache(&folder, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
        (output.status.success(), said)
    };
    let (_, said) = run();
    assert!(said.contains("layers in ONNX Runtime, once for this machine"), "{said}");
    assert!(said.contains("timing the model"), "{said}");
    let (planned, said) = run();
    assert!(!said.contains("layers in ONNX Runtime"), "{said}");
    if planned {
        let plan: Value = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
        let rounds = plan["latency"].as_array().unwrap();
        let chosen = rounds.iter().find(|round| round["chosen"] == true).unwrap();
        assert_eq!(plan["reached"]["latency"]["kept"], chosen["measured_ms"]);
        assert!(said.contains("ms predicted"), "{said}");
    }
}

#[test]
fn latency_that_cannot_be_measured_ends_with_the_remedy_and_nothing_written() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let before = folder.files();
    let smaller = folder.path("smaller.onnx");
    let words = prune(&model, &["--method", "magnitude", "--keep", "latency=0.5"], &smaller);
    let mut command = std::process::Command::new(support::SECATEURS);
    let output = command.args(&words).env("ORT_DYLIB_PATH", "/nowhere.so").output().unwrap();
    support::ended(1, &output, &["dense.onnx", "ONNX Runtime was not found", "cargo xtask setup"]);
    assert_eq!(folder.files(), before);
    let long = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "length", "4"])
        .constant("w", &weights(&[4, 8], 0))
        .constant("v", &weights(&[8, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("MatMul", &["h", "v"], &["y"])
        .output("y");
    let model = folder.model("long.onnx", long);
    let words = prune(&model, &["--method", "magnitude", "--keep", "latency=0.5"], &smaller);
    ends(2, &words, &["long.onnx", "symbolic size length", "--dim length=N"]);
}

#[test]
fn a_full_disk_is_a_failure_and_no_fault_of_the_input() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let before = folder.files();
    let smaller = folder.path("smaller.onnx");
    let words = prune(&model, &["--method", "magnitude", "--keep", "params=0.5", "--no-check"], &smaller);
    support::ended(1, &support::with_room(100, &words), &["smaller.onnx"]);
    assert_eq!(folder.files(), before);
}

#[test]
fn a_budget_that_cannot_be_met_says_the_nearest() {
    let folder = Folder::new();
    let (model, smaller) = (folder.model("dense.onnx", dense()), folder.path("smaller.onnx"));
    let before = folder.files();
    let units = ["--method", "magnitude", "--keep", "units=0.25", "--scope", "layer", "--max-removed", "0.5"];
    ends(3, &prune(&model, &units, &smaller), &["dense.onnx", "units=0.25", "nearest", "units=0.5"]);
    let params = ["--method", "magnitude", "--keep", "params=0.01"];
    // One neuron: 4 + 3 weights; a bias of one number counts as a constant.
    ends(3, &prune(&model, &params, &smaller), &["params=0.01", "nearest", "params=0.1094"]);
    let plan = folder.path("plan.json");
    ends(3, &[&["plan", &model][..], &params, &["-o", &plan]].concat(), &["nearest"]);
    assert_eq!(folder.files(), before);
}

#[test]
fn budgets_and_models_that_cannot_be_pruned_are_refused() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let single = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &weights(&[4, 3], 0))
        .node("MatMul", &["x", "w"], &["y"])
        .output("y");
    let single = folder.model("single.onnx", single);
    let nan = dense().constant("unused", &weights(&[1], 0));
    let nan = {
        let mut proto = nan.proto();
        let bad = Tensor::from_slice(vec![8], &[f32::NAN; 8]).unwrap();
        proto.graph.as_mut().unwrap().initializer[1] = secateurs_onnx::tensor_to_proto("b", &bad);
        let path = folder.path("nan.onnx");
        let broken = Model::from_proto(proto, None).unwrap();
        write(&broken, Path::new(&path), &WriteOptions::default()).unwrap();
        path
    };
    let (smaller, before) = (folder.path("smaller.onnx"), folder.files());
    let keep = |budget: &'static str| ["--method", "magnitude", "--keep", budget];
    for budget in ["params=0", "params=1", "params=NaN", "macs=1.5", "units=-0.5", "params=all"] {
        ends(2, &prune(&model, &keep(budget), &smaller), &[budget, "between 0 and 1"]);
    }
    ends(2, &prune(&model, &keep("0.5"), &smaller), &["'0.5'", "params="]);
    ends(2, &prune(&model, &keep("watts=0.5"), &smaller), &["watts=0.5"]);
    ends(2, &prune(&model, &keep("params=0.5,params=0.4"), &smaller), &["params", "twice"]);
    ends(2, &prune(&model, &keep("bytes=0.5,bytes=2MB"), &smaller), &["bytes", "twice"]);
    for budget in ["latency=3", "latency=2MB", "latency=-1ms", "bytes=2ms", "params=1.0001k"] {
        ends(2, &prune(&model, &keep(budget), &smaller), &[budget, "or an amount, as in"]);
    }
    ends(2, &prune(&model, &keep("bytes=2MB"), &smaller), &["already meets bytes=2MB", "it has"]);
    ends(
        2,
        &prune(&model, &["--method", "divine", "--keep", "params=0.5"], &smaller),
        &["divine", "magnitude"],
    );
    ends(2, &prune(&model, &["--method", "magnitude"], &smaller), &["--keep"]);
    ends(2, &prune(&model, &[], &smaller), &["--keep"]);
    ends(2, &prune(&model, &[&HALF[..], &["--max-removed", "2"]].concat(), &smaller), &["max-removed"]);
    ends(2, &prune(&model, &[&HALF[..], &["--multiple", "0"]].concat(), &smaller), &["multiple"]);
    ends(2, &prune(&model, &[&HALF[..], &["--dim", "length=4"]].concat(), &smaller), &["length", "batch"]);
    ends(2, &prune(&single, &HALF, &smaller), &["single.onnx", "nothing to prune", "'w'", "input 'x'"]);
    ends(2, &prune(&nan, &HALF, &smaller), &["nan.onnx", "'b'", "NaN"]);
    ends(2, &prune("no/such.onnx", &HALF, &smaller), &["no/such.onnx"]);
    let nowhere = folder.path("no/such/smaller.onnx");
    ends(2, &prune(&model, &HALF, &nowhere), &["no/such", "folder"]);
    let plan = |model: &str, file: &str, code, expected: &[&str]| {
        ends(code, &[&["plan", model][..], &HALF, &["-o", file]].concat(), expected)
    };
    // Before anything is read.
    plan("no/such.onnx", &nowhere, 2, &["no/such", "there is no such folder"]);
    plan("no/such.onnx", ".", 2, &["is a folder"]);
    plan(&model, "/proc/plan.json", 1, &["/proc/plan.json: cannot be written"]);
    ends(2, &prune(&model, &[&HALF[..], &["--masked", &smaller]].concat(), &smaller), &["one name"]);
    assert_eq!(folder.files(), before);
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let other = folder.model(
        "other.onnx",
        dense().constant("unused", &weights(&[1], 0)).node("Identity", &["unused"], &["z"]).output("z"),
    );
    let (plan, smaller) = (folder.path("plan.json"), folder.path("smaller.onnx"));
    ends(0, &[&["plan", &model][..], &HALF, &["-o", &plan]].concat(), &[]);
    let good: Value = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
    assert_eq!(good["groups"][0]["parameters"], serde_json::json!(["w[1]", "b[0]", "v[0]"]));
    let changed = folder.path("changed.json");
    std::fs::write(&changed, "{}").unwrap();
    let before = folder.files();
    type Row<'a> = (fn(&mut Value), &'a [&'a str]);
    let table: &[Row] = &[
        (|p| p["groups"][0]["kept"] = serde_json::json!([0, 8]), &["'w[1]'", "unit 8", "0 to 7"]),
        (|p| p["groups"][0]["kept"] = serde_json::json!([1, 1]), &["'w[1]'", "unit 1 twice"]),
        (|p| p["groups"][0]["kept"] = serde_json::json!([]), &["'w[1]'", "no unit"]),
        (|p| p["groups"][0]["kept"] = serde_json::json!([-1]), &["not a plan"]),
        (|p| p["groups"][0]["units"] = 9.into(), &["'w[1]'", "9 units", "8 in the model"]),
        (
            |p| p["groups"][0]["parameters"] = serde_json::json!(["q[1]"]),
            &["'q[1]'", "not among", "--groups"],
        ),
        (|p| p["groups"][0]["parameters"] = serde_json::json!([]), &["names no parameter"]),
        (|p| p["model"]["hash"] = "0123456789abcdef".into(), &["another model", "0123456789ab"]),
        (|p| p["format_version"] = 3.into(), &["version 3", "reads 1 to 2", "newer"]),
        (|p| p["format_version"] = "one".into(), &["not a plan"]),
        (|p| drop(p.as_object_mut().unwrap().remove("groups")), &["not a plan", "groups"]),
    ];
    for (change, words) in table {
        let mut plan = good.clone();
        change(&mut plan);
        std::fs::write(&changed, plan.to_string()).unwrap();
        let words: Vec<&str> = words.iter().copied().chain(["changed.json"]).collect();
        ends(2, &["apply", &model, &changed, "-o", &smaller], &words);
    }
    ends(2, &["apply", &other, &plan, "-o", &smaller], &["plan.json", "another model", "dense.onnx"]);
    ends(2, &["apply", &model, &model, "-o", &smaller], &["dense.onnx", "not a plan"]);
    ends(2, &["apply", &model, "no/plan.json", "-o", &smaller], &["no/plan.json"]);
    assert_eq!(folder.files(), before);
    // The hash is over the model, not the file: a copy will do.
    let copy = folder.path("copy.onnx");
    std::fs::copy(&model, &copy).unwrap();
    ends(0, &["apply", &copy, &plan, "-o", &smaller], &[]);
}

#[test]
fn inexact_groups_are_left_alone_unless_allowed() {
    let folder = Folder::new();
    let (model, smaller) = (folder.model("norm.onnx", with_layer_norm()), folder.path("smaller.onnx"));
    let groups = json(&["inspect", "--groups", "--json", &model]);
    let rows = groups["groups"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let inexact = rows.iter().find(|row| row["inexact"].is_string()).unwrap();
    assert!(inexact["inexact"].as_str().unwrap().contains("LayerNormalization"), "{inexact}");
    let options = ["--method", "magnitude", "--keep", "units=0.5", "--json"];
    let note = ["1 group is left alone", "make_i", "--allow-inexact"];
    let report: Value = serde_json::from_str(&ends(0, &prune(&model, &options, &smaller), &note)).unwrap();
    assert_eq!((&report["units"], &report["exact"]), (&serde_json::json!([12, 6]), &true.into()));
    let allowed = [&options[..], &["--allow-inexact"]].concat();
    let report = json(&prune(&model, &allowed, &smaller));
    assert_eq!(report["units"], serde_json::json!([20, 10]));
    assert!(report["difference"].as_f64().unwrap() < 1e-4);
}

#[test]
fn a_model_that_cannot_be_tried_is_written_only_without_the_check() {
    let folder = Folder::new();
    let unknown = dense().domain("acme", 1).node("acme::Frobnicate", &["x"], &["z"]).output("z");
    let (model, smaller) = (folder.model("unknown.onnx", unknown), folder.path("smaller.onnx"));
    let before = folder.files();
    ends(1, &prune(&model, &HALF, &smaller), &["could not run", "--no-check"]);
    assert_eq!(folder.files(), before);
    let report = ends(0, &prune(&model, &[&HALF[..], &["--no-check"]].concat(), &smaller), &[]);
    assert!(report.contains("not checked"), "{report}");
    // Token numbers must be rows of the table.
    let embedding = ModelBuilder::new(17)
        .input("ids", ElementType::Int64, &["batch", "length"])
        .constant("table", &weights(&[20, 6], 0))
        .constant("w", &weights(&[6, 3], 1))
        .node("Gather", &["table", "ids"], &["h"])
        .node("MatMul", &["h", "w"], &["y"])
        .output("y");
    let model = folder.model("embedding.onnx", embedding);
    let report = ends(0, &prune(&model, &HALF, &smaller), &[]);
    assert!(report.contains("batch=1, length=128"), "{report}");
}

#[test]
fn external_data_and_the_models_own_name_are_no_obstacle() {
    let folder = Folder::new();
    let (model, smaller) = (folder.path("dense.onnx"), folder.path("smaller.onnx"));
    let outside = WriteOptions {
        external_data: ExternalData::Always { threshold_bytes: 1 },
        ..WriteOptions::default()
    };
    write(&dense().build().unwrap(), Path::new(&model), &outside).unwrap();
    let before = folder.files();
    let unmeetable = ["--method", "magnitude", "--keep", "params=0.001"];
    ends(3, &prune(&model, &unmeetable, &smaller), &[]);
    assert_eq!(folder.files(), before);
    let report = json(&prune(&model, &[&HALF[..], &["--json"]].concat(), &smaller));
    let size = |name: &str| std::fs::metadata(folder.path(name)).unwrap().len();
    assert_eq!(report["file_bytes"][0], size("dense.onnx") + size("dense.onnx.data"));
    assert_eq!(report["file_bytes"][1], size("smaller.onnx") + size("smaller.onnx.data"));
    assert_eq!(folder.files().len(), 4);
    ends(0, &prune(&model, &HALF, &model), &[]);
    assert_eq!(count(&model).0, count(&smaller).0);
    assert_eq!(folder.files().len(), 4);
}

#[test]
fn inspect_names_groups_costs_and_what_blocks() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let report = json(&["inspect", "--groups", "--json", &model]);
    let group = &report["groups"][0];
    assert_eq!((&group["kind"], &group["units"]), (&"neuron".into(), &8.into()));
    assert_eq!((&group["parameters_per_unit"], &group["macs_per_unit"]), (&8.into(), &7.into()));
    let names: Vec<&str> =
        group["members"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["w[1]", "b[0]", "v[0]"]);
    let blocked = report["blocked"].as_array().unwrap();
    assert!(
        blocked.iter().any(|b| b["parameter"] == "v" && b["reason"].as_str().unwrap().contains("output 'y'"))
    );
    let text = ends(0, &["inspect", "--groups", &model], &[]);
    assert!(text.contains("w[1], b[0], v[0]") && text.contains("cannot be pruned"), "{text}");
    let methods = ends(0, &["methods"], &[]);
    assert!(methods.contains("magnitude") && methods.contains("1608.08710"), "{methods}");
}

#[test]
fn widths_become_multiples() {
    let folder = Folder::new();
    let convolution = |outputs: usize, inputs: usize, number| weights(&[outputs, inputs, 3, 3], number);
    let pads = || vec![AttributeProto::from_ints("pads", [1, 1, 1, 1])];
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "3", "8", "8"])
        .constant("w", &convolution(20, 3, 0))
        .constant("v", &convolution(36, 20, 1))
        .constant("u", &convolution(2, 36, 2))
        .node_with("Conv", &["x", "w"], &["a"], pads())
        .node("Relu", &["a"], &["b"])
        .node_with("Conv", &["b", "v"], &["c"], pads())
        .node("Relu", &["c"], &["d"])
        .node_with("Conv", &["d", "u"], &["y"], pads());
    let (model, smaller) = (folder.model("conv.onnx", model.output("y")), folder.path("smaller.onnx"));
    ends(0, &prune(&model, &[&HALF[..], &["--multiple", "8"]].concat(), &smaller), &[]);
    let model = Model::read(Path::new(&smaller)).unwrap();
    let widths: Vec<i64> = model.graph().initializer.iter().map(|t| t.dims[0]).collect();
    assert!(widths[..2].iter().all(|n| n % 8 == 0), "{widths:?}");
    assert_eq!(widths[2], 2);
}

/// [`dense`], of which neuron 2 is never above zero and nothing reads neuron 5.
fn with_dead_neurons() -> ModelBuilder {
    let zeroed = |tensor: &Tensor, goes: &dyn Fn(usize) -> bool| {
        let values = tensor.to_f64_vec().unwrap();
        let values: Vec<f32> =
            values.iter().enumerate().map(|(i, v)| if goes(i) { 0.0 } else { *v as f32 }).collect();
        Tensor::from_slice(tensor.shape().to_vec(), &values).unwrap()
    };
    let mut bias = zeroed(&weights(&[8], 1), &|_| false).to_f64_vec().unwrap();
    bias[2] = -0.5;
    let bias: Vec<f32> = bias.into_iter().map(|v| v as f32).collect();
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &zeroed(&weights(&[4, 8], 0), &|i| i % 8 == 2))
        .constant("b", &Tensor::from_slice(vec![8], &bias).unwrap())
        .constant("v", &zeroed(&weights(&[8, 3], 2), &|i| i / 3 == 5))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
}

#[test]
fn what_is_dead_goes_at_no_loss_and_before_anything_else() {
    let folder = Folder::new();
    let model = folder.model("dead.onnx", with_dead_neurons());
    let (smaller, plan) = (folder.path("smaller.onnx"), folder.path("plan.json"));
    let kept = |options: &[&str]| {
        let report = json(&prune(&model, &[&["--plan", &plan, "--json"], options].concat(), &smaller));
        let written: Value = serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
        assert_eq!(written["lossless"], 2);
        (report["units"].clone(), written["groups"][0]["kept"].clone())
    };
    assert_eq!(kept(&["--lossless"]), (serde_json::json!([8, 6]), serde_json::json!([0, 1, 3, 4, 6, 7])));
    let run = |path: &str| {
        let options = SessionOptions { optimisation: Optimisation::Off, ..SessionOptions::default() };
        let x = weights(&[5, 4], 9);
        OrtModel::load(Path::new(path), &options).unwrap().run(&[("x".into(), x)]).unwrap().remove(0).1
    };
    assert!(relative_difference(&run(&smaller), &run(&model)) < 1e-6);
    // Whatever scores say, and whatever may not go.
    for method in ["magnitude", "random"] {
        let (units, kept) = kept(&["--lossless", "--keep", "units=0.5", "--method", method]);
        assert_eq!(units, serde_json::json!([8, 4]));
        assert!(kept.as_array().unwrap().iter().all(|unit| *unit != 2 && *unit != 5), "{kept}");
    }
    let alive = folder.model("alive.onnx", dense());
    let report = json(&prune(&alive, &["--lossless", "--json"], &smaller));
    assert_eq!(report["units"], serde_json::json!([8, 8]));
}

#[test]
fn a_branch_that_no_output_depends_on_bars_nothing_and_goes() {
    let folder = Folder::new();
    let summed = || {
        let axis = Tensor::scalar(1i64);
        with_dead_neurons().constant("axis", &axis).node("CumSum", &["j", "axis"], &["sums"])
    };
    let (smaller, plan) = (folder.path("smaller.onnx"), folder.path("plan.json"));
    let shown = folder.model("shown.onnx", summed().output("sums"));
    ends(2, &prune(&shown, &HALF, &smaller), &["nothing to prune"]);
    let model = folder.model("summed.onnx", summed());
    let report = json(&prune(
        &model,
        &["--keep", "units=0.5", "--method", "magnitude", "--plan", &plan, "--json"],
        &smaller,
    ));
    assert_eq!(report["units"], serde_json::json!([8, 4]));
    let again = folder.path("again.onnx");
    ends(0, &["apply", &model, &plan, "-o", &again], &[]);
    for path in [&smaller, &again] {
        let written = Model::read(Path::new(path)).unwrap();
        assert!(written.graph().node.iter().all(|node| node.op_type() != "CumSum"), "{path}");
    }
}
