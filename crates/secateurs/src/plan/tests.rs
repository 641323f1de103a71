//! Plans are readable, come back as they were, and are refused where they do not fit.

use secateurs_graph::Graph;
use secateurs_graph::coupling::{CouplingOptions, Selection};
use secateurs_graph::surgery::Choice;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::{Plan, PlannedForm, PlannedGroup, PlannedImplant, json, parameter_names};
use crate::pipeline::{PlanOptions, apply, plan};
use crate::search::Budget;

/// `y = relu(x W) V`, 4 inputs, 6 neurons.
fn graph(last: f32) -> Graph {
    let weights: Vec<f32> = (0..23).map(|v| v as f32).chain([last]).collect();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &Tensor::from_slice(vec![4, 6], &weights).unwrap())
        .constant("v", &Tensor::from_slice(vec![6, 4], &weights).unwrap())
        .node("MatMul", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("MatMul", &["i", "v"], &["y"]);
    Graph::from_model(model.output("y").build().unwrap()).unwrap()
}

fn half(graph: &Graph) -> Plan {
    let options = PlanOptions {
        budget: Budget::new(vec!["params=0.5".parse().unwrap()]).unwrap(),
        ..PlanOptions::default()
    };
    plan(graph, &options).unwrap()
}

#[test]
fn a_plan_is_readable_and_comes_back() {
    let plan = half(&graph(23.0));
    let text = json::to_text(&plan).unwrap();
    assert!(
        text.contains(
            "      \"parameters\": [\"w[1]\", \"v[0]\"],\n      \"units\": 6,\n      \"kept\": [3, 4, 5]\n"
        ),
        "{text}"
    );
    assert!(text.contains("\"sizes\": {\n      \"batch\": 1\n    }"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    plan.write(&path).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nothing = Plan { groups: Vec::new(), ..plan };
    assert!(json::to_text(&nothing).unwrap().contains("\"groups\": []"));
}

#[test]
fn applying_gives_what_was_planned() {
    let graph = graph(23.0);
    let plan = half(&graph);
    let applied = apply(&graph, &plan).unwrap();
    assert_eq!((applied.before.params, applied.after.params), (48, 24));
    assert_eq!((applied.units, applied.groups), ([6, 3], [1, 1]));
    assert!(applied.exact && applied.left_alone.is_none());
    assert_eq!(applied.masked.cost().params, 48);
}

/// Halves of one layer's neurons go two ways between the same parameters: only their order tells them apart.
#[test]
fn of_groups_with_the_same_parameters_the_right_one_is_found() {
    let values = |n: usize| (0..n).map(|v| (v as f32).sin()).collect::<Vec<f32>>();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &Tensor::from_slice(vec![4, 16], &values(64)).unwrap())
        .constant("v", &Tensor::from_slice(vec![16, 3], &values(48)).unwrap())
        .constant("halves", &Tensor::from_slice(vec![2], &[8i64, 8]).unwrap())
        .node("MatMul", &["x", "w"], &["h"])
        .node_with("Split", &["h", "halves"], &["a", "b"], vec![AttributeProto::from_int("axis", 1)])
        .node("Relu", &["a"], &["c"])
        .node("Tanh", &["b"], &["d"])
        .node_with("Concat", &["c", "d"], &["e"], vec![AttributeProto::from_int("axis", 1)])
        .node("MatMul", &["e", "v"], &["y"]);
    let graph = Graph::from_model(model.output("y").build().unwrap()).unwrap();
    let coupling = graph.coupling(&CouplingOptions::default());
    let [first, second] = &coupling.groups[..] else { panic!("{} groups", coupling.groups.len()) };
    assert_eq!(parameter_names(&graph, first), parameter_names(&graph, second));
    for (group, kept) in [(0, vec![1, 2]), (1, vec![0, 5, 6])] {
        let mut selection = Selection::all(&coupling);
        selection.kept[group] = kept;
        let choice = Choice::from(selection);
        let plan = Plan { groups: PlannedGroup::of_choice(&graph, &coupling, &choice), ..half(&graph) };
        assert_eq!(plan.choice(&graph, &coupling).unwrap(), choice);
    }
}

#[test]
fn plans_that_do_not_fit_are_refused_by_group_and_remedy() {
    let model = graph(23.0);
    let coupling = model.coupling(&CouplingOptions::default());
    let plan = half(&model);
    let refused = |change: fn(&mut Plan), words: &[&str]| {
        let mut plan = plan.clone();
        change(&mut plan);
        let error = plan.resolve(&model, &coupling).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(|p| p.groups[0].kept = vec![0, 6], &["'w[1]'", "unit 6", "0 to 5"]);
    refused(|p| p.groups[0].kept = vec![2, 2], &["'w[1]'", "unit 2 twice"]);
    refused(|p| p.groups[0].kept.clear(), &["'w[1]'", "no unit"]);
    refused(|p| p.groups[0].units = 7, &["7 units", "6 in the model", "again"]);
    refused(|p| p.groups[0].parameters[1] = "u[0]".into(), &["'w[1]'", "not among", "inspect --groups"]);
    refused(|p| p.groups[0].parameters.clear(), &["names no parameter"]);
    refused(|p| p.groups.push(p.groups[0].clone()), &["not among"]);
    let other = graph(24.0);
    let error = plan.resolve(&other, &coupling).unwrap_err().to_string();
    assert!(error.contains("another model"), "{error}");
}

/// `y = v * relu(w * x)` of 3×3 convolutions, 2 channels, 6 filters.
fn convolutions() -> Graph {
    let weights: Vec<f32> = (0..108).map(|v| ((v * 7) % 13) as f32 - 6.0).collect();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2", "7", "7"])
        .constant("w", &Tensor::from_slice(vec![6, 2, 3, 3], &weights).unwrap())
        .constant("v", &Tensor::from_slice(vec![2, 6, 3, 3], &weights).unwrap())
        .node("Conv", &["x", "w"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("Conv", &["i", "v"], &["y"]);
    Graph::from_model(model.output("y").build().unwrap()).unwrap()
}

fn implanting(graph: &Graph) -> Plan {
    let mut plan = half(graph);
    plan.groups[0].kept = vec![0, 1, 3, 5];
    plan.groups[0].implanted = vec![0, 3];
    plan.implants = vec![PlannedImplant { node: "h".into(), form: PlannedForm::Pointwise, bias: true }];
    plan
}

#[test]
fn a_plan_with_implants_is_readable_comes_back_and_is_applied() {
    let graph = convolutions();
    let plan = implanting(&graph);
    let text = json::to_text(&plan).unwrap();
    assert!(text.contains("\"kept\": [0, 1, 3, 5],\n      \"implanted\": [0, 3]\n"), "{text}");
    let line = "\"node\": \"h\",\n      \"form\": \"pointwise\",\n      \"bias\": true\n";
    assert!(text.contains(line), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    plan.write(&path).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan);
    let applied = apply(&graph, &plan).unwrap();
    // Two rows of 3×3, two of 1×1 with a bias; four columns of 3×3.
    assert_eq!(applied.after.params, 2 * 18 + 2 * 2 + 2 + 2 * 4 * 9);
    // What the border of the 3×3 convolution sees is cut off.
    assert_eq!((applied.implanted, applied.gathers, applied.slices), (2, 0, 1));
    let low = Plan {
        implants: vec![PlannedImplant {
            node: "h".into(),
            form: PlannedForm::LowRank { rank: 2 },
            bias: false,
        }],
        ..plan
    };
    let text = json::to_text(&low).unwrap();
    assert!(text.contains("\"form\": \"low_rank\",\n      \"rank\": 2\n"), "{text}");
    let error = apply(&graph, &low).err().unwrap().to_string();
    assert!(error.contains("'h'") && error.contains("more than one tap"), "{error}");
}

#[test]
fn plans_of_the_first_version_are_read() {
    let graph = graph(23.0);
    let plan = half(&graph);
    let text = json::to_text(&plan).unwrap();
    assert!(!text.contains("implant"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    std::fs::write(&path, text.replace("\"format_version\": 2", "\"format_version\": 1")).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan);
    std::fs::write(&path, text.replace("\"format_version\": 2", "\"format_version\": 3")).unwrap();
    assert!(matches!(Plan::read(&path).unwrap_err(), super::PlanError::Version { found: 3, .. }));
}

#[test]
fn implants_that_do_not_fit_are_refused_by_node_and_remedy() {
    let model = convolutions();
    let coupling = model.coupling(&CouplingOptions::default());
    let plan = implanting(&model);
    let refused = |change: fn(&mut Plan), words: &[&str]| {
        let mut plan = plan.clone();
        change(&mut plan);
        let error = plan.resolve(&model, &coupling).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(|p| p.groups[0].implanted = vec![2], &["'w[0]'", "unit 2", "does not keep"]);
    refused(|p| p.groups[0].implanted = vec![3, 3], &["'w[0]'", "unit 3 twice"]);
    refused(|p| p.implants.clear(), &["'w[0]'", "unit 0", "add 'make_h' to 'implants'"]);
    refused(|p| p.groups[0].implanted.clear(), &["'h'", "makes no implanted unit"]);
    refused(|p| p.implants[0].node = "z".into(), &["'z'", "no node"]);
    refused(|p| p.implants[0].node = "i".into(), &["'i'", "(Relu)", "cannot be implanted"]);
    refused(|p| p.implants.push(p.implants[0].clone()), &["'h'", "twice"]);
    refused(|p| p.implants[0].form = PlannedForm::LowRank { rank: 0 }, &["'h'", "rank 0"]);
}

#[test]
fn ranks_above_that_of_the_rows_are_refused_before_anything_is_allocated() {
    let model = graph(23.0);
    let coupling = model.coupling(&CouplingOptions::default());
    let mut plan = half(&model);
    plan.groups[0].implanted = plan.groups[0].kept.clone();
    let mut of_rank = |rank| {
        let form = PlannedForm::LowRank { rank };
        plan.implants = vec![PlannedImplant { node: "h".into(), form, bias: false }];
        plan.choice(&model, &coupling).map_err(|error| error.to_string())
    };
    assert!(of_rank(4).is_ok());
    for rank in [5, 1 << 40, usize::MAX] {
        let error = of_rank(rank).unwrap_err();
        assert!(error.contains("'h'") && error.contains(&format!("rank {rank}; give 1 to 4")), "{error}");
    }
}
