//! `measure`, `show` and `merge`, what follows from them, and what may go wrong.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use secateurs_onnx::{ElementType, ModelBuilder};
use serde_json::Value;
use support::{Folder, dense, ended, ends, normal, start};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn what_is_measured_is_shown_verified_and_planned_with() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 400, true));
    let [evidence, page] = ["evidence.safetensors", "page.html"].map(|name| folder.path(name));
    let measure = words(&[
        "measure",
        &model,
        "--data",
        &data,
        "--samples",
        "200",
        "--verify",
        "16",
        "--verify-sets",
        "12",
        "--verify-among",
        "neuron",
        "--report",
        &page,
        "--json",
        "-o",
        &evidence,
    ]);
    let found = json(&ends(0, &measure, &[]));
    assert_eq!((&found["samples"], &found["labels"]), (&200.into(), &true.into()));
    let verification = &found["verification"];
    assert_eq!((&verification["samples"], &verification["same_samples"]), (&200.into(), &false.into()));
    let correlation = |score: &str, kind: &str| {
        let of = |c: &&Value| c["score"] == score && c["kind"] == kind;
        verification["correlations"].as_array().unwrap().iter().find(of).unwrap()["outputs"].as_f64().unwrap()
    };
    let [ours, random] = ["quadratic", "random"].map(|score| correlation(score, "unit"));
    assert!(ours > 0.8 && ours > random, "{ours} {random}");

    let has = |page: &str, text: &str| std::fs::read_to_string(page).unwrap().contains(text);
    for text in
        ["16 units in 1 group,", "w[1]", "neuron 3, rank", "single units", "sets of the net", "random"]
    {
        assert!(has(&page, text), "no '{text}' in the page");
    }
    let alone = folder.path("alone.html");
    let text = ends(0, &words(&["show", &evidence, "--report", &alone]), &[]);
    assert!(text.contains("alone.html") && has(&alone, "neuron 3, rank") && !has(&alone, "removals"));

    let shown = json(&ends(0, &words(&["show", &evidence, "--json"]), &[]));
    let units = shown["units"].as_array().unwrap();
    assert_eq!(units.len(), 16);
    let parameters = units[3]["parameters"].as_array().unwrap();
    let made = |name: &str| {
        let parameter = parameters.iter().find(|p| p["name"] == name).unwrap();
        assert_eq!(parameter["indices"], json("[3]"));
        parameter["made"].as_bool().unwrap()
    };
    assert_eq!((made("w"), made("b"), made("v")), (true, true, false));
    let score = |unit: &Value, name: &str| unit["scores"][name]["value"].as_f64().unwrap();
    assert!(units.iter().all(|unit| unit["scores"]["quadratic"]["standard_error"].as_f64().unwrap() >= 0.0));
    let text = ends(0, &words(&["show", &evidence]), &[]);
    assert!(text.contains("16 × neuron") && text.contains("KL divergence"), "{text}");

    // The units that stay are those of the highest scores.
    let plan = folder.path("plan.json");
    let planned = ["plan", &model, "--evidence", &evidence, "--keep", "units=0.5", "-o", &plan];
    ends(0, &words(&planned), &[]);
    assert_eq!(json(&std::fs::read_to_string(&plan).unwrap())["asked"]["method"], "joint");
    ends(0, &words(&[&planned[..], &["--method", "quadratic"]].concat()), &[]);
    let plan = json(&std::fs::read_to_string(&plan).unwrap());
    assert_eq!(plan["asked"]["method"], "quadratic");
    let kept: Vec<usize> = plan["groups"][0]["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| unit.as_u64().unwrap() as usize)
        .collect();
    let worth = |unit: usize| score(&units[unit], "quadratic");
    let lowest = kept.iter().map(|&unit| worth(unit)).fold(f64::INFINITY, f64::min);
    assert!((0..16).filter(|unit| !kept.contains(unit)).all(|unit| worth(unit) <= lowest));
    // Without evidence it is the method that needs no data.
    let [plan, smaller] = ["plan.json", "smaller.onnx"].map(|name| folder.path(name));
    ends(0, &words(&["prune", &model, "--keep", "units=0.5", "--plan", &plan, "-o", &smaller]), &[]);
    assert_eq!(json(&std::fs::read_to_string(&plan).unwrap())["asked"]["method"], "magnitude");
    for method in ["loss", "gradient", "gradient-normalised", "taylor", "activation"] {
        let smaller = folder.path(&format!("{method}.onnx"));
        let prune = [
            "prune",
            &model,
            "--method",
            method,
            "--evidence",
            &evidence,
            "--keep",
            "params=0.6",
            "-o",
            &smaller,
        ];
        ends(0, &words(&prune), &[]);
    }
}

#[test]
fn traces_are_measured_where_they_are_asked_for_and_score() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let smaller = folder.path("smaller.onnx");
    let prune = |evidence: &str| {
        words(&[
            "prune",
            &model,
            "--method",
            "hap-trace",
            "--evidence",
            evidence,
            "--keep",
            "units=0.5",
            "-o",
            &smaller,
        ])
    };
    let scores = |evidence: &str, more: &[&str]| -> Vec<f64> {
        let measure = [&["measure", &model, "--data", &data, "--double", "-o", evidence][..], more].concat();
        ends(0, &words(&measure), &[]);
        let shown = json(&ends(0, &words(&["show", evidence, "--json"]), &[]));
        let units = shown["units"].as_array().unwrap().iter();
        units.map(|unit| unit["scores"]["hap-trace"]["value"].as_f64().unwrap_or(f64::NAN)).collect()
    };
    let [exact, projected, without] = ["exact", "projected", "without"].map(|name| folder.path(name));
    let truth = scores(&exact, &["--estimator", "exact", "--trace=per-sample"]);
    assert!(truth.iter().all(|score| *score > 0.0), "{truth:?}");
    // A neuron has fewer weights than there are directions.
    for (found, truth) in scores(&projected, &["--estimator", "exact", "--trace"]).iter().zip(&truth) {
        assert!((found / truth - 1.0).abs() < 1e-9, "{found} {truth}");
    }
    ends(0, &prune(&projected), &[]);
    assert!(scores(&without, &[]).iter().all(|score| score.is_nan()));
    ends(2, &prune(&without), &["hap-trace", "--trace"]);
    let refused = words(&["measure", &model, "--data", &data, "--trace=guess", "-o", &without]);
    ends(2, &refused, &["guess", "per-sample"]);
}

#[test]
fn parts_add_up_and_overlapping_ones_do_not() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 90, false));
    let [whole, first, second, sum] = ["whole", "first", "second", "sum"].map(|name| folder.path(name));
    let measure = |evidence: &str, shard: &str| {
        ends(
            0,
            &words(&["measure", &model, "--data", &data, "--double", "--shard", shard, "-o", evidence]),
            &[],
        )
    };
    measure(&whole, "1/1");
    measure(&first, "1/2");
    measure(&second, "2/2");
    ends(0, &words(&["merge", &first, &second, "-o", &sum]), &[]);
    let scores = |evidence: &str| -> Vec<f64> {
        let shown = json(&ends(0, &words(&["show", evidence, "--json"]), &[]));
        let score = |unit: &Value| unit["scores"]["quadratic"]["value"].as_f64().unwrap();
        shown["units"].as_array().unwrap().iter().map(score).collect()
    };
    for (a, b) in scores(&whole).iter().zip(scores(&sum)) {
        assert!((a - b).abs() <= 1e-12 * a.abs(), "{a} {b}");
    }
    ends(2, &words(&["merge", &first, &whole, "-o", &sum]), &["45 samples", "--shard"]);
    let doubled = dense().node("Add", &["y", "y"], &["z"]).output("z");
    let other = folder.model("other.onnx", doubled);
    let plan = folder.path("plan.json");
    let planned =
        ["plan", &other, "--method", "quadratic", "--evidence", &whole, "--keep", "units=0.5", "-o", &plan];
    ends(2, &words(&planned), &["another model"]);
    for model in [&other, &model] {
        let planned = ["plan", model, "--method", "magnitude", "--evidence", &whole, "--keep", "units=0.5"];
        let expected = ["'magnitude' does not go by evidence", "leave out --evidence"];
        ends(2, &words(&[&planned[..], &["-o", &plan]].concat()), &expected);
    }
    let unlabelled =
        ["plan", &model, "--method", "loss", "--evidence", &whole, "--keep", "units=0.5", "-o", &plan];
    ends(2, &words(&unlabelled), &["labels"]);
    let unmeasured = ["plan", &model, "--method", "quadratic", "--keep", "units=0.5", "-o", &plan];
    ends(2, &words(&unmeasured), &["secateurs measure", "--evidence"]);
    let verified = ["measure", &model, "--data", &data, "--double", "--verify", "3", "-o", &whole];
    ends(2, &words(&verified), &["measure fewer"]);
    let nowhere = [&words(&verified)[..], &words(&["--verify-among", "head"])].concat();
    ends(2, &nowhere, &["model.onnx", "--verify-among head", "units are neuron", "inspect --groups"]);
    let nothing = ["--verify", "0", "--verify-sets", "0", "--verify-same", "-o", &whole];
    ends(
        2,
        &words(&[&["measure", &model, "--data", &data, "--double"], &nothing[..]].concat()),
        &["nothing to verify"],
    );
    assert!(!Path::new(&plan).exists());
}

#[test]
fn an_interruption_writes_what_there_is_and_the_same_command_goes_on() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 60_000, true));
    let [evidence, whole] = ["evidence", "whole"].map(|name| folder.path(name));
    let measure = |file: &str| {
        words(&[
            "measure",
            &model,
            "--data",
            &data,
            "--samples",
            "50000",
            "--settled",
            "1",
            "--batch-size",
            "16",
            "--memory",
            "1",
            "--threads",
            "1",
            "-o",
            file,
        ])
    };
    let child = start(&measure(&evidence));
    let started = Instant::now();
    // The first batches take longest, as libtorch is opened before them.
    std::thread::sleep(Duration::from_millis(1500));
    // SAFETY: sends a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(30));
    // A machine so slow that nothing was measured yet ends at once, and so does one so fast that all was.
    let of_all = |file: &str| !json(&ends(0, &words(&["show", file, "--json"]), &[]))["ended"].is_null();
    if Path::new(&evidence).exists() && !of_all(&evidence) {
        ended(130, &output, &["are measured and written"]);
    }
    ends(0, &measure(&evidence), &[]);
    ends(0, &measure(&whole), &[]);
    let scores = |file: &str| json(&ends(0, &words(&["show", file, "--json"]), &[]))["units"].clone();
    let (a, b) = (scores(&evidence), scores(&whole));
    for (a, b) in a.as_array().unwrap().iter().zip(b.as_array().unwrap()) {
        let value = |unit: &Value| unit["scores"]["quadratic"]["value"].as_f64().unwrap();
        assert!((value(a) - value(b)).abs() <= 1e-5 * value(b), "{a} {b}");
    }
}

#[test]
fn compress_measures_by_itself() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 200, true));
    let run = folder.path("run");
    let compress = words(&[
        "compress",
        &model,
        "--data",
        &data,
        "--keep",
        "params=0.5",
        "--epochs",
        "1",
        "--threads",
        "1",
        "--no-latency",
        "--json",
        "-o",
        &run,
    ]);
    let summary = json(&ends(0, &compress, &["measuring"]));
    let ledger = summary["report"]["ledger"].as_array().or(summary["ledger"].as_array()).unwrap();
    assert!(ledger.iter().any(|step| step["name"] == "measure"), "{ledger:?}");
    let shown = json(&ends(0, &words(&["show", &format!("{run}/evidence.safetensors"), "--json"]), &[]));
    // The held-out samples are not measured.
    assert_eq!(shown["samples"], 180);
    // Units that were removed are marked in the report.
    let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
    assert!(config.contains("method = \"joint\""), "{config}");
    let report = json(&std::fs::read_to_string(format!("{run}/report.json")).unwrap());
    let sensitivity = &report["sensitivity"];
    let group = &sensitivity["groups"][0];
    let removed = group["removed"].as_array().unwrap();
    let units = |model: &str| report[model]["units"].as_u64().unwrap();
    assert_eq!(removed.len() as u64, units("original") - units("result"));
    let page = std::fs::read_to_string(format!("{run}/report.html")).unwrap();
    assert!(page.contains("What units are worth") && page.contains(", pruned"));
    let impossible = folder.path("impossible");
    let asked = [
        "compress",
        &model,
        "--data",
        &data,
        "--method",
        "quadratic",
        "--keep",
        "params=0.01",
        "-o",
        &impossible,
    ];
    ends(3, &words(&asked), &[]);
    assert!(!Path::new(&impossible).join("evidence.safetensors").exists());
}

#[test]
fn bad_input_is_told() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 20, true));
    let evidence = folder.path("evidence");
    let measure =
        |more: &[&str]| words(&[&["measure", &model, "--data", &data, "-o", &evidence], more].concat());
    ends(2, &measure(&["--samples", "0"]), &["--samples"]);
    ends(2, &measure(&["--shard", "3/2"]), &["K/N"]);
    ends(2, &measure(&["--output", "z"]), &["'z'", "y"]);
    ends(2, &measure(&["--report", &folder.path("none/page.html")]), &["no such folder"]);
    ends(2, &measure(&["--report", &evidence]), &["one name"]);
    assert!(!Path::new(&evidence).exists());
    std::fs::write(&evidence, b"no evidence").unwrap();
    ends(2, &measure(&[]), &["evidence", "measure it anew"]);
    ends(2, &words(&["show", &evidence]), &["no evidence"]);
    ends(2, &words(&["show", &evidence, "--report", &evidence]), &["place of the evidence"]);
    ends(2, &words(&["show", &folder.path("missing")]), &["no such file"]);
    let barred = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &normal(&[4, 3], 0))
        .node("MatMul", &["x", "w"], &["y"])
        .output("y");
    let barred = folder.model("barred.onnx", barred);
    ends(
        2,
        &words(&["measure", &barred, "--data", &data, "-o", &folder.path("none")]),
        &["no unit", "inspect"],
    );
}
