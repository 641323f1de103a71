//! What tuning has for nets of residual blocks: learning rates by layer, dropout, hidden states of a teacher.

use secateurs_graph::coupling::{CouplingOptions, Selection};

use super::tests::{SAMPLES, graph, train, values, wave, whole};
use super::*;
use crate::data::{DataOptions, npz};
use crate::pipeline::{PlanOptions, PlanParts, apply, open_data, plan};
use crate::plan::{PlannedForm, PlannedImplant};
use crate::search::Budget;
use secateurs_onnx::half::f16;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

const WIDTH: usize = 8;

/// A stream of 8, of which the block reads the last 4 only; the first 4 are small.
fn net() -> Graph {
    net_of(ElementType::Float32)
}

/// The same with numbers of this type.
fn net_of(element_type: ElementType) -> Graph {
    let scaled = |shape: [usize; 2], f: f64, axis: usize, first: f64| {
        let numbers = wave(&shape, f, 0.5, 0.0).to_f64_vec().unwrap();
        let scale = |i: usize| if [i / shape[1], i % shape[1]][axis] < WIDTH / 2 { first } else { 1.0 };
        let numbers: Vec<f32> = numbers.iter().enumerate().map(|(i, x)| (x * scale(i)) as f32).collect();
        match element_type {
            ElementType::Float16 => {
                let numbers: Vec<f16> = numbers.into_iter().map(f16::from_f32).collect();
                Tensor::from_slice(shape.to_vec(), &numbers).unwrap()
            }
            _ => Tensor::from_slice(shape.to_vec(), &numbers).unwrap(),
        }
    };
    let model = ModelBuilder::new(17)
        .input("x", element_type, &["batch", "4"])
        .constant("stem", &scaled([4, WIDTH], 0.71, 1, 0.1))
        .constant("up", &scaled([WIDTH, 6], 1.3, 0, 0.0))
        .constant("down", &scaled([6, WIDTH], 0.9, 1, 0.1))
        .constant("head", &scaled([WIDTH, 3], 0.53, 0, 0.1))
        .node("MatMul", &["x", "stem"], &["before"])
        .node("MatMul", &["before", "up"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("MatMul", &["r", "down"], &["branch"])
        .node("Add", &["before", "branch"], &["after"])
        .node("MatMul", &["after", "head"], &["logits"]);
    graph(model.output("logits"))
}

fn data(folder: &Path, graph: &Graph) -> Arc<Dataset> {
    let y: Vec<i64> = (0..SAMPLES as i64).map(|i| i % 3).collect();
    let y = Tensor::from_slice(vec![SAMPLES], &y).unwrap();
    let path = folder.join("data.npz");
    npz::write(&path, &[("x", &wave(&[SAMPLES, 4], 0.37, 1.0, 0.0)), ("y", &y)]).unwrap();
    Arc::new(open_data(graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap())
}

/// Half of the stream goes: that with the small weights.
fn narrower(original: &Graph) -> Plan {
    let options = PlanOptions {
        budget: Budget::new(vec!["units=0.5".parse().unwrap()]).unwrap(),
        parts: PlanParts { among: vec!["stem".into()], ..PlanParts::default() },
        ..PlanOptions::default()
    };
    let plan = plan(original, &options).unwrap();
    assert_eq!(plan.groups.iter().map(|group| group.kept.clone()).collect::<Vec<_>>(), [[4, 5, 6, 7]]);
    plan
}

/// The loss of the first step.
fn first_loss(
    model: &Graph,
    teacher: &Graph,
    plan: Option<&Plan>,
    weight: Option<f64>,
) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    loss_in(folder.path(), model, teacher, plan, weight).map(|loss| loss.unwrap())
}

/// The loss of the first step that a training in a folder takes; none where it is at its end.
fn loss_in(
    folder: &Path,
    model: &Graph,
    teacher: &Graph,
    plan: Option<&Plan>,
    weight: Option<f64>,
) -> Result<Option<f64>, String> {
    secateurs_torch::load().unwrap();
    let data = data(folder, model);
    let options = TuneOptions { hidden_distillation: weight, epochs: 1, ..whole() };
    let job = TuneJob {
        graph: model,
        teacher: Some(teacher),
        teacher_cache: None,
        plan,
        data: &data,
        validation: None,
        outputs: &[],
        options: &options,
        device: Device::Cpu,
        folder,
    };
    let mut first = None;
    let ended = tune(&job, &mut |event| {
        if let Event::Step { loss, .. } = event {
            first.get_or_insert(*loss);
        }
        ControlFlow::Continue(())
    });
    ended.map(|_| first).map_err(|e| e.to_string())
}

#[test]
fn hidden_states_of_pruned_width_are_compared_with_the_kept_units() {
    let original = net();
    let plan = narrower(&original);
    let smaller = apply(&original, &plan).unwrap().graph;
    let plain = first_loss(&smaller, &original, None, None).unwrap();
    // The block does not read what goes, so that the states of the others stay as they are.
    let right = first_loss(&smaller, &original, Some(&plan), Some(100.0)).unwrap();
    assert!((right - plain).abs() < 1e-9, "{right} and {plain}");
    let mut wrong = plan.clone();
    wrong.groups[0].kept = vec![0, 5, 6, 7];
    let other = first_loss(&smaller, &original, Some(&wrong), Some(100.0)).unwrap();
    assert!(other > plain + 1.0, "{other} and {plain}");
    let unknown = first_loss(&smaller, &original, None, Some(100.0)).unwrap_err();
    assert!(unknown.contains("'after'") && unknown.contains("--plan"), "{unknown}");
}

/// All units stay; a node computes four of those that a parameter makes by an implant.
fn implanted(original: &Graph, node: &str, parameter: &str) -> Plan {
    let budget = Budget::new(vec!["units=0.5".parse().unwrap()]).unwrap();
    let mut plan = plan(original, &PlanOptions { budget, ..PlanOptions::default() }).unwrap();
    plan.groups.retain(|group| group.parameters[0] == format!("{parameter}[1]"));
    plan.groups[0].kept = (0..plan.groups[0].units).collect();
    plan.groups[0].implanted = vec![0, 1, 2, 3];
    plan.implants =
        vec![PlannedImplant { node: node.into(), form: PlannedForm::LowRank { rank: 2 }, bias: false }];
    plan
}

#[test]
fn states_in_another_order_are_not_compared() {
    let original = net();
    let stream = implanted(&original, "before", "stem");
    let mixed = apply(&original, &stream).unwrap().graph;
    let refused = first_loss(&mixed, &original, Some(&stream), Some(100.0)).unwrap_err();
    assert!(refused.contains("'after'") && refused.contains("implanted"), "{refused}");
    let inside = implanted(&original, "h", "up");
    let other = apply(&original, &inside).unwrap().graph;
    assert!(first_loss(&other, &original, Some(&inside), Some(100.0)).is_ok());
}

#[test]
fn a_training_that_compares_other_units_does_not_go_on() {
    let original = net();
    let right = narrower(&original);
    let mut wrong = right.clone();
    wrong.groups[0].kept = vec![0, 5, 6, 7];
    let smaller = apply(&original, &right).unwrap().graph;
    let folder = tempfile::tempdir().unwrap();
    let go_on = |plan| loss_in(folder.path(), &smaller, &original, plan, Some(100.0));
    go_on(Some(&right)).unwrap();
    let refused = go_on(Some(&wrong)).unwrap_err();
    assert!(refused.contains("other settings"), "{refused}");
    go_on(Some(&right)).unwrap();
}

#[test]
fn kept_indices_are_those_of_the_selection() {
    let original = net();
    let coupling = original.coupling(&CouplingOptions::default());
    let selection = narrower(&original).resolve(&original, &coupling).unwrap();
    let after = original.value_named("after").unwrap();
    assert_eq!(coupling.kept_indices(&selection, after, 1), Some(vec![4, 5, 6, 7]));
    assert_eq!(coupling.kept_indices(&Selection::all(&coupling), after, 1), None);
}

#[test]
fn hidden_states_need_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let model = net();
    let data = data(folder.path(), &model);
    let options = TuneOptions { hidden_distillation: Some(1.0), ..whole() };
    let run = train(&model, None, &data, &options, folder.path(), 1);
    assert!(run.result.unwrap_err().to_string().contains("--teacher"));
}

#[test]
fn layers_learn_the_slower_the_earlier_they_are() {
    let model = net();
    let change = |layer_decay: Option<f64>| {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path(), &model);
        let options = TuneOptions {
            layer_decay,
            epochs: 1,
            optimizer: Some(OptimizerKind::Sgd),
            learning_rate: Some(1e-2),
            momentum: Some(0.0),
            weight_decay: Some(0.0),
            ..whole()
        };
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        let tuned = &run.tuned().graph;
        ["stem", "up", "down", "head"].map(|name| {
            let change = values(tuned, name)
                .iter()
                .zip(values(&model, name))
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>();
            change.sqrt()
        })
    };
    let (all, decayed) = (change(None), change(Some(0.5)));
    for ((name, share), (all, decayed)) in
        ["stem", "up", "down", "head"].iter().zip([0.125, 0.25, 0.5, 1.0]).zip(all.iter().zip(decayed))
    {
        assert!(*all > 0.0 && (decayed / all - share).abs() < 0.01 * share, "{name}: {decayed} of {all}");
    }
}

#[test]
fn dropout_is_there_while_training_only() {
    let model = net();
    let run = |dropout: Option<f64>| {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path(), &model);
        let options = TuneOptions { dropout, epochs: 3, ..whole() };
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        let ops: Vec<String> =
            run.tuned().graph.nodes.values().map(|node| node.op.name().to_owned()).collect();
        (run.losses(), values(&run.tuned().graph, "down"), ops, run.tuned().notes.join("; "))
    };
    let (plain, dropped, again) = (run(None), run(Some(0.5)), run(Some(0.5)));
    assert_ne!(plain.0, dropped.0);
    assert_eq!((&dropped.0, &dropped.1), (&again.0, &again.1));
    assert_ne!(values(&model, "down"), dropped.1, "what was trained is written");
    assert_eq!(plain.2, dropped.2);
    assert!(dropped.3.contains("1 places drop"), "{}", dropped.3);
}

#[test]
fn hidden_states_of_16_bits_are_compared() {
    let losses = [ElementType::Float32, ElementType::Float16].map(|element_type| {
        let teacher = net_of(element_type);
        let model = apply(&teacher, &narrower(&teacher)).unwrap().graph;
        first_loss(&model, &teacher, Some(&narrower(&teacher)), Some(1.0)).unwrap()
    });
    assert!((losses[0] - losses[1]).abs() < 0.01 * losses[0], "{losses:?}");
}
