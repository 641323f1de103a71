//! `compress` and `plan` with implants.

mod support;

use std::path::Path;

use secateurs::data::npz;
use secateurs::plan::{Plan, PlannedForm};
use secateurs::report::{Count, Report};
use secateurs::run::{COMPENSATED, METRICS, PLAN, PRUNED, REPORT_JSON};
use secateurs_graph::Graph;
use secateurs_onnx::half::f16;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::proto::attribute_proto::AttributeType;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};
use support::{Folder, ends, normal};

/// Layers of 24 and 20 neurons.
fn deep() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &normal(&[4, 24], 1))
        .constant("b", &normal(&[24], 2))
        .constant("v", &normal(&[24, 20], 3))
        .constant("c", &normal(&[20], 4))
        .constant("u", &normal(&[20, 3], 5))
        .node("Gemm", &["x", "w", "b"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("Gemm", &["i", "v", "c"], &["j"])
        .node("Relu", &["j"], &["k"])
        .node("MatMul", &["k", "u"], &["y"])
        .output("y")
}

/// A layer whose weight is computed.
fn without_places() -> ModelBuilder {
    let to = AttributeProto {
        name: Some("to".into()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(1),
        ..AttributeProto::default()
    };
    let halves = Tensor::from_slice(vec![4, 12], &[0.5f64; 48]).unwrap();
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &halves)
        .constant("two", &Tensor::scalar(2.0f64))
        .constant("v", &normal(&[12, 3], 2))
        .node("Mul", &["w", "two"], &["twice"])
        .node_with("Cast", &["twice"], &["cast"], vec![to])
        .node("MatMul", &["x", "cast"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("MatMul", &["i", "v"], &["y"])
        .output("y")
}

fn words(model: &str, data: &str, run: &str, more: &[&str]) -> Vec<String> {
    let fixed =
        ["compress", model, "--data", data, "-o", run, "--threads", "1", "--no-latency", "--epochs", "0"];
    fixed.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_share_of_what_would_go_is_implanted_and_fitted() {
    let folder = Folder::new();
    let (model, data) = (folder.path("model.onnx"), folder.data("data.npz", 400, true));
    // A node need not have a name.
    let mut nameless = deep().build().unwrap();
    nameless.proto.graph.as_mut().unwrap().node[2].name = None;
    write(&nameless, Path::new(&model), &WriteOptions::default()).unwrap();
    for (start, more) in
        [("least-squares", &["--compensate", "none"][..]), ("zero", &[]), ("least-squares", &[])]
    {
        let run = folder.path(&format!("run-{start}-{}", more.len()));
        let implant = ["--keep", "params=0.6", "--implant", "0.5", "--implant-start", start];
        ends(0, &words(&model, &data, &run, &[&implant[..], more].concat()), &[]);
        let plan = Plan::read(&Path::new(&run).join(PLAN)).unwrap();
        let implanted: usize = plan.groups.iter().map(|group| group.implanted.len()).sum();
        assert!(implanted >= 4, "{plan:?}");
        assert!(
            plan.implants
                .iter()
                .all(|implant| matches!(implant.form, PlannedForm::LowRank { rank } if rank > 0))
        );
        let reached = &plan.reached["params"];
        assert!(reached.share <= 0.6);
        // What was counted is what is there, before and behind compensation, which changes numbers alone.
        let params = |file: &str| Graph::read(&Path::new(&run).join(file)).unwrap().cost().params as f64;
        assert_eq!(params(PRUNED), reached.kept);
        if more.is_empty() {
            assert_eq!(params(COMPENSATED), reached.kept);
        }
        // The second matrix of a pair starts from zero, or from what its rows make.
        let pruned = Graph::read(&Path::new(&run).join(PRUNED)).unwrap();
        let seconds: Vec<f64> = pruned
            .values
            .values()
            .filter(|value| value.name.contains("second"))
            .filter_map(|value| pruned_tensor(&pruned, &value.name))
            .flatten()
            .collect();
        assert!(!seconds.is_empty());
        assert_eq!(seconds.iter().all(|x| *x == 0.0), start == "zero");
        let log = std::fs::read_to_string(Path::new(&run).join(METRICS)).unwrap();
        assert!(log.contains("\"event\":\"pruned\""), "{log}");
        // Implants are of the layer whose rows they compute.
        let report: Report = serde_json::from_slice(&folder.bytes(&run, REPORT_JSON)).unwrap();
        let layers = &report.layers;
        assert_eq!(layers.iter().map(|layer| layer.parameters[1]).sum::<u64>(), report.result.parameters);
        let macs = |count: &Count| match count {
            Count::Number(n) => *n,
            Count::Formula(formula) => panic!("{formula}"),
        };
        assert_eq!(layers.iter().map(|layer| macs(&layer.macs[1])).sum::<u64>(), macs(&report.result.macs));
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["make_h", "producing 'j'", "make_y"]);
        let units = layers.iter().filter_map(|layer| Some((layer.channels[1], layer.units.as_ref()?)));
        let units: Vec<_> = units.collect();
        assert!(units.iter().any(|(_, units)| units.implanted > 0));
        assert!(units.iter().all(|(channels, units)| *channels == units.kept + units.implanted), "{units:?}");
    }
}

#[test]
fn a_search_that_ends_early_implants_within_its_budget() {
    let folder = Folder::new();
    let (model, data) = (folder.model("model.onnx", deep()), folder.data("data.npz", 400, true));
    // All steps hold, the first does not, the second does not.
    for most in ["90", "1", "12"] {
        let run = folder.path(&format!("run-{most}"));
        let more = ["--keep", "params=0.3", "--steps", "2", "--max-drop", most, "--implant", "0.5"];
        ends(0, &words(&model, &data, &run, &[&more[..], &["--validation", "0.5"]].concat()), &[]);
        let plan = Plan::read(&Path::new(&run).join(PLAN)).unwrap();
        let params = Graph::read(&Path::new(&run).join(PRUNED)).unwrap().cost().params as f64;
        assert_eq!(params, plan.reached["params"].kept, "{most}: {plan:?}");
    }
}

#[test]
fn implants_of_16_bit_weights_are_checked_as_they_compute() {
    let folder = Folder::new();
    let half = |tensor: Tensor| {
        let values: Vec<f16> = tensor.to_f64_vec().unwrap().into_iter().map(f16::from_f64).collect();
        Tensor::from_slice(tensor.shape().to_vec(), &values).unwrap()
    };
    let to = |element_type: ElementType| vec![AttributeProto::from_int("to", element_type.to_onnx().into())];
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &half(normal(&[4, 24], 1)))
        .constant("v", &half(normal(&[24, 20], 3)))
        .constant("u", &normal(&[20, 3], 5))
        .node_with("Cast", &["w"], &["wide"], to(ElementType::Float32))
        .node_with("Cast", &["v"], &["vide"], to(ElementType::Float32))
        .node("MatMul", &["x", "wide"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("MatMul", &["i", "vide"], &["j"])
        .node("Relu", &["j"], &["k"])
        .node("MatMul", &["k", "u"], &["y"])
        .output("y");
    let (model, data) = (folder.model("model.onnx", model), folder.data("data.npz", 200, true));
    for method in ["joint", "magnitude"] {
        let run = folder.path(method);
        let more = ["--keep", "params=0.6", "--implant", "0.5", "--method", method];
        ends(0, &words(&model, &data, &run, &more), &[]);
        assert!(!Plan::read(&Path::new(&run).join(PLAN)).unwrap().implants.is_empty());
    }
}

fn pruned_tensor(graph: &Graph, name: &str) -> Option<Vec<f64>> {
    let (id, _) = graph.values.iter().find(|(_, value)| value.name == name)?;
    graph.tensor(id)?.to_f64_vec().ok()
}

#[test]
fn implants_without_a_place_and_shares_that_are_none_are_refused() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", without_places());
    let plan = folder.path("plan.json");
    let words = |share: &str| -> Vec<String> {
        ["plan", &model, "--keep", "params=0.5", "--method", "random", "--implant", share, "-o", &plan]
            .map(str::to_owned)
            .to_vec()
    };
    ends(2, &words("0.1"), &["the model has no place for implants", "plan without --implant"]);
    // Nothing says which would help.
    ends(
        0,
        &words("auto"),
        &["no unit is implanted: 'auto' goes by what sets of units are predicted to change"],
    );
    assert!(Plan::read(Path::new(&plan)).unwrap().implants.is_empty());
    ends(2, &words("2"), &["implant is none, auto, or a share of the removed units such as 0.1"]);
    let layered = folder.model("deep.onnx", deep());
    // Few units go, fewer are implanted, and no layer makes enough of them.
    let few =
        ["plan", &layered, "--keep", "units=0.9", "--method", "random", "--implant", "0.1", "-o", &plan];
    ends(0, &few, &["no unit is implanted, though a share of 0.1 was asked for"]);
    let many =
        ["plan", &layered, "--keep", "params=0.6", "--method", "random", "--implant", "0.5", "-o", &plan];
    ends(0, &many, &[]);
    let smaller = folder.path("smaller.onnx");
    ends(0, &["apply", &layered, &plan, "-o", &smaller], &["the implants start from zero"]);
    let words =
        ["plan", &layered, "--keep", "units=0.5", "--scope", "layer", "--implant", "0.1", "-o", &plan];
    ends(2, &words, &["implants cannot be chosen with scope=layer and a limit on units"]);
}

#[test]
fn activations_without_second_moments_are_refused() {
    let folder = Folder::new();
    let model = folder.model("model.onnx", deep());
    for (name, number) in [("nan.npz", f32::NAN), ("infinite.npz", f32::INFINITY), ("huge.npz", 1e30)] {
        let mut x = vec![0.5f32; 160];
        x[5] = number;
        let path = folder.path(name);
        npz::write(Path::new(&path), &[("x", &Tensor::from_slice(vec![40, 4], &x).unwrap())]).unwrap();
        for method in ["joint", "magnitude"] {
            let more = ["--keep", "params=0.6", "--method", method, "--validation", "0"];
            ends(2, &words(&model, &path, &folder.path("run"), &more), &["model.onnx", "node", name]);
            std::fs::remove_dir_all(folder.path("run")).unwrap();
        }
    }
}
