//! What cannot work is known before anything is done, and nothing that was given is lost.

mod support;

use std::path::Path;

use secateurs_onnx::{ElementType, ModelBuilder, Tensor};
use serde_json::Value;
use support::{Folder, dense, ends, normal};

fn words(command: &str, model: &str, data: &str, run: &str, more: &[&str]) -> Vec<String> {
    let words =
        [command, model, "--data", data, "-o", run, "--threads", "1", "--no-latency", "--epochs", "1"];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

const HALF: [&str; 4] = ["--method", "magnitude", "--keep", "params=0.5"];

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_done() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", dense());
    let (labelled, bare) = (folder.data("data.npz", 32, true), folder.data("bare.npz", 32, false));
    let run = folder.path("run");
    let refused = |words: Vec<String>, expected: &[&str]| {
        ends(2, &words, expected);
        assert!(!Path::new(&run).exists(), "{words:?}");
    };
    let measured = ["--keep", "params=0.5", "--method"];
    let compress = |data: &str, more: &[&str]| words("compress", &model, data, &run, more);
    for method in ["loss", "gradient", "gradient-normalised", "taylor"] {
        refused(compress(&bare, &[&measured[..], &[method]].concat()), &[method, "needs labels"]);
    }
    refused(
        compress(&labelled, &["--recipe", "hap", "--keep", "params=0.5"]),
        &["augmentation", "8-bit images"],
    );
    let cached = ["--hidden-distillation", "1", "--teacher-cache", &folder.path("cache")];
    refused(compress(&labelled, &[&HALF[..], &cached].concat()), &["hidden_distillation", "--teacher-cache"]);
    refused(words("tune", &model, &bare, &run, &[]), &["bare.npz", "--teacher"]);
    // Nothing is augmented where nothing is trained.
    let mut none = compress(&labelled, &["--recipe", "hap", "--keep", "params=0.5"]);
    let epochs = none.iter().position(|word| word == "--epochs").unwrap();
    none[epochs + 1] = "0".into();
    ends(0, &none, &[]);
    // A recipe may say what needs the budget of the command.
    let recipe = folder.file("mine.toml", "[plan]\nlossless = true\nsteps = 2\n");
    let run = folder.path("mine");
    let more = ["--recipe", &recipe, "--keep", "params=0.5", "--epochs"];
    ends(0, &words("compress", &model, &labelled, &run, &more[..4]), &[]);
}

#[test]
fn evidence_that_is_not_finished_is_refused() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 32, true));
    let file = folder.path("evidence.safetensors");
    ends(0, &["measure", &model, "--data", &data, "-o", &file], &[]);
    let mut evidence = secateurs::evidence::Evidence::read(Path::new(&file)).unwrap();
    evidence.header.ended = None;
    evidence.write(Path::new(&file)).unwrap();
    let (plan, run) = (folder.path("plan.json"), folder.path("run"));
    let words_of_plan = ["plan", &model, "--keep", "params=0.5", "--evidence", &file, "-o", &plan];
    ends(2, &words_of_plan, &["not finished", "32 samples", "goes on"]);
    let more = ["--keep", "params=0.5", "--evidence", &file];
    ends(2, &words("compress", &model, &data, &run, &more), &["not finished"]);
    assert!(!Path::new(&plan).exists() && !Path::new(&run).exists());
}

#[test]
fn a_restart_leaves_what_it_is_given() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", dense()), folder.data("data.npz", 32, true), folder.path("run"));
    let keep = ["--keep", "params=0.5"];
    ends(0, &words("compress", &model, &data, &run, &keep), &[]);
    let of_run = |name: &str| Path::new(&run).join(name).to_str().unwrap().to_owned();
    let given = ["evidence.safetensors", "plan.json", "pruned.onnx", "model.onnx"].map(of_run);
    let [evidence, plan, pruned, result] = &given;
    let again = |command: &str, model: &str, more: &[&str]| {
        let words = words(command, model, &data, &run, &[more, &["--restart"]].concat());
        ends(2, &words, &["which --restart empties", "-o"]);
        assert!(given.iter().all(|file| Path::new(file).is_file()), "{words:?}");
    };
    again("compress", &model, &["--keep", "params=0.4", "--evidence", evidence]);
    again("compress", result, &keep);
    again("tune", pruned, &["--teacher", &model]);
    again("tune", &model, &["--teacher", result]);
    let elsewhere = folder.path("pruned.onnx");
    std::fs::copy(pruned, &elsewhere).unwrap();
    again("tune", &elsewhere, &["--teacher", &model, "--plan", plan]);
    ends(0, &words("tune", &elsewhere, &data, &run, &["--teacher", &model, "--restart"]), &[]);
}

#[test]
fn how_latency_is_measured_in_the_end_makes_no_other_run() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", dense()), folder.data("data.npz", 32, true), folder.path("run"));
    let timed: Vec<String> = words("compress", &model, &data, &run, &HALF)
        .into_iter()
        .filter(|word| word != "--no-latency")
        .chain(["--latency-batches", "1"].map(str::to_owned))
        .collect();
    ends(0, &words("compress", &model, &data, &run, &HALF), &[]);
    std::fs::remove_file(Path::new(&run).join("report.json")).unwrap();
    ends(0, &timed, &["measuring latency at batch 1"]);
    let other = [&HALF[..], &["--seed", "3"]].concat();
    ends(2, &words("compress", &model, &data, &run, &other), &["plan.seed"]);
}

#[test]
fn a_teacher_is_asked_in_its_own_terms() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", dense()), folder.data("data.npz", 32, true));
    let probabilities = folder.model(
        "probabilities.onnx",
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "4"])
            .constant("w", &normal(&[4, 3], 0))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Softmax", &["h"], &["y"])
            .output("y"),
    );
    let run = folder.path("run");
    let taught = |teacher: &str, more: &[&str]| {
        words("tune", &model, &data, &run, &[&["--teacher", teacher], more].concat())
    };
    ends(
        2,
        &taught(&probabilities, &[]),
        &["probabilities.onnx", "'y' holds", "probabilities", "class scores"],
    );
    assert!(!Path::new(&run).exists());
    // Outputs that are matched by place are asked for by the names of the model that is tuned.
    let other = folder.model(
        "other.onnx",
        ModelBuilder::new(17)
            .input("points", ElementType::Float32, &["batch", "4"])
            .constant("w", &normal(&[4, 3], 0))
            .node("MatMul", &["points", "w"], &["scores"])
            .output("scores"),
    );
    for validation in ["0.25", "0"] {
        let run = folder.path(&format!("by-place-{validation}"));
        let more = ["--teacher", &other, "--output", "y", "--validation", validation];
        ends(0, &words("tune", &model, &data, &run, &more), &[]);
    }
}

/// A picture of one colour, red, green and blue.
fn picture(path: &Path, colour: [u8; 3]) {
    const SIDE: u32 = 4;
    let mut bytes = b"BM".to_vec();
    let pixels = SIDE * SIDE * 3;
    for number in [54 + pixels, 0, 54, 40, SIDE, SIDE, 24 << 16 | 1, 0, pixels, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let [red, green, blue] = colour;
    (0..SIDE * SIDE).for_each(|_| bytes.extend([blue, green, red]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn classes_that_are_named_are_those_of_test_data_where_training_data_have_none() {
    let folder = Folder::new();
    let weight = |shape: &[usize], of: fn(usize, usize) -> f32| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| of(i / shape[1], i % shape[1])).collect();
        Tensor::from_slice(shape.to_vec(), &values).unwrap()
    };
    // Red is class 0, green class 1.
    let model = folder.model(
        "model.onnx",
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "4", "4"])
            .constant("w", &weight(&[3, 16], |colour, unit| f32::from(u8::from(colour == unit % 2))))
            .constant("v", &weight(&[16, 2], |unit, class| f32::from(u8::from(unit % 2 == class))))
            .node("GlobalAveragePool", &["x"], &["m"])
            .node("Flatten", &["m"], &["f"])
            .node("MatMul", &["f", "w"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("MatMul", &["r", "v"], &["logits"])
            .output("logits"),
    );
    let at = |name: String| Path::new(&folder.path(&name)).to_owned();
    for i in 0..8u8 {
        let colour = |class: bool| if class { [200 + i, 10, 90] } else { [10, 200 + i, 90] };
        picture(&at(format!("photos/{i}.bmp")), colour(i % 2 == 0));
        picture(&at(format!("test/dog/{i}.bmp")), colour(true));
        picture(&at(format!("test/cat/{i}.bmp")), colour(false));
    }
    let (photos, test, run) = (folder.path("photos"), folder.path("test"), folder.path("run"));
    let more = ["--test", &test, "--classes", "dog,cat"];
    ends(0, &words("compress", &model, &photos, &run, &[&HALF[..], &more].concat()), &[]);
    let report: Value = serde_json::from_slice(&folder.bytes("run", "report.json")).unwrap();
    let accuracy = &report["original"]["test"]["metrics"]["accuracy"]["value"];
    assert_eq!(*accuracy, 1.0, "{}", report["original"]);
}
