//! `compress` where the choice is made in steps, or by how much the metric may drop.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use secateurs::plan::Plan;
use secateurs::rng::Rng;
use secateurs::run::{METRICS, MODEL, PLAN, REPORT_HTML};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};
use serde_json::Value;
use support::{Folder, ends, normal, start};

/// A model that is right on [`Folder::data`]: of its hidden neurons two for each coordinate that counts are needed, ±x; `idle` more do
/// nothing.
fn right(idle: usize) -> ModelBuilder {
    let width = 6 + idle;
    let mut rng = Rng::new(0, "idle", 0, 0);
    let mut w: Vec<f32> = (0..4 * width).map(|_| rng.normal() as f32).collect();
    let mut v = vec![0.0f32; width * 3];
    for k in 0..3 {
        for (half, sign) in [(0, 1.0), (3, -1.0)] {
            (0..4).for_each(|row| w[row * width + half + k] = if row == k { sign } else { 0.0 });
            v[(half + k) * 3 + k] = 5.0 * sign;
        }
    }
    let tensor = |shape: &[usize], values: &[f32]| Tensor::from_slice(shape.to_vec(), values).unwrap();
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &tensor(&[4, width], &w))
        .constant("b", &tensor(&[width], &vec![0.0; width]))
        .constant("v", &tensor(&[width, 3], &v))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
}

fn words(model: &str, data: &str, run: &str, more: &[&str]) -> Vec<String> {
    let fixed =
        ["compress", model, "--data", data, "-o", run, "--threads", "1", "--no-latency", "--epochs", "0"];
    let held_out = ["--validation", "0.5", "--json"];
    fixed.iter().chain(&held_out).chain(more).map(|word| (*word).to_owned()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The models that were tried, as the log has them.
fn trials(run: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(run).join(METRICS)).unwrap();
    let lines = text.lines().map(json);
    lines.filter(|line| line["event"] == "tried").collect()
}

fn plan(run: &str, name: &str) -> Plan {
    Plan::read(&Path::new(run).join(name)).unwrap()
}

/// What the table of steps says of a step.
fn quantity(report: &Value, step: &str, name: &str) -> Value {
    let steps = report["ledger"].as_array().unwrap().iter();
    let own = steps.filter(|own| own["name"] == step).flat_map(|own| own["quantities"].as_array().unwrap());
    let found: Vec<&Value> = own.filter(|quantity| quantity["name"] == name).collect();
    assert_eq!(found.len(), 1, "{step}, {name}: {}", report["ledger"]);
    found[0].clone()
}

fn accuracy(report: &Value, model: &str) -> f64 {
    report["report"][model]["validation"]["metrics"]["accuracy"]["value"].as_f64().unwrap()
}

#[test]
fn the_smallest_model_that_loses_no_more_than_it_may_is_found() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", right(10)), folder.data("data.npz", 400, true), folder.path("run"));
    let report =
        json(&ends(0, &words(&model, &data, &run, &["--max-drop", "2"]), &["points lost, within 2"]));
    assert!(accuracy(&report, "original") == 1.0 && accuracy(&report, "result") >= 0.98, "{report}");
    let chosen = plan(&run, PLAN);
    // Ten of sixteen neurons do nothing; that the others are needed is seen.
    assert!((0.3..0.5).contains(&chosen.reached["params"].share), "{:?}", chosen.reached);
    assert_eq!(chosen.asked.max_drop, Some(2.0));
    let tried = trials(&run);
    let drop = |trial: &Value| trial["drop"].as_f64().unwrap();
    assert!(tried.iter().all(|trial| trial["holds"] == (drop(trial) <= 2.0)), "{tried:?}");
    // It is the smallest that held, and one that is hardly smaller did not.
    let share = |trial: &Value| {
        let plan = plan(&run, &format!("trial-{}.json", trial["number"]));
        plan.reached["params"].share
    };
    let smallest = tried.iter().filter(|trial| trial["holds"] == true).map(share).fold(1.0, f64::min);
    let largest = tried.iter().filter(|trial| trial["holds"] == false).map(share).fold(0.0, f64::max);
    assert_eq!(smallest, chosen.reached["params"].share);
    // A neuron is a sixteenth of the parameters.
    assert!(largest < smallest && smallest - largest < 0.07, "{smallest} {largest}");
    // All of it is in the report: the trials, and the chart with what they measured.
    let steps = report["report"]["ledger"].as_array().unwrap();
    let named =
        |name: &str| steps.iter().filter(|step| step["name"].as_str().unwrap().starts_with(name)).count();
    assert_eq!(named("trial "), tried.len());
    let frontier = &report["report"]["frontier"];
    assert_eq!(frontier["measured"].as_array().unwrap().len(), tried.len());
    assert_eq!(frontier["chosen"]["kept"].as_f64().unwrap(), smallest);

    // A budget beside it is the least that is tried.
    let run = folder.path("floor");
    ends(0, &words(&model, &data, &run, &["--max-drop", "2", "--keep", "params=0.8"]), &[]);
    assert_eq!(trials(&run).len(), 1);
    assert!((0.7..=0.8).contains(&plan(&run, PLAN).reached["params"].share));
    // Without labels it is agreement that may not drop.
    let (unlabelled, run) = (folder.data("unlabelled.npz", 400, false), folder.path("agreement"));
    ends(0, &words(&model, &unlabelled, &run, &["--max-drop", "2"]), &["agreement with the original"]);
    assert!((0.3..0.5).contains(&plan(&run, PLAN).reached["params"].share));
}

#[test]
fn a_drop_that_cannot_be_measured_or_met_is_refused() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", right(0)), folder.data("data.npz", 400, true));
    let run = folder.path("run");
    let refused = |more: &[&str], expected: &[&str]| {
        ends(2, &words(&model, &data, &run, more), expected);
        assert!(!Path::new(&run).exists());
    };
    refused(&["--max-drop", "-1"], &["plan.max_drop = -1"]);
    refused(&["--max-drop", "101"], &["plan.max_drop = 101"]);
    refused(&["--steps", "0", "--keep", "params=0.5"], &["plan.steps = 0"]);
    refused(&["--steps", "2"], &["--keep"]);
    let numbers = ["--max-drop", "1", "--objective", "values"];
    refused(&numbers, &["--max-drop", "'y' is taken for numbers", "--keep"]);
    let mut none = words(&model, &data, &run, &["--max-drop", "1"]);
    let at = none.iter().position(|word| word == "0.5").unwrap();
    none[at] = "0".into();
    ends(2, &none, &["--max-drop", "no samples are held out", "--validation-data"]);
    // Every neuron is needed.
    ends(3, &words(&model, &data, &run, &["--max-drop", "0"]), &["no smaller model", "the nearest", "loses"]);
    assert!(!Path::new(&run).join(PLAN).exists());
    // Guards that let nothing go.
    let guards = ["--max-drop", "1", "--max-removed", "0"];
    let expected = ["--max-drop: less than 0.01 %", "--max-removed", "--multiple", "--among"];
    ends(2, &words(&model, &data, &folder.path("guarded"), &guards), &expected);
    // A floor that cannot be met is a budget that cannot be.
    let run = folder.path("floor");
    ends(3, &words(&model, &data, &run, &["--max-drop", "1", "--keep", "params=0.001"]), &["cannot be met"]);
}

#[test]
fn steps_measure_anew_and_end_with_one_plan_on_the_original() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", right(10)), folder.data("data.npz", 400, true), folder.path("run"));
    let steps = ["--keep", "params=0.4", "--steps", "3"];
    let report = json(&ends(0, &words(&model, &data, &run, &steps), &["for step 2 of 3", "predicted"]));
    for name in ["evidence.safetensors", "step-2.evidence.safetensors", "step-3.evidence.safetensors"] {
        assert!(Path::new(&run).join(name).is_file(), "no {name}");
    }
    assert!(Path::new(&run).join("step-2.onnx").is_file() && !Path::new(&run).join("step-3.onnx").exists());
    let plans: Vec<Plan> = (1..=3).map(|number| plan(&run, &format!("trial-{number}.json"))).collect();
    let shares: Vec<f64> = plans.iter().map(|plan| plan.reached["params"].share).collect();
    assert!(shares[0] <= 0.737 && shares[1] <= 0.543 && shares[2] <= 0.4, "{shares:?}");
    assert!(shares[0] > 0.6 && shares[0] > shares[1] && shares[1] > shares[2], "{shares:?}");
    // What has gone stays gone, and the last step has the whole plan.
    let kept = |plan: &Plan| plan.groups[0].kept.clone();
    for pair in plans.windows(2) {
        assert!(kept(&pair[1]).iter().all(|unit| kept(&pair[0]).contains(unit)));
    }
    let chosen = plan(&run, PLAN);
    assert_eq!((&chosen.groups, &chosen.asked.keep), (&plans[2].groups, &vec!["params=0.4".to_owned()]));
    // The neurons that are needed stay, and the original's plan gives the run's model.
    assert_eq!(kept(&chosen), [0, 1, 2, 3, 4, 5]);
    let applied = folder.path("applied.onnx");
    ends(0, &["apply", &model, &format!("{run}/{PLAN}"), "-o", &applied], &[]);
    assert!(std::fs::read(applied).unwrap() == folder.bytes("run", "pruned.onnx"));
    assert!(accuracy(&report, "result") > 0.99);
    // Every step says what it predicted and what was measured, in the log and in the report.
    let tried = trials(&run);
    let number = |trial: &Value, key: &str| trial[key].as_f64().unwrap();
    assert!(tried.iter().all(|trial| number(trial, "predicted") >= 0.0 && number(trial, "change") >= 0.0));
    assert_eq!(tried.iter().map(|trial| number(trial, "of_step")).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    let ledger = report["report"]["ledger"].as_array().unwrap();
    let quantities: Vec<&Value> = ledger
        .iter()
        .filter(|step| step["name"].as_str().unwrap().starts_with("trial "))
        .map(|step| &step["quantities"][0])
        .collect();
    assert!(
        quantities.len() == 3 && quantities.iter().all(|q| q["predicted"]["value"].is_number()),
        "{quantities:?}"
    );
    let frontier = &report["report"]["frontier"];
    assert_eq!(frontier["predicted"].as_array().unwrap().len(), 3);
    // What was chosen changes the original by all steps.
    let sum: f64 = tried.iter().map(|trial| number(trial, "predicted")).sum();
    let change = quantity(&report["report"], "plan", "change of the outputs");
    assert_eq!(change["predicted"]["value"], frontier["chosen"]["change"]);
    assert!((change["predicted"]["value"].as_f64().unwrap() - sum).abs() < 1e-9, "{change} {tried:?}");
    // Kept and pruned units of the layer that makes them.
    assert_eq!(report["report"]["layers"][0]["units"]["kept"], 6);
    assert_eq!(report["report"]["layers"][0]["units"]["removed"], 10);

    // Nothing of it is left for another choice.
    ends(0, &words(&model, &data, &run, &["--keep", "params=0.5", "--restart"]), &[]);
    assert!(trials(&run).is_empty());
    let left = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.map(|name| name.to_string_lossy().into_owned()).all(|name| !name.contains("-2.")));
}

#[test]
fn what_is_counted_in_parts_is_told_of_these_parts() {
    let folder = Folder::new();
    let deep = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &normal(&[4, 24], 1))
        .constant("v", &normal(&[24, 20], 3))
        .constant("u", &normal(&[20, 3], 5))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("MatMul", &["i", "v"], &["j"])
        .node("Relu", &["j"], &["k"])
        .node("MatMul", &["k", "u"], &["y"])
        .output("y");
    let (model, data) = (folder.model("model.onnx", deep), folder.data("data.npz", 200, true));
    for resource in ["params", "bytes", "macs"] {
        let run = folder.path(resource);
        let keep = format!("{resource}=0.5");
        let more = ["--keep", &keep, "--count", "v,u"];
        let report = json(&ends(0, &words(&model, &data, &run, &more), &[]));
        let report = &report["report"];
        let name = format!("{resource} of v, u kept");
        let kept = quantity(report, "prune", &name);
        let value = |of: &str| kept[of]["value"].as_f64().unwrap();
        assert!((value("predicted") - value("measured")).abs() < 1e-9 && value("measured") <= 0.5, "{kept}");
        assert_eq!(quantity(report, "plan", &name)["predicted"], kept["predicted"]);
        let page = std::fs::read_to_string(Path::new(&run).join(REPORT_HTML)).unwrap();
        assert!(page.contains(" of v, u kept"));
    }
    // What implants cost there is not measured.
    let more = ["--keep", "params=0.6", "--count", "v", "--implant", "0.5"];
    let report = json(&ends(0, &words(&model, &data, &folder.path("implants"), &more), &[]));
    quantity(&report["report"], "plan", "params of v kept");
    let steps = report["report"]["ledger"].as_array().unwrap();
    let pruned = steps.iter().find(|step| step["name"] == "prune").unwrap();
    assert_eq!(pruned["quantities"], json("[]"));
}

#[test]
fn what_numbers_change_by_is_predicted_and_measured_in_one_unit() {
    let folder = Folder::new();
    let data = folder.data("data.npz", 200, false);
    let told = |scale: f32, more: &[&str]| {
        let times = |tensor: Tensor| {
            let values: Vec<f32> = tensor.to_f64_vec().unwrap().iter().map(|x| scale * *x as f32).collect();
            Tensor::from_slice(tensor.shape().to_vec(), &values).unwrap()
        };
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "4"])
            .constant("w", &normal(&[4, 16], 1))
            .constant("b", &normal(&[16], 2))
            .constant("v", &times(normal(&[16, 3], 3)))
            .constant("c", &times(normal(&[3], 4)))
            .node("Gemm", &["x", "w", "b"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("Gemm", &["r", "v", "c"], &["numbers"])
            .output("numbers");
        let name = format!("{scale}-{}", more.len());
        let model = folder.model(&format!("{name}.onnx"), model);
        let more = [&["--objective", "values", "--keep", "units=0.6"], more].concat();
        json(&ends(0, &words(&model, &data, &folder.path(&name), &more), &[]))["report"].take()
    };
    let value = |value: &Value| value["value"].as_f64().unwrap();
    for (step, more) in [
        ("compensated model on validation data", &[][..]),
        ("trial 1, step 1 of 2: units=0.7746", &["--steps", "2"]),
    ] {
        let [one, thousand] = [1.0, 1000.0].map(|scale| {
            let report = told(scale, more);
            let change = quantity(&report, step, "change of the outputs");
            assert_eq!(change["unit"], "number");
            let last = report["frontier"]["measured"].as_array().unwrap().last().unwrap().clone();
            assert_eq!(last["change"], change["measured"]["value"]);
            let metrics = &report["pruned"]["validation"]["metrics"];
            [value(&change["predicted"]), value(&change["measured"]), value(&metrics["distance"])]
        });
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.01, "{step}: {one:?} {thousand:?}");
        near(thousand[0], 1e6 * one[0]);
        near(thousand[1], 1e6 * one[1]);
        // Over the variance.
        near(thousand[2], one[2]);
    }
}

#[test]
fn methods_without_evidence_score_the_models_of_steps() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", right(10)), folder.data("data.npz", 200, true), folder.path("run"));
    let steps = ["--keep", "params=0.4,macs=0.5", "--steps", "2", "--method", "magnitude"];
    let report = json(&ends(0, &words(&model, &data, &run, &steps), &[]));
    let [first, last] = [1, 2].map(|number| plan(&run, &format!("trial-{number}.json")));
    assert!(last.groups[0].kept.iter().all(|unit| first.groups[0].kept.contains(unit)));
    assert!(last.reached["params"].share <= 0.4 && last.reached["macs"].share <= 0.5);
    // Nothing was measured that would predict.
    assert!(last.predicted.is_none() && report["report"]["frontier"].is_null());
    assert!(trials(&run).iter().all(|trial| trial["change"].is_number() && trial["predicted"].is_null()));
}

#[test]
fn a_limit_that_the_model_meets_does_not_keep_trials_out_of_the_log() {
    let folder = Folder::new();
    let (model, data, run) =
        (folder.model("model.onnx", right(10)), folder.data("data.npz", 200, true), folder.path("run"));
    let steps = ["--keep", "params=0.5,macs=500G", "--steps", "2", "--method", "magnitude"];
    let report = json(&ends(0, &words(&model, &data, &run, &steps), &["params=0.7071, macs=500G"]));
    let keep: Vec<Value> = trials(&run).iter().map(|trial| trial["keep"].clone()).collect();
    assert_eq!(keep, [["params=0.7071", "macs=500G"], ["params=0.5", "macs=500G"]].map(Value::from));
    let ledger = report["report"]["ledger"].as_array().unwrap();
    let tried = ledger.iter().filter(|step| step["name"].as_str().unwrap().starts_with("trial "));
    assert_eq!(tried.count(), 2);
}

#[test]
fn a_choice_that_is_killed_at_any_moment_goes_on_to_the_same_bytes() {
    const KILLS: usize = 10;
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", right(10)), folder.data("data.npz", 400, true));
    let both = ["--max-drop", "2", "--steps", "3"];
    let words = |run: &str| words(&model, &data, &folder.path(run), &both);
    let began = Instant::now();
    ends(0, &words("whole"), &[]);
    let whole = began.elapsed().as_secs_f64();
    let expected = [MODEL, PLAN, "pruned.onnx", "step-1.onnx"].map(|name| folder.bytes("whole", name));
    let numbers = |run: &str| -> Vec<Value> {
        trials(&folder.path(run)).iter().map(|trial| trial["number"].clone()).collect()
    };
    let mut rng = Rng::new(2, "kills", 0, 0);
    let mut killed = 0;
    for number in 0.. {
        let run = format!("run{number}");
        for _ in 0..5 {
            let mut child = start(&words(&run));
            std::thread::sleep(Duration::from_secs_f64(rng.uniform() * whole));
            killed += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        ends(0, &words(&run), &[]);
        let found = [MODEL, PLAN, "pruned.onnx", "step-1.onnx"].map(|name| folder.bytes(&run, name));
        assert!(found == expected, "{run} differs from the run that was not killed");
        assert_eq!(numbers(&run), numbers("whole"));
        if killed >= KILLS {
            break;
        }
    }
}
