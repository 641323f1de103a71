//! `compress` and `tune` end to end, and what may go wrong: kills at any moment, signals, a full disk, a second process, other
//! settings, data that vanish, bad recipes, samples too few for a fit.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use secateurs::data::npz;
use secateurs::rng::Rng;
use secateurs::run::{COMPENSATED, METRICS, MODEL, PLAN, PRUNED};
use secateurs_graph::Graph;
use secateurs_onnx::{ElementType, ModelBuilder};
use serde_json::Value;
use support::{Folder, SECATEURS, dense, dense_in, ended, ends, normal, start, unread, with_room};

/// The words of a command on one thread that measures no latency.
fn words(command: &str, model: &str, data: &str, run: &str, more: &[&str]) -> Vec<String> {
    let words = [command, model, "--data", data, "-o", run, "--threads", "1", "--no-latency"];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

const HALF: [&str; 4] = ["--method", "magnitude", "--keep", "params=0.5"];
/// A training of some hundred steps.
const STEPS: [&str; 6] = ["--epochs", "40", "--batch-size", "8", "--precision", "f32"];

fn compress(model: &str, data: &str, run: &str, more: &[&str]) -> Vec<String> {
    words("compress", model, data, run, &[&HALF, more].concat())
}

/// Waits for a step of training.
fn until_trained(run: &str, child: &mut Child) {
    let log = Path::new(run).join(METRICS);
    let start = Instant::now();
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"event\":\"step\"")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before a step of training");
        assert!(start.elapsed() < Duration::from_secs(60), "no step of training in a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Names of temporary files in a run.
fn temporaries(run: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
}

fn log(run: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(run).join(METRICS)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_gives_the_model_and_the_report_and_is_done_once() {
    let folder = Folder::new();
    let (model, run) = (folder.model("model.onnx", dense()), folder.path("run"));
    let (data, test) = (folder.data("data.npz", 80, true), folder.data("test.npz", 50, true));
    let latency = ["--latency-runs", "2", "--latency-seconds", "0", "--epochs", "2", "--test", &test];
    let mut words: Vec<String> = compress(&model, &data, &run, &latency);
    words.retain(|word| word != "--no-latency");
    let table = ends(0, &words, &["tuning: 2 steps on 72 samples, 8 held out", "epoch 2: accuracy"]);
    for word in [
        "accuracy, test",
        "loss (cross-entropy), validation",
        "agreement",
        "parameters",
        "latency",
        "report.html",
    ] {
        assert!(table.contains(word), "no '{word}' in:\n{table}");
    }
    for name in ["config.toml", PLAN, "pruned.onnx", METRICS, MODEL, "report.json", "report.html"] {
        assert!(Path::new(&run).join(name).is_file(), "no {name}");
    }
    let events = log(&run);
    let timed = |batch: u64| events.iter().any(|e| e["event"] == "timed" && e["batch"] == batch);
    assert!(timed(1) && timed(32));
    // The test data were read once for each model, after all else.
    let on_test: Vec<usize> = (0..events.len()).filter(|&i| events[i]["on"] == "test").collect();
    let last_choice = events.iter().rposition(|e| e["event"] == "tuned").unwrap();
    assert!(on_test.len() == 2 && on_test[0] > last_choice, "{events:?}");

    let before = folder.bytes("run", METRICS);
    // It may have been killed before it removed this.
    let checkpoint = folder.file("run/checkpoint.safetensors", "large");
    assert_eq!(ends(0, &words, &["this run was finished on"]), table);
    assert!(!Path::new(&checkpoint).exists());
    assert_eq!(folder.bytes("run", METRICS), before);
    words.push("--json".into());
    let json: Value = serde_json::from_str(&ends(0, &words, &[])).unwrap();
    assert_eq!(json["report"]["result"]["test"]["samples"], 50);
    assert!(
        json["report"]["result"]["parameters"].as_u64() < json["report"]["original"]["parameters"].as_u64()
    );
    assert_eq!(json["report"]["training"]["steps"].as_array().unwrap().len(), 2);
    let layers = json["report"]["layers"].as_array().unwrap();
    let channels: Vec<&Value> = layers.iter().map(|layer| &layer["channels"]).collect();
    assert!(channels.len() == 2 && channels[0][0] == 16 && channels[0][1].as_u64() < Some(16), "{layers:?}");
    assert_eq!(*channels[1], serde_json::json!([3, 3]));
    assert_eq!(json["report"]["samples"].as_array().unwrap().len(), 6);
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes() {
    const KILLS: usize = 20;
    const KILLS_A_RUN: usize = 4;
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let words = |run: &str| compress(&model, &data, &folder.path(run), &STEPS);
    let start_time = Instant::now();
    ends(0, &words("whole"), &[]);
    let whole = start_time.elapsed().as_secs_f64();
    let expected = [MODEL, PLAN, "pruned.onnx"].map(|name| folder.bytes("whole", name));
    let mut rng = Rng::new(1, "kills", 0, 0);
    let mut killed = 0;
    for number in 0.. {
        let run = format!("run{number}");
        for _ in 0..KILLS_A_RUN {
            let mut child = start(&words(&run));
            std::thread::sleep(Duration::from_secs_f64(rng.uniform() * whole));
            killed += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        ends(0, &words(&run), &[]);
        let found = [MODEL, PLAN, "pruned.onnx"].map(|name| folder.bytes(&run, name));
        assert!(found == expected, "{run} differs from the run that was not killed");
        assert_eq!(temporaries(&folder.path(&run)), Vec::<PathBuf>::new());
        // Every step and epoch is in the log once.
        let steps = |run: &str| -> Vec<(Value, Value)> {
            let events = log(&folder.path(run));
            let of_training = events.iter().filter(|e| e["event"] == "step" || e["event"] == "epoch");
            of_training.map(|e| (e["event"].clone(), e["step"].clone())).collect()
        };
        assert_eq!(steps(&run), steps("whole"));
        if killed >= KILLS {
            break;
        }
    }
}

#[test]
fn signals_end_training_after_the_step_and_a_second_process_is_kept_out() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let words = |run: &str| compress(&model, &data, &folder.path(run), &STEPS);
    ends(0, &words("whole"), &[]);
    for (name, number, times) in
        [("int", libc::SIGINT, 1), ("term", libc::SIGTERM, 1), ("twice", libc::SIGINT, 2)]
    {
        let mut child = start(&words(name));
        until_trained(&folder.path(name), &mut child);
        // Held up meanwhile, so that it is still at work.
        signal(&child, libc::SIGSTOP);
        ends(2, &words(name), &[&folder.path(name), "another process is at work", "-o"]);
        signal(&child, number);
        signal(&child, libc::SIGCONT);
        for _ in 1..times {
            std::thread::sleep(Duration::from_millis(1));
            signal(&child, number);
        }
        let output = child.wait_with_output().unwrap();
        ended(130, &output, &["ending after this step", "interrupted; the same command goes on"]);
        let checkpoint = Path::new(&folder.path(name)).join("checkpoint.safetensors");
        assert!(checkpoint.is_file() || times > 1);
        ends(0, &words(name), if times > 1 { &["tuning"] } else { &["tuning from step"] });
        assert!(folder.bytes(name, MODEL) == folder.bytes("whole", MODEL));
        assert!(!checkpoint.exists(), "a finished run keeps no state of its training");
    }
}

#[test]
fn after_a_restart_the_same_command_would_begin_anew() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true), folder.path("run"));
    let mut child = start(&compress(&model, &data, &run, &[&STEPS[..], &["--restart"]].concat()));
    until_trained(&run, &mut child);
    signal(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    ended(130, &output, &["interrupted; the same command without --restart goes on"]);
    ends(0, &compress(&model, &data, &run, &STEPS), &["tuning from step"]);
}

#[test]
fn a_run_ends_well_where_nobody_reads_its_messages() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 40, true));
    let words = compress(&model, &data, &folder.path("run"), &["--epochs", "1"]);
    let output = Command::new(SECATEURS).args(&words).stderr(unread()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
    // Its error, too.
    let words = compress(&model, &data, &folder.path("run"), &["--epochs", "2"]);
    assert_eq!(Command::new(SECATEURS).args(&words).stderr(unread()).status().unwrap().code(), Some(2));
}

#[test]
fn latency_is_measured_at_the_batch_that_is_fixed_or_bound() {
    let folder = Folder::new();
    let fixed = dense_in(ModelBuilder::new(17), "16");
    let (fixed, open) = (folder.model("fixed.onnx", fixed), folder.model("open.onnx", dense()));
    let data = folder.data("data.npz", 40, true);
    let cases: [(&str, &str, &[&str], &[u64]); 2] =
        [("fixed", &fixed, &[], &[16]), ("bound", &open, &["--dim", "batch=8"], &[8, 1, 32])];
    for (run, model, more, batches) in cases {
        let quick = ["--epochs", "0", "--latency-runs", "2", "--latency-seconds", "0"];
        let run = folder.path(run);
        let mut words = compress(model, &data, &run, &[&quick, more].concat());
        words.retain(|word| word != "--no-latency");
        ends(0, &words, &[]);
        let log = log(&run);
        let timed: Vec<&Value> = log.iter().filter(|event| event["event"] == "timed").collect();
        assert!(timed.iter().map(|event| &event["batch"]).eq(batches), "{timed:?}");
        assert!(timed.iter().map(|event| &event["shapes"][0][1][0]).eq(batches), "{timed:?}");
    }
}

#[test]
fn a_full_disk_is_named_and_the_run_goes_on_once_there_is_room() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let words = compress(&model, &data, &folder.path("run"), &STEPS);
    ends(0, &compress(&model, &data, &folder.path("whole"), &STEPS), &[]);
    // From a config that does not fit to a log that does not.
    for bytes in [100, 1_900, 6_000, 20_000] {
        let output = with_room(bytes, &words);
        ended(1, &output, &["error: ", &folder.path("run"), "cannot be written", "the same command goes on"]);
        assert_eq!(temporaries(&folder.path("run")), Vec::<PathBuf>::new(), "{bytes}");
    }
    ends(0, &words, &[]);
    assert!(folder.bytes("run", MODEL) == folder.bytes("whole", MODEL));
    assert!(folder.bytes("run", PLAN) == folder.bytes("whole", PLAN));
}

#[test]
fn folders_that_cannot_be_used_are_refused_and_left_as_they_are() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 20, true));
    let file = folder.file("file", "mine");
    let refused =
        |run: &str, words: &[&str]| ends(2, &compress(&model, &data, run, &["--epochs", "0"]), words);
    refused(&file, &[&file, "-o"]);
    refused(&format!("{file}/run"), &[&file, "-o"]);
    refused("/proc/secateurs", &["/proc/secateurs", "-o"]);
    std::fs::create_dir(folder.path("other")).unwrap();
    folder.file("other/thesis.tex", "years");
    refused(&folder.path("other"), &["not empty", "thesis.tex", "-o"]);
    assert_eq!(std::fs::read_dir(folder.path("other")).unwrap().count(), 1);
    assert_eq!(std::fs::read(file).unwrap(), b"mine");
    // Something is in the way of an artifact.
    std::fs::create_dir_all(folder.path("run")).unwrap();
    let words = compress(&model, &data, &folder.path("run"), &["--epochs", "0"]);
    ends(0, &words, &[]);
    std::fs::remove_file(folder.path("run/report.html")).unwrap();
    std::fs::create_dir(folder.path("run/report.html")).unwrap();
    ends(1, &words, &["report.html", "cannot be written"]);
    std::fs::remove_dir(folder.path("run/report.html")).unwrap();
    ends(0, &words, &[]);
}

#[test]
fn a_run_with_other_settings_is_refused_with_what_differs() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", dense()), folder.data("data.npz", 40, true), folder.path("run"));
    let words = |more: &[&str]| compress(&model, &data, &run, &[&["--epochs", "1"], more].concat());
    ends(0, &words(&[]), &[]);
    let result = folder.bytes("run", MODEL);
    let expected = [
        "tune.seed: 0 in the run, 1 asked for",
        "plan.seed",
        "tune.ema: not set in the run, 0.9 asked for",
        "--restart",
        "-o",
    ];
    ends(2, &words(&["--seed", "1", "--ema", "0.9"]), &expected);
    assert!(folder.bytes("run", MODEL) == result);
    // Other data and another model under the same names.
    folder.data("data.npz", 41, true);
    ends(2, &words(&[]), &["data.fingerprint", "data.samples: 40 in the run, 41 asked for"]);
    folder.data("data.npz", 40, true);
    folder.model("model.onnx", dense().node("Neg", &["y"], &["z"]).output("z"));
    ends(2, &words(&[]), &["model.hash"]);
    folder.model("model.onnx", dense());
    ends(0, &words(&[]), &["was finished"]);
    ends(0, &words(&["--seed", "1", "--restart"]), &["tuning"]);
    ends(2, &words(&[]), &["tune.seed: 1 in the run, 0 asked for"]);
}

#[test]
fn bad_recipes_and_missing_settings_are_refused_before_anything_is_written() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 40, true));
    let run = folder.path("run");
    let refused = |text: &str, expected: &[&str]| {
        let recipe = folder.file("recipe.toml", text);
        ends(
            2,
            &compress(&model, &data, &run, &["--recipe", &recipe]),
            &[&[recipe.as_str()], expected].concat(),
        );
        assert!(!Path::new(&run).exists());
    };
    refused("[tune]\n\nepoch = 3\n", &["line 3", "'epoch'", "'epochs'"]);
    refused("[pln]\nseed = 3\n", &["line 1", "'pln'", "'plan'"]);
    refused("[tune]\nepochs = \"3\"\n", &["line 2", "string"]);
    refused("[plan]\nkeep = [\"params=two\"]\n", &["line 2", "params=two"]);
    refused("[tune]\nvalidation = 1.0\n", &["tune.validation = 1"]);
    let latency = words("compress", &model, &data, &run, &["--method", "random", "--keep", "latency=0.6"]);
    ends(2, &latency, &["the budget limits latency, and --no-latency", "limit macs"]);
    assert!(!Path::new(&run).exists());
    ends(2, &compress(&model, &data, &run, &["--recipe", "cifar11"]), &["cifar11", "cifar10"]);
    ends(2, &words("compress", &model, &data, &run, &["--method", "magnitude"]), &["--keep"]);
    ends(2, &compress(&model, &data, &run, &["--momentum", "1.5"]), &["tune.momentum = 1.5"]);
    // A budget that cannot be met leaves nothing that stands in the way of another one.
    let random = |keep: &str| {
        words("compress", &model, &data, &run, &["--method", "random", "--keep", keep, "--epochs", "0"])
    };
    ends(3, &random("params=0.001"), &["cannot be met"]);
    ends(0, &random("params=0.5"), &[]);
    // A recipe may hold all that flags can say.
    let recipe =
        folder.file("good.toml", "[plan]\nmethod = 'random'\nkeep = ['units=0.5']\n[tune]\nepochs = 5\n");
    let run = folder.path("good");
    ends(
        0,
        &words("compress", &model, &data, &run, &["--recipe", &recipe, "--epochs", "1"]),
        &["tuning: 1 step"],
    );
    let config = std::fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    assert!(config.contains("method = \"random\"") && config.contains("epochs = 1\n"), "{config}");
}

#[test]
fn data_without_labels_and_several_inputs_will_do() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 60, false));
    let run = folder.path("run");
    let table =
        ends(0, &compress(&model, &data, &run, &["--epochs", "2", "--test", &data]), &["epoch 2: agreement"]);
    assert!(table.contains("agreement with the original, test") && !table.contains("accuracy"), "{table}");

    let two = dense().input("other", ElementType::Float32, &["batch", "3"]);
    let two = folder.model("two.onnx", two.node("Add", &["y", "other"], &["z"]).output("z"));
    let arrays = [normal(&[60, 3], 3), normal(&[60, 4], 4)];
    let path = folder.path("two.npz");
    npz::write(Path::new(&path), &[("other", &arrays[0]), ("x", &arrays[1])]).unwrap();
    let words = compress(&two, &path, &folder.path("two"), &["--epochs", "1", "--output", "z"]);
    assert!(ends(0, &words, &[]).contains("agreement"));
}

#[test]
fn a_model_is_tuned_against_a_teacher_or_from_scratch() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let accuracy = |json: &str| {
        let json: Value = serde_json::from_str(json).unwrap();
        json["report"]["result"]["validation"]["metrics"]["accuracy"]["value"].as_f64().unwrap()
    };
    let scratch = ["--reinit", "--epochs", "40", "--batch-size", "16", "--learning-rate", "0.02", "--json"];
    let json = ends(0, &words("tune", &model, &data, &folder.path("scratch"), &scratch), &[]);
    assert!(accuracy(&json) > 0.75, "{json}");
    let teacher = folder.path("scratch/model.onnx");
    let against =
        ["--teacher", &teacher, "--epochs", "40", "--batch-size", "16", "--learning-rate", "0.02", "--json"];
    let json = ends(0, &words("tune", &model, &data, &folder.path("against"), &against), &[]);
    assert!(accuracy(&json) > 0.75, "{json}");
    let parsed: Value = serde_json::from_str(&json).unwrap();
    let agreement =
        |model: &str| parsed["report"][model]["validation"]["metrics"]["agreement"]["value"].as_f64();
    assert!(agreement("result") > agreement("pruned"), "{json}");
    // Nothing to learn from.
    let unlabelled = folder.data("unlabelled.npz", 40, false);
    ends(2, &words("tune", &model, &unlabelled, &folder.path("none"), &[]), &["unlabelled.npz", "--teacher"]);
}

#[test]
fn choices_are_made_on_data_of_their_own() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let own = folder.data("own.npz", 60, true);
    let few = ["--epochs", "3", "--batch-size", "16", "--json"];
    let run = |name: &str, more: &[&str]| compress(&model, &data, &folder.path(name), &[&few, more].concat());
    let json = ends(
        0,
        &run("run", &["--validation-data", &own, "--test", &own]),
        &["on 200 samples, 60 held out", "scoring the pruned model on the held-out samples"],
    );
    let report: Value = serde_json::from_str::<Value>(&json).unwrap()["report"].take();
    assert_eq!(report["data"]["training"], 200);
    assert_eq!(report["data"]["validation"], 60);
    for model in ["original", "result"] {
        assert_eq!(report[model]["validation"]["metrics"], report[model]["test"]["metrics"]);
    }
    let notes = report["notes"].to_string();
    assert!(notes.contains("The held-out data are the test data"), "{notes}");
    assert!(!notes.contains("held-out samples are part of the training data"), "{notes}");
    // What is written is what the data were, and other data are another run.
    let config = std::fs::read_to_string(Path::new(&folder.path("run")).join("config.toml")).unwrap();
    assert!(config.contains("[validation]") && config.contains("own.npz"), "{config}");
    let other = folder.data("other.npz", 61, true);
    ends(2, &run("run", &["--validation-data", &other, "--test", &own]), &["validation", "--restart"]);
    // A limit on the drop is measured there too.
    let drop = ["--method", "magnitude", "--max-drop", "50", "--epochs", "0", "--validation-data", &own];
    let drop = words("compress", &model, &data, &folder.path("drop"), &drop);
    ends(0, &drop, &["on the held-out samples"]);
    let unlabelled = folder.data("unlabelled.npz", 40, false);
    let refused = ["unlabelled.npz", "has labels", "none"];
    ends(2, &run("none", &["--validation-data", &unlabelled]), &refused);
    ends(2, &run("both", &["--validation-data", &own, "--validation", "0.2"]), &["cannot be used with"]);
}

#[test]
fn units_that_were_measured_before_are_not_measured_again() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let evidence = folder.path("evidence.safetensors");
    ends(
        0,
        &["measure", &model, "--data", &data, "--samples", "100", "--threads", "1", "-o", &evidence],
        &[],
    );
    let given = ["--evidence", &evidence, "--keep", "params=0.5"];
    let run = |name: &str, more: &[&str]| {
        let more = [&given, &["--compensate", "none", "--epochs", "0"], more].concat();
        words("compress", &model, &data, &folder.path(name), &more)
    };
    ends(0, &run("run", &[]), &[]);
    assert!(folder.bytes("run", "evidence.safetensors") == std::fs::read(&evidence).unwrap());
    let by_sets = |name: &str| {
        let report: Value = serde_json::from_slice(&folder.bytes(name, "report.json")).unwrap();
        report["sensitivity"]["notes"].to_string().contains("Units went by joint")
    };
    ends(0, &run("single", &["--method", "quadratic"]), &[]);
    assert!(by_sets("run") && !by_sets("single"));
    let plan = folder.path("plan.json");
    ends(0, &[&["plan", &model, "-o", &plan], &given[..]].concat(), &[]);
    let groups = |path: &str| {
        let plan: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (plan["groups"].clone(), plan["predicted"].clone())
    };
    assert_eq!(groups(&plan), groups(&folder.path("run/plan.json")));
    // The original of the second of two steps was measured in the run.
    ends(0, &run("steps", &["--steps", "2"]), &["measuring what every unit is worth"]);
    assert!(folder.bytes("steps", "evidence.safetensors") == std::fs::read(&evidence).unwrap());
    // Other evidence is another run, that of another model none.
    let other = folder.path("other.safetensors");
    ends(0, &["measure", &model, "--data", &data, "--samples", "90", "--threads", "1", "-o", &other], &[]);
    let given = words(
        "compress",
        &model,
        &data,
        &folder.path("run"),
        &["--evidence", &other, "--keep", "params=0.5", "--compensate", "none", "--epochs", "0"],
    );
    ends(2, &given, &["evidence", "--restart"]);
    // Nor is that of the same data, read otherwise.
    let names = folder.path("names.txt");
    std::fs::write(&names, "a\nb\nc\n").unwrap();
    ends(2, &run("otherwise", &["--classes", &names]), &["data.npz", "read otherwise"]);
    assert!(!Path::new(&folder.path("otherwise")).exists());
    let again = ["measure", &model, "--data", &data, "--samples", "100", "--threads", "1", "-o", &evidence];
    ends(2, &[&again[..], &["--classes", &names]].concat(), &["read otherwise", "delete it"]);
    let foreign = folder.model("foreign.onnx", deep());
    let given = ["--evidence", &evidence, "--keep", "params=0.5"];
    ends(
        2,
        &words("compress", &foreign, &data, &folder.path("foreign"), &given),
        &["the evidence is of another model"],
    );
    let magnitude = run("magnitude", &["--method", "magnitude"]);
    ends(2, &magnitude, &["'magnitude' does not go by evidence", "--evidence"]);
    let missing = ["--evidence", "nowhere.safetensors", "--keep", "params=0.5"];
    ends(2, &words("compress", &model, &data, &folder.path("none"), &missing), &["nowhere.safetensors"]);
}

#[test]
fn what_the_original_answered_is_read_by_other_budgets_with_the_same_result() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let cache = folder.path("answers");
    let run = |name: &str, keep: &str, more: &[&str]| {
        let more = [&["--method", "magnitude", "--keep", keep, "--epochs", "2"], more].concat();
        ends(0, &words("compress", &model, &data, &folder.path(name), &more), &[]);
        folder.bytes(name, MODEL)
    };
    let answers = || {
        let inside = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let all = inside(Path::new(&cache)).flat_map(|folder| inside(&folder));
        all.map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap())).collect::<Vec<_>>()
    };
    let cached = ["--teacher-cache", &cache];
    run("first", "params=0.7", &cached);
    let first = answers();
    // One step of 128 samples an epoch.
    assert_eq!(first.len(), 2);
    assert!(run("cached", "params=0.5", &cached) == run("plain", "params=0.5", &[]));
    assert_eq!(answers(), first);
    run("seeded", "params=0.5", &[&cached[..], &["--seed", "1"]].concat());
    assert_eq!(answers().len(), 4);
    // The cache is no setting of the run: it goes on without.
    run("cached", "params=0.5", &[]);
}

#[test]
fn a_training_that_has_lost_patience_stays_ended() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let patience = ["--patience", "1", "--learning-rate", "0.3", "--batch-size", "16", "--epochs", "40"];
    let words = words("tune", &model, &data, &folder.path("run"), &patience);
    ends(0, &words, &["no better validation for 1 epochs"]);
    let result = folder.bytes("run", MODEL);
    // As if it had been killed before the model was written.
    std::fs::remove_file(folder.path("run/model.onnx")).unwrap();
    ends(0, &words, &["no better validation for 1 epochs"]);
    assert!(folder.bytes("run", MODEL) == result);
}

/// Grey 8×8 pictures as BMP files in two class folders, the one dark and the other bright.
fn pictures(folder: &Path, number: usize) {
    for (class, level) in [("bright", 200), ("dark", 40)] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..number {
            let mut bytes = b"BM".to_vec();
            for field in [54 + 192, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 2835, 2835, 0, 0_u32] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.extend((0..192).map(|k| level + (i * 7 + k) as u8 % 30));
            std::fs::write(folder.join(class).join(format!("{i}.bmp")), bytes).unwrap();
        }
    }
}

/// Of two classes.
fn classifier() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "3", "8", "8"])
        .constant("w", &normal(&[192, 16], 0))
        .constant("v", &normal(&[16, 2], 2))
        .node("Flatten", &["x"], &["f"])
        .node("MatMul", &["f", "w"], &["h"])
        .node("Relu", &["h"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
}

#[test]
fn a_class_folder_means_the_same_in_all_data() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", classifier());
    let (data, dark) = (folder.path("pictures"), folder.path("dark-only"));
    pictures(Path::new(&data), 20);
    pictures(Path::new(&dark), 5);
    std::fs::remove_dir_all(Path::new(&dark).join("bright")).unwrap();
    let none = ["--epochs", "0", "--compensate", "none", "--json"];
    let run = |name: &str, more: &[&str]| {
        let words = compress(&model, &data, &folder.path(name), &[&none, more].concat());
        let report: Value = serde_json::from_str(&ends(0, &words, &[])).unwrap();
        report["report"]["original"].clone()
    };
    // The only class folder is the second class.
    let names = folder.path("names.txt");
    std::fs::write(&names, "bright\ndark\n").unwrap();
    let eval = ["eval", &model, "--data", &dark, "--classes", &names, "--threads", "1", "--json"];
    let eval: Value = serde_json::from_str(&ends(0, &eval, &[])).unwrap();
    let loss = eval["loss"]["value"].as_f64().or(eval["loss"].as_f64()).unwrap();
    let original = run("run", &["--validation-data", &dark, "--test", &dark]);
    for on in ["validation", "test"] {
        let found = original[on]["metrics"]["loss"]["value"].as_f64().unwrap();
        assert!((found - loss).abs() < 1e-4 * loss, "{on}: {found} {loss}");
    }
    std::fs::rename(Path::new(&dark).join("dark"), Path::new(&dark).join("grey")).unwrap();
    let unknown = compress(&model, &data, &folder.path("unknown"), &["--test", &dark]);
    ends(2, &unknown, &["folder grey", "is not one of the classes bright, dark"]);
}

#[test]
fn a_run_in_its_own_data_is_refused_as_it_could_not_be_gone_on_with() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", classifier()), folder.path("pictures"));
    pictures(Path::new(&data), 10);
    let inside = folder.path("pictures/run");
    ends(2, &compress(&model, &data, &inside, &[]), &[&inside, "lies in the data folder", "-o"]);
    let test = folder.path("test");
    pictures(Path::new(&test), 2);
    let within_test = folder.path("test/run");
    ends(2, &compress(&model, &data, &within_test, &["--test", &test]), &[&within_test, "-o"]);
    let evidence = folder.path("pictures/evidence");
    ends(2, &["measure", &model, "--data", &data, "-o", &evidence], &[&evidence, "lies in the data folder"]);
    assert!([inside, within_test, evidence].iter().all(|path| !Path::new(path).exists()));
}

#[test]
fn pictures_that_vanish_are_named_and_the_run_goes_on_once_they_are_back() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", classifier());
    let (data, away) = (folder.path("pictures"), folder.path("away"));
    pictures(Path::new(&data), 60);
    let words = |run: &str| {
        let augmented = ["--flip", "--crop-padding", "1"];
        compress(&model, &data, &folder.path(run), &[&STEPS[..], &augmented].concat())
    };
    ends(0, &words("whole"), &[]);
    let run = folder.path("run");
    let mut child = start(&words("run"));
    until_trained(&run, &mut child);
    signal(&child, libc::SIGSTOP);
    std::fs::rename(&data, &away).unwrap();
    signal(&child, libc::SIGCONT);
    let output = child.wait_with_output().unwrap();
    ended(2, &output, &[&data]);
    ends(2, &words("run"), &[&data]);
    assert!(folder.bytes("run", PLAN) == folder.bytes("whole", PLAN));
    std::fs::rename(&away, &data).unwrap();
    ends(0, &words("run"), &[]);
    assert!(folder.bytes("run", MODEL) == folder.bytes("whole", MODEL));
}

/// Three hidden layers that add numbers.
fn deep() -> ModelBuilder {
    let widths = [4, 24, 24, 24, 3];
    let mut model = ModelBuilder::new(17).input("x", ElementType::Float32, &["batch", "4"]);
    for (layer, width) in widths.windows(2).enumerate() {
        let name = |what: &str, at: usize| format!("{what}{at}");
        let (weight, bias) = (name("w", layer), name("b", layer));
        let from = if layer == 0 { "x".into() } else { name("r", layer) };
        let sum = name("s", layer + 1);
        model = model
            .constant(&weight, &normal(width, 10 + layer as u64))
            .constant(&bias, &normal(&width[1..], 20 + layer as u64))
            .node("Gemm", &[&from, &weight, &bias], &[&sum]);
        if layer + 2 < widths.len() {
            model = model.node("Relu", &[&sum], &[&name("r", layer + 1)]);
        }
    }
    model.output("s4")
}

#[test]
fn what_few_samples_give_a_bad_fit_of_is_left_as_it_was_pruned() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", deep()), folder.data("data.npz", 8, false));
    let mut left_out = [0, 0];
    for (fit, seed) in [0, 1].into_iter().flat_map(|fit| (0..8).map(move |seed| (fit, seed))) {
        let name = ["least-squares", "means"][fit];
        let run = folder.path(&format!("{name}-{seed}"));
        let line = format!(
            "compress {model} --data {data} --method random --seed {seed} --keep units=0.6 --compensate {name} --validation 0.5 --epochs 0 \
             --threads 1 --no-latency -o {run}"
        );
        ends(0, &line.split_whitespace().collect::<Vec<_>>(), &[]);
        let log = std::fs::read_to_string(Path::new(&run).join(METRICS)).unwrap();
        let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let divergence = |model: &str| {
            let found = records.iter().find(|r| r["model"] == model && r["on"] == "validation").unwrap();
            found["scores"]["divergence"].as_f64().unwrap()
        };
        assert!(divergence("compensated") <= divergence("pruned"), "{name}, seed {seed}: {log}");
        let fitted = records.iter().find(|record| record["event"] == "compensated").unwrap();
        if fitted["notes"].to_string().contains("is left out") {
            left_out[fit] += 1;
            assert_eq!(fitted["layers"][0], 0, "{fitted}");
            let weights = [PRUNED, COMPENSATED].map(|file| {
                let graph = Graph::read(&Path::new(&run).join(file)).unwrap();
                let tensors = graph.values.keys().filter_map(|id| graph.tensor(id));
                tensors.map(|tensor| tensor.to_f64_vec().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(weights[0], weights[1]);
        }
    }
    assert!(left_out.iter().all(|n| (1..8).contains(n)), "{left_out:?} of 8 fits each were left out");
}
