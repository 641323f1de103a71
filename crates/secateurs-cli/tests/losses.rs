//! Labels of every kind, from the command line: those of rows, those that hold or not, and numbers; and several outputs.

mod support;

use std::path::Path;

use secateurs::data::npz;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};
use serde_json::Value;
use support::{Folder, dense, dense_in, ends, normal};

const SAMPLES: usize = 60;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Class scores `[batch, 5, 3]` of five tokens.
fn tokens() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "5", "4"])
        .constant("w", &normal(&[4, 16], 0))
        .constant("v", &normal(&[16, 3], 2))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("MatMul", &["r", "v"], &["logits"])
        .output("logits")
}

/// `SAMPLES` samples of a shape, labelled with `y`.
fn data(folder: &Folder, shape: &[usize], y: &Tensor) -> String {
    let path = folder.path("labelled.npz");
    let x = normal(&[&[SAMPLES], shape].concat(), 7);
    npz::write(Path::new(&path), &[("x", &x), ("y", y)]).unwrap();
    path
}

/// Labels below `n`; every fourth one is `ignored`.
fn labels(shape: &[usize], n: u8, ignored: u8) -> Tensor {
    let shape = [&[SAMPLES], shape].concat();
    let label = |i: usize| if i % 4 == 3 { ignored } else { (i * 7 + i / 3) as u8 % n };
    Tensor::from_slice(shape.clone(), &(0..shape.iter().product()).map(label).collect::<Vec<u8>>()).unwrap()
}

#[test]
fn what_labels_say_is_measured_tuned_and_evaluated() {
    let folder = Folder::new();
    let model = folder.model("dense.onnx", dense());
    let flags = labels(&[3], 2, 1);
    let numbers = normal(&[SAMPLES, 3], 9);
    let tokens = (folder.model("tokens.onnx", tokens()), vec![5, 4], labels(&[5], 3, 255));
    let cases = [
        (tokens, "auto", "class scores along axis 2", "nats  (mean cross-entropy", Some(225)),
        (
            (model.clone(), vec![4], flags),
            "multi-label",
            "own sigmoids",
            "nats  (mean binary cross-entropy",
            Some(180),
        ),
        ((model, vec![4], numbers), "auto", "taken for numbers", "(mean squared error)", None),
    ];
    let classes = [json(r#"["0", "1", "2"]"#), json(r#"["0", "1"]"#), json("[]")];
    for (((model, shape, y), objective, said, loss, counted), classes) in cases.into_iter().zip(classes) {
        let data = data(&folder, &shape, &y);
        let common = ["--data", &data, "--objective", objective, "--ignore-label", "255"];
        let eval = |more: &[&str]| ends(0, &words(&[&["eval", &model], &common[..], more].concat()), &[]);
        let text = eval(&[]);
        assert!(text.contains(loss) && text.contains("accuracy") == counted.is_some(), "{text}");
        let (ours, theirs) = (json(&eval(&["--json"])), json(&eval(&["--engine", "onnxruntime", "--json"])));
        assert_eq!((&ours["labels"], &ours["correct"]), (&theirs["labels"], &theirs["correct"]));
        assert_eq!(ours["labels"].as_u64(), counted);
        let of = |found: &Value, name: &str| found[name].as_f64().unwrap();
        assert!((of(&ours, "loss") - of(&theirs, "loss")).abs() < 1e-5, "{ours} {theirs}");
        let saved = folder.path("saved.npz");
        eval(&["--save", &saved, "--batch-size", "7"]);
        let arrays = npz::read(Path::new(&saved)).unwrap();
        let array = |name: &str| &arrays.iter().find(|(own, _)| own == name).unwrap().1;
        assert_eq!((array("output").shape()[0], array("label").shape()), (SAMPLES, y.shape()));
        assert!(array("sample").to_f64_vec().unwrap().into_iter().eq((0..SAMPLES).map(|i| i as f64)));

        let evidence = folder.path("evidence");
        let measure =
            [&["measure", &model], &common[..], &["--verify", "12", "--verify-same", "-o", &evidence]];
        let text = ends(0, &words(&measure.concat()), &[]);
        assert!(text.contains(said), "{text}");
        std::fs::remove_file(&evidence).unwrap();
        let measured = json(&ends(0, &words(&[&measure.concat()[..], &["--json"]].concat()), &[]));
        assert_eq!(measured["labels"], true);
        // The loss of the model as it is and with a unit removed, on all samples.
        let removals = measured["verification"]["removals"].as_array().unwrap();
        let units = removals.iter().filter(|removal| removal["kind"] == "unit");
        assert!(units.clone().count() == 12 && units.clone().all(|r| r["loss_change"].is_number()));
        std::fs::remove_file(&evidence).unwrap();

        let run = folder.path("run");
        let tune = ["--epochs", "4", "--learning-rate", "0.01", "--no-latency", "--threads", "1", "-o", &run];
        let tuned = [&["tune", &model], &common[..], &tune, &["--validation", "0", "--json"]].concat();
        ends(0, &words(&tuned), &["tuning"]);
        let result = format!("{run}/model.onnx");
        let after = json(&ends(0, &words(&[&["eval", &result], &common[..], &["--json"]].concat()), &[]));
        assert!(of(&after, "loss") < of(&ours, "loss"), "{after} {ours}");
        std::fs::remove_dir_all(&run).unwrap();

        let smaller = ["--keep", "units=0.5", "--epochs", "0", "--no-latency", "--threads", "1", "-o", &run];
        let text = ends(0, &words(&[&["compress", &model], &common[..], &smaller].concat()), &[]);
        assert_eq!(text.contains("loss (mean squared error), validation"), counted.is_none(), "{text}");
        assert_eq!(text.contains("squared error from the original"), counted.is_none(), "{text}");
        let report = json(&std::fs::read_to_string(format!("{run}/report.json")).unwrap());
        assert_eq!(report["data"]["classes"], classes);
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn outputs_are_chosen_and_weighed() {
    let folder = Folder::new();
    let two = dense()
        .constant("u", &normal(&[16, 2], 3))
        .node("MatMul", &["j", "u"], &["embedding"])
        .output("embedding");
    let model = folder.model("two.onnx", two);
    let data = folder.data("data.npz", SAMPLES, false);
    let evidence = |name: &str, outputs: &[&str]| -> (Value, Vec<f64>) {
        let file = folder.path(name);
        let named = outputs.iter().flat_map(|output| ["--output", output]);
        let measure = ["measure", &model, "--data", &data, "--double", "--estimator", "exact", "-o", &file];
        ends(0, &words(&measure.into_iter().chain(named).collect::<Vec<_>>()), &[]);
        let shown = json(&ends(0, &words(&["show", &file, "--json"]), &[]));
        let score = |unit: &Value| unit["scores"]["quadratic"]["value"].as_f64().unwrap();
        let scores = shown["units"].as_array().unwrap().iter().map(score).collect();
        (shown, scores)
    };
    let (_, scores) = evidence("scores", &["y"]);
    let (_, hidden) = evidence("hidden", &["embedding"]);
    let (shown, both) = evidence("both", &["y=0.5", "embedding=4"]);
    for ((both, scores), hidden) in both.iter().zip(scores).zip(hidden) {
        assert!((both - 0.5 * scores - 4.0 * hidden).abs() <= 1e-9 * both, "{both} {scores} {hidden}");
    }
    assert_eq!(shown["settings"]["outputs"], json(r#"["y=0.5", "embedding=4"]"#));
    let text = ends(0, &words(&["show", &folder.path("both")]), &[]);
    assert!(text.contains("0.5 × KL divergence") && text.contains("4 × mean squared error"), "{text}");
    let other = folder.path("both");
    ends(
        2,
        &words(&["measure", &model, "--data", &data, "--double", "--output", "y", "-o", &other]),
        &["other settings"],
    );
    // What differs in all outputs is no KL divergence.
    let run = folder.path("compressed");
    let compress = ["compress", &model, "--data", &data, "--keep", "units=0.5", "--epochs", "0"];
    let outputs = ["--output", "y=0.5", "--output", "embedding=4", "--no-latency", "--threads", "1"];
    let text = ends(0, &words(&[&compress[..], &outputs, &["-o", &run]].concat()), &[]);
    assert!(text.contains("of all outputs by their weights") && !text.contains("KL divergence"), "{text}");
    let report = json(&std::fs::read_to_string(format!("{run}/report.json")).unwrap());
    let metrics = report["result"]["validation"]["metrics"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["agreement", "distances"]);
    let page = std::fs::read_to_string(format!("{run}/report.html")).unwrap();
    assert!(page.contains("0.5 × KL divergence") && page.contains("4 × mean squared error"));
    let run = folder.path("run");
    let tune = words(&[
        "tune",
        &model,
        "--teacher",
        &model,
        "--data",
        &data,
        "--epochs",
        "1",
        "--output",
        "y",
        "--output",
        "embedding=2",
        "--no-latency",
        "--threads",
        "1",
        "-o",
        &run,
    ]);
    ends(0, &tune, &["'embedding' is taken for numbers"]);
    let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
    assert!(config.contains(r#"outputs = ["y", "embedding=2"]"#), "{config}");
    let unweighted =
        tune.iter().map(|word| if word == "embedding=2" { "embedding" } else { word }).collect::<Vec<_>>();
    ends(2, &unweighted, &["outputs"]);
}

#[test]
fn reports_tell_of_the_output_that_labels_are_for_and_in_what_its_loss_is_counted() {
    let folder = Folder::new();
    // Before the class scores.
    let embedding = dense_in(ModelBuilder::new(17).output("embedding"), "batch")
        .constant("u", &normal(&[16, 2], 3))
        .node("MatMul", &["j", "u"], &["embedding"]);
    let scores = folder.model("two.onnx", embedding);
    let classes = folder.data("data.npz", SAMPLES, true);
    let numbers = data(&folder, &[4], &normal(&[SAMPLES, 3], 9));
    let dense = folder.model("dense.onnx", dense());
    for (name, model, data, metric) in
        [("classes", &scores, &classes, "accuracy"), ("numbers", &dense, &numbers, "squared-error")]
    {
        let run = folder.path(name);
        let tune = ["tune", model, "--data", data, "--output", "y", "--epochs", "1", "--no-latency"];
        ends(0, &words(&[&tune[..], &["--threads", "1", "-o", &run]].concat()), &[]);
        let report = json(&std::fs::read_to_string(format!("{run}/report.json")).unwrap());
        let training = &report["training"];
        assert_eq!(training["metric"], metric);
        assert!(training["evaluations"][1]["weights"].is_number(), "{training}");
        let page = std::fs::read_to_string(format!("{run}/report.html")).unwrap();
        assert_eq!(page.contains("training loss, nats"), name == "classes");
        let expected = if name == "classes" { json(r#"["0", "1", "2"]"#) } else { json("[]") };
        assert_eq!(report["data"]["classes"], expected);
    }
}

#[test]
fn labels_that_do_not_fit_are_told() {
    let folder = Folder::new();
    let model = folder.model("tokens.onnx", tokens());
    let refused = |y: &Tensor, more: &[&str], expected: &[&str]| {
        let data = data(&folder, &[5, 4], y);
        let (evidence, run) = (folder.path("evidence"), folder.path("run"));
        let ways =
            [vec!["eval"], vec!["measure", "-o", &evidence], vec!["tune", "--epochs", "1", "-o", &run]];
        for way in ways {
            let named = [&way[..], &[&model, "--data", &data], more].concat();
            ends(2, &words(&named), &[&["labelled.npz"], expected].concat());
        }
    };
    refused(&labels(&[5], 3, 255), &[], &["row 0", "label 255", "3 classes", "--ignore-label"]);
    refused(&labels(&[4], 3, 0), &[], &["'logits'", "--output"]);
    refused(&labels(&[], 3, 0), &[], &["'logits'", "5]", "--output"]);
    refused(&labels(&[5, 3], 3, 0), &["--objective", "multi-label"], &["label 2", "neither 0 nor 1"]);
    refused(
        &normal(&[SAMPLES, 5], 3),
        &["--objective", "classes"],
        &["no class index", "--objective values"],
    );
    let bad = ["measure", &model, "--data", "none.npz", "--output", "logits=-1", "-o", "none"];
    ends(2, &words(&bad), &["logits=-1", "above 0"]);
}
