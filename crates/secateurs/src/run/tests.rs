//! Directories of runs: whose they are, what is kept, what goes.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::data::DataOptions;
use crate::recipe::{LatencySettings, PlanSettings};
use crate::tune::TuneOptions;

fn config() -> Config {
    Config {
        format_version: FORMAT_VERSION,
        secateurs: "0".into(),
        command: "compress".into(),
        outputs: Vec::new(),
        device: "cpu".into(),
        threads: 2,
        sizes: [("batch".to_owned(), 1)].into(),
        model: ModelIdentity { path: "model.onnx".into(), hash: "abc".into() },
        teacher: None,
        data: DataIdentity {
            path: "data.npz".into(),
            samples: 3,
            fingerprint: "def".into(),
            reading: "012".into(),
        },
        validation: Some(DataIdentity {
            path: "held-out.npz".into(),
            samples: 2,
            fingerprint: "fed".into(),
            reading: "012".into(),
        }),
        test: None,
        evidence: Some(FileIdentity { path: "evidence.safetensors".into(), fingerprint: "0f".into() }),
        reading: DataOptions::default(),
        plan: Some(PlanSettings { method: Some("magnitude".into()), ..PlanSettings::default() }),
        measure: None,
        compensate: None,
        tune: TuneOptions::default(),
        latency: LatencySettings::default(),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = entries(folder).unwrap();
    names.sort();
    names
}

#[test]
fn a_config_is_what_was_written_and_says_what_differs() {
    let text = config().to_text().unwrap();
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), config());
    let mut other = config();
    other.tune.epochs = 9;
    other.tune.ema = Some(0.5);
    other.model.path = "elsewhere.onnx".into();
    other.validation.as_mut().unwrap().path = "elsewhere.npz".into();
    other.evidence = None;
    let differences = config().differences(&other);
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "evidence.fingerprint: \"0f\" in the run, not set asked for",
            "tune.ema: not set in the run, 0.5 asked for",
            "tune.epochs: 3 in the run, 9 asked for"
        ]
    );
}

#[test]
fn a_directory_is_opened_again_by_the_same_run_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/run");
    let run = RunDirectory::open(&path, &config(), false).unwrap();
    assert!(matches!(RunDirectory::open(&path, &config(), false), Err(RunError::Locked { .. })));
    run.write("plan.json", b"{}").unwrap();
    std::fs::write(path.join(".secateurs-left.tmp"), "torn").unwrap();
    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    drop(run);
    drop(RunDirectory::open(&path, &config(), false).unwrap());
    assert_eq!(names(&path), ["config.toml", "lock", "notes.txt", "plan.json"]);

    let mut other = config();
    other.threads = 4;
    let run = RunDirectory::open(&path, &other, false).unwrap();
    run.log().unwrap().append(&json!({"event": "planned"})).unwrap();
    drop(run);
    other.threads = 3;
    let error = RunDirectory::open(&path, &other, false).unwrap_err().to_string();
    assert!(error.contains("--restart") && error.contains("threads: 4 in the run, 3 asked for"), "{error}");
    assert_eq!(Config::read(&path).unwrap().threads, 4);
    drop(RunDirectory::open(&path, &other, true).unwrap());
    assert_eq!(Config::read(&path).unwrap(), other);
    assert_eq!(names(&path), ["config.toml", "lock", "notes.txt"]);
}

#[test]
fn what_is_no_run_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let open = |restart| RunDirectory::open(folder.path(), &config(), restart);
    std::fs::write(folder.path().join("thesis.tex"), "years").unwrap();
    for restart in [false, true] {
        let error = open(restart).unwrap_err();
        assert!(matches!(&error, RunError::NotARun { found, .. } if found == "thesis.tex"), "{error}");
    }
    assert_eq!(names(folder.path()), ["thesis.tex"]);
    std::fs::write(folder.path().join("config.toml"), "[package]\n").unwrap();
    assert!(matches!(open(true), Err(RunError::NotARun { .. })));
    assert_eq!(names(folder.path()), ["config.toml", "thesis.tex"]);
    std::fs::write(folder.path().join("config.toml"), "format_version = 7\n").unwrap();
    let error = open(false).unwrap_err().to_string();
    assert!(error.contains("version 7") && error.contains("--restart"), "{error}");
}

#[test]
fn a_model_goes_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::open(folder.path(), &config(), false).unwrap();
    for name in ["model.onnx", "model.onnx.data", "model.onnx.1.data", "model.onnx.txt"] {
        run.write(name, b"x").unwrap();
    }
    run.remove_model(MODEL).unwrap();
    assert_eq!(names(folder.path()), ["config.toml", "lock", "model.onnx.txt"]);
}

#[test]
fn data_that_change_have_another_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let of = || fingerprint(folder.path()).unwrap();
    std::fs::create_dir(folder.path().join("cat")).unwrap();
    let file = folder.path().join("cat/1.png");
    std::fs::write(&file, "a").unwrap();
    let (whole, one) = (of(), fingerprint(&file).unwrap());
    assert_eq!((of(), fingerprint(&file).unwrap()), (whole.clone(), one.clone()));
    std::fs::write(&file, "b").unwrap();
    assert_ne!(fingerprint(&file).unwrap(), one);
    std::fs::write(folder.path().join("cat/2.png"), "a").unwrap();
    assert_ne!(of(), whole);
    let whole = of();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    std::fs::write(folder.path().join(".git/index"), "a").unwrap();
    assert_eq!(of(), whole);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", folder.path().join("cat/up")).unwrap();
        assert_eq!(of(), of());
    }
}

#[test]
fn results_do_not_lie_in_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    std::fs::create_dir_all(data.join("cat")).unwrap();
    for inside in ["", "run", "cat/a/b", "../photos/run"] {
        let error = outside_data(&data.join(inside), &data).unwrap_err().to_string();
        assert!(error.contains("photos") && error.contains("-o"), "{error}");
    }
    for outside in ["../run", "../photos-run"] {
        outside_data(&data.join(outside), &data).unwrap();
    }
    let file = folder.path().join("data.npz");
    std::fs::write(&file, "a").unwrap();
    outside_data(&folder.path().join("run"), &file).unwrap();
}

#[test]
fn a_torn_line_is_dropped_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::open(folder.path(), &config(), false).unwrap();
    let mut log = run.log().unwrap();
    log.append(&json!({"event": "a", "loss": f64::NAN})).unwrap();
    log.append_synced(&json!({"event": "b"})).unwrap();
    let file = run.file(METRICS);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, "{\"event\":\"a\",\"loss\":null}\n{\"event\":\"b\"}\n");
    std::fs::write(&file, format!("{text}{{\"event\":\"c")).unwrap();
    let mut log = run.log().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    log.append(&json!({"event": "d"})).unwrap();
    assert_eq!(run.log().unwrap().stages::<Value>().count(), 3);
    std::fs::write(&file, format!("nonsense\n{text}")).unwrap();
    let error = run.log().unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl, line 1: ") && error.contains("--restart"), "{error}");
}

#[test]
fn a_restart_removes_files_of_steps_and_trials_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::open(folder.path(), &config(), false).unwrap();
    let own = [trial_file(12), step_file(1), step_file(1) + ".data", evidence_file(1), evidence_file(3)];
    let other = ["trial-.json", "trial-1.txt", "step-1.md", "step-one.onnx", "my-step-1.onnx"];
    for name in own.iter().map(String::as_str).chain(other) {
        run.write(name, b"x").unwrap();
    }
    drop(run);
    drop(RunDirectory::open(folder.path(), &config(), true).unwrap());
    let mut expected = [&["config.toml", "lock"][..], &other[..]].concat();
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn training_that_is_done_again_is_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::open(folder.path(), &config(), false).unwrap();
    let mut log = run.log().unwrap();
    log.append(&json!({"event": "planned"})).unwrap();
    // To step 3, back to 1 and to 3 again.
    let steps = [1, 2, 3, 1, 2, 3];
    for (number, step) in steps.iter().enumerate() {
        log.append(&json!({"event": "step", "step": step, "number": number})).unwrap();
    }
    let numbers = |log: &Log| -> Vec<u64> {
        log.steps::<Value>().filter_map(|line| line.get("number").and_then(Value::as_u64)).collect()
    };
    log.rewind(3).unwrap();
    assert_eq!(numbers(&log), [0, 1, 2, 3, 4, 5]);
    log.rewind(2).unwrap();
    assert_eq!(numbers(&log), [0, 1, 2, 3, 4]);
    log.append(&json!({"event": "step", "step": 3, "number": 9})).unwrap();
    assert_eq!(numbers(&run.log().unwrap()), [0, 1, 2, 3, 4, 9]);
    // From 4 back to 2, and killed before a state after that was kept.
    log.append(&json!({"event": "rolled_back", "step": 4, "to": 2, "number": 10})).unwrap();
    log.append(&json!({"event": "step", "step": 3, "number": 11})).unwrap();
    log.rewind(2).unwrap();
    assert_eq!(numbers(&run.log().unwrap()), [0, 1, 2, 3, 4, 10]);
    drop(log);
    std::fs::write(run.file(METRICS), "{\"event\":\"planned\"}\n{\"event\":\"step\",\"step\":1}\n").unwrap();
    run.log().unwrap().rewind(0).unwrap();
    assert_eq!(std::fs::read_to_string(run.file(METRICS)).unwrap(), "{\"event\":\"planned\"}\n");
    assert_eq!(run.log().unwrap().stages::<Value>().collect::<Vec<_>>(), [json!({"event": "planned"})]);
}
