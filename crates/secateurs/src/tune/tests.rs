//! Training against PyTorch's numbers, through interruptions, and out of divergence.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::SessionOptions;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};
use secateurs_torch::tch::Device;

use super::*;
use crate::data::{Augment, DataOptions, npz};
use crate::pipeline::{open_data, open_fixed_data};

pub(super) const SAMPLES: usize = 24;

/// `a · sin(f·i + 0.3)`, rounded to 32 bits.
pub(super) fn wave(shape: &[usize], f: f64, a: f64, offset: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (offset + a * (f * i as f64 + 0.3).sin()) as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// Two channels of 4 × 4, to three classes.
pub(super) fn net(shift: f64) -> ModelBuilder {
    net_of("batch", shift)
}

/// The same in batches of this size.
pub(super) fn net_of(batch: &str, shift: f64) -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &[batch, "2", "4", "4"])
        .constant("conv", &wave(&[4, 2, 3, 3], 0.71 + shift, 0.4, 0.0))
        .constant("gamma", &wave(&[4], 1.1 + shift, 0.3, 1.0))
        .constant("beta", &wave(&[4], 0.9 + shift, 0.2, 0.0))
        .constant("mean", &Tensor::from_slice(vec![4], &[0f32; 4]).unwrap())
        .constant("variance", &Tensor::from_slice(vec![4], &[1f32; 4]).unwrap())
        .constant("fc", &wave(&[4, 3], 0.53 + shift, 0.6, 0.0))
        .constant("bias", &wave(&[3], 1.7 + shift, 0.1, 0.0))
        .node_with("Conv", &["x", "conv"], &["c"], vec![AttributeProto::from_ints("pads", [1; 4])])
        .node("BatchNormalization", &["c", "gamma", "beta", "mean", "variance"], &["n"])
        .node("Relu", &["n"], &["r"])
        .node("GlobalAveragePool", &["r"], &["p"])
        .node("Flatten", &["p"], &["f"])
        .node("MatMul", &["f", "fc"], &["l"])
        .node("Add", &["l", "bias"], &["logits"])
        .output("logits")
}

pub(super) fn graph(model: ModelBuilder) -> Graph {
    Graph::from_model(model.build().unwrap()).unwrap()
}

/// The same samples for every test; `y` where they are labelled.
pub(super) fn data(folder: &Path, graph: &Graph, labelled: bool) -> Arc<Dataset> {
    data_of(SAMPLES, folder, graph, labelled)
}

/// The same in batches of the size that the model fixes, as where its batch cannot be freed.
pub(super) fn fixed_data(folder: &Path, graph: &Graph, labelled: bool) -> Arc<Dataset> {
    data(folder, graph, labelled);
    let path = folder.join("data.npz");
    Arc::new(open_fixed_data(graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap())
}

fn data_of(samples: usize, folder: &Path, graph: &Graph, labelled: bool) -> Arc<Dataset> {
    let x = wave(&[samples, 2, 4, 4], 0.37, 1.0, 0.0);
    let y: Vec<i64> = (0..samples as i64).map(|i| (i * 7 + i / 3) % 3).collect();
    let y = Tensor::from_slice(vec![samples], &y).unwrap();
    let arrays: &[(&str, &Tensor)] = if labelled { &[("x", &x), ("y", &y)] } else { &[("x", &x)] };
    let path = folder.join("data.npz");
    npz::write(&path, arrays).unwrap();
    Arc::new(open_data(graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap())
}

/// Every epoch is one step over all samples, in 64 bits.
pub(super) fn whole() -> TuneOptions {
    TuneOptions {
        epochs: 6,
        batch_size: SAMPLES,
        warmup: 0.0,
        schedule: Schedule::Constant,
        precision: Some(TunePrecision::F64),
        validation: 0.0,
        ..TuneOptions::default()
    }
}

pub(super) struct Run {
    pub(super) result: Result<Tuned, TuneError>,
    events: Vec<Event>,
}

impl Run {
    pub(super) fn losses(&self) -> Vec<f64> {
        let losses = self.events.iter().filter_map(|event| match event {
            Event::Step { loss, .. } => Some(*loss),
            _ => None,
        });
        losses.collect()
    }

    /// The steps that were returned to, and what learning rates were multiplied with from then on.
    fn rollbacks(&self) -> Vec<(usize, f64)> {
        let rollbacks = self.events.iter().filter_map(|event| match event {
            Event::RolledBack { to, learning_rate_factor, .. } => Some((*to, *learning_rate_factor)),
            _ => None,
        });
        rollbacks.collect()
    }

    pub(super) fn tuned(&self) -> &Tuned {
        self.result.as_ref().unwrap()
    }
}

/// Trains, up to a step.
pub(super) fn train(
    graph: &Graph,
    teacher: Option<&Graph>,
    data: &Arc<Dataset>,
    options: &TuneOptions,
    folder: &Path,
    until: usize,
) -> Run {
    secateurs_torch::load().unwrap();
    let job = TuneJob {
        graph,
        teacher,
        teacher_cache: None,
        plan: None,
        data,
        validation: None,
        outputs: &[],
        options,
        device: Device::Cpu,
        folder,
    };
    let mut events = Vec::new();
    let result = tune(&job, &mut |event| {
        events.push(event.clone());
        let at_end = matches!(event, Event::Step { step, .. } if *step >= until);
        if at_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    Run { result, events }
}

pub(super) fn values(graph: &Graph, name: &str) -> Vec<f64> {
    graph.tensor(graph.value_named(name).unwrap()).unwrap().to_f64_vec().unwrap()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} is not {expected}");
    }
}

// The numbers below are PyTorch's (2.11, double precision) for the same net, data and settings, with weight decay on `conv` and
// `fc` alone.

#[test]
fn sgd_gives_the_losses_and_statistics_of_pytorch() {
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(net(0.0)));
    let options = TuneOptions {
        optimizer: Some(OptimizerKind::Sgd),
        learning_rate: Some(0.1),
        weight_decay: Some(0.01),
        label_smoothing: 0.1,
        ..whole()
    };
    let data = data(folder.path(), &model, true);
    let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
    let expected =
        [1.101028619542, 1.100235737034, 1.099281064693, 1.098294520715, 1.097355994563, 1.096487804503];
    assert_near(&run.losses(), &expected, 1e-10);
    let tuned = &run.tuned().graph;
    assert_near(&values(tuned, "mean"), &[-0.0117827251, -0.0104261586, -0.0084032402, -0.0056843534], 1e-6);
    assert_near(&values(tuned, "variance"), &[1.907453281, 1.8805605191, 1.8137444897, 1.7109534833], 1e-6);
}

/// The losses of the labelled samples by an adaptive rule.
fn adaptive(optimizer: OptimizerKind) -> Vec<f64> {
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(net(0.0)));
    let options = TuneOptions {
        optimizer: Some(optimizer),
        learning_rate: Some(0.02),
        betas: [0.9, 0.99],
        weight_decay: Some(0.1),
        ..whole()
    };
    let data = data(folder.path(), &model, true);
    train(&model, None, &data, &options, folder.path(), usize::MAX).losses()
}

#[test]
fn adamw_gives_the_losses_of_pytorch() {
    let expected =
        [1.100678858547, 1.096124557343, 1.091785965774, 1.087057570721, 1.081929281195, 1.076402591883];
    assert_near(&adaptive(OptimizerKind::AdamW), &expected, 1e-10);
}

#[test]
fn muon_gives_the_losses_of_pytorch() {
    // The kernel as a matrix, and the iteration in 64 bits where PyTorch has bfloat16.
    let expected =
        [1.100678858547, 1.097974714537, 1.095809923033, 1.094022746585, 1.092528444979, 1.091263231276];
    assert_near(&adaptive(OptimizerKind::Muon), &expected, 1e-10);
}

#[test]
fn distillation_with_clipped_gradients_gives_the_losses_of_pytorch() {
    let (folder, model, teacher) = (tempfile::tempdir().unwrap(), graph(net(0.0)), graph(net(0.05)));
    let options = TuneOptions {
        optimizer: Some(OptimizerKind::Sgd),
        learning_rate: Some(0.1),
        momentum: Some(0.0),
        weight_decay: Some(0.0),
        distillation: 0.5,
        temperature: 2.0,
        clip_norm: Some(0.05),
        ..whole()
    };
    let data = data(folder.path(), &model, true);
    let run = train(&model, Some(&teacher), &data, &options, folder.path(), usize::MAX);
    // PyTorch divides by the norm + 1e-6.
    let expected =
        [0.551305808081, 0.551127895900, 0.550969029954, 0.550826344561, 0.550697524581, 0.550580585614];
    assert_near(&run.losses(), &expected, 1e-7);
    let norms = run.events.iter().filter_map(|event| match event {
        Event::Step { gradient_norm, .. } => Some(*gradient_norm),
        _ => None,
    });
    assert!(norms.fold(f64::INFINITY, f64::min) > 0.01, "gradients before clipping");
}

/// A net with dropout, trained in small batches with averaged weights.
fn noisy() -> (ModelBuilder, TuneOptions) {
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
        .constant("w", &wave(&[32, 16], 0.71, 0.3, 0.0))
        .constant("v", &wave(&[16, 3], 0.53, 0.3, 0.0))
        .constant("ratio", &Tensor::from_slice(vec![], &[0.4f32]).unwrap())
        .node("Flatten", &["x"], &["f"])
        .node("MatMul", &["f", "w"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("Dropout", &["r", "ratio"], &["d"])
        .node("MatMul", &["d", "v"], &["logits"])
        .output("logits");
    let options = TuneOptions {
        epochs: 4,
        batch_size: 4,
        learning_rate: Some(0.01),
        precision: Some(TunePrecision::F32),
        ema: Some(0.9),
        validation: 0.25,
        ..TuneOptions::default()
    };
    (model, options)
}

#[test]
fn an_interrupted_training_ends_with_the_same_bits() {
    let (model, options) = noisy();
    let model = graph(model);
    let bits = |run: &Run| [values(&run.tuned().graph, "w"), values(&run.tuned().graph, "v")];
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = data(folder.path(), &model, true);
    let straight = train(&model, None, &data, &options, folder.path(), usize::MAX);
    assert_ne!(bits(&straight)[0], values(&model, "w"));
    // 4 steps an epoch: within epochs, at their ends, and at the very end.
    for until in [1, 3, 4, 10, 16] {
        let run = train(&model, None, &data, &options, other.path(), until);
        assert!(matches!(run.result, Err(TuneError::Interrupted { step }) if step == until));
    }
    let resumed = train(&model, None, &data, &options, other.path(), usize::MAX);
    assert!(matches!(resumed.events[0], Event::Started { step: 16, steps: 16, .. }));
    assert_eq!(bits(&resumed), bits(&straight));
    assert_eq!(resumed.tuned().scores, straight.tuned().scores);
    // Another seed draws other masks, and another order.
    let third = tempfile::tempdir().unwrap();
    let seeded = TuneOptions { seed: 1, ..options.clone() };
    assert_ne!(bits(&train(&model, None, &data, &seeded, third.path(), usize::MAX)), bits(&straight));
    // The checkpoints belong to the settings.
    let refused = train(&model, None, &data, &seeded, other.path(), usize::MAX).result.unwrap_err();
    assert!(matches!(refused, TuneError::Checkpoint { .. }), "{refused}");
}

#[test]
fn averaged_weights_are_what_is_validated_and_written() {
    let (model, options) = noisy();
    let model = graph(model);
    let train_with = |ema: Option<f64>| {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path(), &model, true);
        train(&model, None, &data, &TuneOptions { ema, ..options.clone() }, folder.path(), usize::MAX)
    };
    let (averaged, plain) = (train_with(Some(0.99)), train_with(None));
    let last = |run: &Run| {
        run.events.iter().rev().find_map(|event| match event {
            Event::Epoch { scores, raw, .. } => Some((*scores, *raw)),
            _ => None,
        })
    };
    let ((scores, raw), (plain_scores, none)) = (last(&averaged).unwrap(), last(&plain).unwrap());
    // Averages do not change the training itself.
    assert_eq!(raw, Some(plain_scores));
    assert_eq!(none, None);
    assert_ne!(raw, Some(scores));
    assert_ne!(values(&averaged.tuned().graph, "w"), values(&plain.tuned().graph, "w"));
}

/// One weight that is to be that of the teacher.
fn line(weight: f32) -> Graph {
    let w = Tensor::from_slice(vec![2, 1], &[weight, 0.0]).unwrap();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
        .constant("w", &w)
        .constant("axes", &Tensor::from_slice(vec![2], &[2i64, 3]).unwrap())
        .node_with("ReduceMean", &["x"], &["m"], vec![AttributeProto::from_ints("axes", [2, 3])])
        .constant("shape", &Tensor::from_slice(vec![2], &[-1i64, 2]).unwrap())
        .node("Reshape", &["m", "shape"], &["f"])
        .node("MatMul", &["f", "w"], &["value"])
        .output("value");
    graph(model)
}

/// Plain gradient descent on `line`, whose error in each eigendirection is multiplied by 1 − ηλ.
pub(super) fn descent(learning_rate: f64, epochs: usize) -> TuneOptions {
    TuneOptions {
        epochs,
        optimizer: Some(OptimizerKind::Sgd),
        learning_rate: Some(learning_rate),
        momentum: Some(0.0),
        weight_decay: Some(0.0),
        precision: Some(TunePrecision::F32),
        ..whole()
    }
}

#[test]
fn without_labels_outputs_come_to_equal_the_teachers() {
    let (folder, model, teacher) = (tempfile::tempdir().unwrap(), line(0.0), line(0.7));
    let data = data(folder.path(), &model, false);
    let run = train(&model, Some(&teacher), &data, &descent(0.2, 400), folder.path(), usize::MAX);
    let losses = run.losses();
    // The squared error over the variance of the teacher's outputs.
    assert!(losses[0] > 0.5 && losses[399] < 1e-3 * losses[0], "{} {}", losses[0], losses[399]);
    assert!((values(&run.tuned().graph, "w")[0] - 0.7).abs() < 0.05);
    let alone = train(&model, None, &data, &descent(0.2, 1), folder.path(), usize::MAX);
    assert!(matches!(alone.result, Err(TuneError::NoTarget { .. })));
}

#[test]
fn labels_that_are_numbers_are_met() {
    let (folder, model) = (tempfile::tempdir().unwrap(), line(0.0));
    let x = wave(&[SAMPLES, 2, 4, 4], 0.37, 1.0, 0.0);
    // 0.7 times the mean of the first channel.
    let means = x.to_f64_vec().unwrap();
    let y: Vec<f32> = means.chunks(32).map(|x| (0.7 * x[..16].iter().sum::<f64>() / 16.0) as f32).collect();
    let path = folder.path().join("numbers.npz");
    let y = Tensor::from_slice(vec![SAMPLES, 1], &y).unwrap();
    npz::write(&path, &[("x", &x), ("y", &y)]).unwrap();
    let open = || open_data(&model, &path, &DataOptions::default(), None, Objective::Auto).unwrap();
    let data = Arc::new(open());
    let run = train(&model, None, &data, &descent(0.2, 400), folder.path(), usize::MAX);
    assert!((values(&run.tuned().graph, "w")[0] - 0.7).abs() < 0.05);
    assert!(run.tuned().notes.iter().any(|note| note.contains("'value' is taken for numbers")));
    let options =
        ScoreOptions { outputs: &[], objective: Objective::Auto, session: SessionOptions::default() };
    let all: Vec<usize> = (0..SAMPLES).collect();
    let scored =
        |graph: &Graph| scores(&Arc::new(graph.clone()), None, &data, &all, &options, &mut |_| {}).unwrap();
    let (before, after) = (scored(&model), scored(&run.tuned().graph));
    let squares = y.to_f64_vec().unwrap().iter().map(|y| y * y).sum::<f64>() / SAMPLES as f64;
    assert!((before.loss.unwrap() / squares - 1.0).abs() < 1e-5, "{before:?}");
    assert!(after.loss.unwrap() < 1e-3 * squares && after.accuracy.is_none(), "{after:?}");
}

#[test]
fn a_training_that_diverges_returns_to_the_last_epoch_with_smaller_steps() {
    let (model, teacher) = (line(0.0), line(0.7));
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), &model, false);
    let train_at = |learning_rate| {
        let folder = tempfile::tempdir().unwrap();
        // One epoch, so that it goes back to the start.
        let options = TuneOptions { batch_size: 1, epochs: 20, ..descent(learning_rate, 1) };
        train(&model, Some(&teacher), &data, &options, folder.path(), usize::MAX)
    };
    // However often it is halved, this step is too long.
    let hopeless = train_at(1e3);
    assert!(
        matches!(hopeless.result, Err(TuneError::Diverged { rollbacks: 5, .. })),
        "{:?}",
        hopeless.result
    );

    // The largest eigenvalue of the loss is some 8.1: errors double at every step, and halve at half the rate. The numbers overflow
    // within the epoch, whose start is returned to.
    let steps = 120;
    let data = data_of(SAMPLES * steps, folder.path(), &model, false);
    let run = train(&model, Some(&teacher), &data, &descent(0.37, 1), folder.path(), usize::MAX);
    assert_eq!(run.rollbacks(), [(0, 0.5)]);
    let losses = run.losses();
    assert!(losses.len() > steps && losses[losses.len() - 1] < 1e-3 * losses[0], "{losses:?}");
    assert!((values(&run.tuned().graph, "w")[0] - 0.7).abs() < 0.1);
}

#[test]
fn a_state_that_was_spoiled_before_it_showed_is_left_for_the_one_before() {
    let (model, teacher) = (line(0.0), line(0.7));
    let folder = tempfile::tempdir().unwrap();
    // Errors grow elevenfold at every step: after an epoch of 12 they are finite, and at half the rate, where they grow fivefold,
    // they overflow in the next epoch as well. At a quarter they double, which never shows; but no epoch is better than none.
    let data = data_of(SAMPLES * 12 * 10 / 9, folder.path(), &model, false);
    let options = TuneOptions { validation: 0.1, ..descent(1.48, 2) };
    let run = train(&model, Some(&teacher), &data, &options, folder.path(), usize::MAX);
    assert_eq!(run.rollbacks(), [(12, 0.5), (0, 0.25)]);
    let losses = run.losses();
    assert!(losses[losses.len() - 1] > 1e6 * losses[0], "{losses:?}");
    assert_eq!((run.tuned().chosen, run.tuned().steps), (0, 24));
    assert_eq!(values(&run.tuned().graph, "w"), values(&model, "w"));
}

#[test]
fn folded_batch_norms_are_put_back_while_tuning_and_folded_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut folded = graph(net(0.0));
    secateurs_graph::rewrite::fold_batch_norms(&mut folded).unwrap();
    let ops = |graph: &Graph| {
        graph.order.iter().map(|&id| graph.nodes[id].op.name().to_owned()).collect::<Vec<_>>()
    };
    assert!(!ops(&folded).contains(&"BatchNormalization".to_owned()));
    let data = data(folder.path(), &folded, true);
    let options = TuneOptions { optimizer: Some(OptimizerKind::Sgd), learning_rate: Some(0.1), ..whole() };
    let run = train(&folded, None, &data, &options, folder.path(), usize::MAX);
    let tuned = run.tuned();
    assert_eq!(ops(&tuned.graph), ops(&folded));
    assert!(tuned.notes.iter().any(|note| note.contains("1 batch norm that")), "{:?}", tuned.notes);
    // The batch norm that is put back normalizes by the batch: the first loss is that of the net with its batch norm kept, whose
    // scale and shift are other numbers for the same function of the data's statistics.
    let other = tempfile::tempdir().unwrap();
    let left = TuneOptions { batch_norm: BatchNormMode::Train, ..options };
    let without = train(&folded, None, &data, &left, other.path(), usize::MAX);
    assert!(!without.tuned().notes.iter().any(|note| note.contains("batch norm")));
    assert_near(&run.losses()[..1], &without.losses()[..1], 1e-6);
    assert!((run.losses()[5] - without.losses()[5]).abs() > 1e-6);
    // No epoch, no change.
    let (none, other) = (TuneOptions { epochs: 0, ..whole() }, tempfile::tempdir().unwrap());
    let untouched = train(&folded, None, &data, &none, other.path(), usize::MAX);
    assert_eq!(untouched.tuned().graph.hash(), folded.hash());
    assert!(!untouched.tuned().notes.iter().any(|note| note.contains("batch norm")));
}

#[test]
fn folded_batch_norms_are_calibrated_on_samples_of_all_classes() {
    secateurs_torch::load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut folded = graph(net(0.0));
    secateurs_graph::rewrite::fold_batch_norms(&mut folded).unwrap();
    // As folders of classes are read: the first half is dark, the second bright.
    const HALF: usize = 1100;
    let x: Vec<f32> = (0..2 * HALF * 32).map(|i| if i < HALF * 32 { 0.0 } else { 1.0 }).collect();
    let (x, y) = (Tensor::from_slice(vec![2 * HALF, 2, 4, 4], &x), vec![0i64; 2 * HALF]);
    let y = Tensor::from_slice(vec![2 * HALF], &y).unwrap();
    let path = folder.path().join("halves.npz");
    npz::write(&path, &[("x", &x.unwrap()), ("y", &y)]).unwrap();
    let open = open_data(&folded, &path, &DataOptions::default(), None, Objective::Auto);
    let data = Arc::new(open.unwrap());
    let [means, variances] = calibrated(&folded, &data);
    assert!(means.iter().all(|mean| mean.abs() > 1e-3), "{means:?}");
    assert!(variances.iter().all(|variance| *variance > 1e-3), "{variances:?}");
    assert_eq!(calibrated(&folded, &data), [means, variances]);
}

/// Means and variances of the batch norm that is put back.
fn calibrated(folded: &Graph, data: &Arc<Dataset>) -> [Vec<f64>; 2] {
    let options = whole();
    let job = TuneJob {
        graph: folded,
        teacher: None,
        teacher_cache: None,
        plan: None,
        data,
        validation: None,
        outputs: &[],
        options: &options,
        device: Device::Cpu,
        folder: Path::new(""),
    };
    let samples: Vec<usize> = (0..data.len()).collect();
    let prepared = prepare::Prepared::new(&job, &samples, SessionOptions::default()).unwrap().graph;
    let norm = prepared.nodes.values().find(|node| node.op.name() == "BatchNormalization").unwrap();
    [3, 4].map(|input| prepared.tensor(norm.inputs[input].unwrap()).unwrap().to_f64_vec().unwrap())
}

#[test]
fn what_fills_a_batch_does_not_calibrate() {
    secateurs_torch::load().unwrap();
    let calibrated = |batch: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut folded = graph(net_of(batch, 0.0));
        secateurs_graph::rewrite::fold_batch_norms(&mut folded).unwrap();
        let data = data(folder.path(), &folded, true);
        calibrated(&folded, &data).concat()
    };
    // More than there are samples, and a batch and a half.
    for filled in ["32", "16"] {
        assert_near(&calibrated(filled), &calibrated("batch"), 1e-5);
    }
}

#[test]
fn frozen_batch_norms_keep_their_statistics_and_half_precision_its_type() {
    let folder = tempfile::tempdir().unwrap();
    let model = graph(net(0.0));
    let data = data(folder.path(), &model, true);
    let options = TuneOptions { batch_norm: BatchNormMode::Freeze, learning_rate: Some(0.1), ..whole() };
    let frozen = train(&model, None, &data, &options, folder.path(), usize::MAX);
    assert_eq!(values(&frozen.tuned().graph, "variance"), [1.0; 4]);
    assert_ne!(values(&frozen.tuned().graph, "gamma"), values(&model, "gamma"));

    let half = |shape: &[usize], f: f64| {
        let values = wave(shape, f, 0.3, 0.0).to_f64_vec().unwrap();
        let values: Vec<half::f16> = values.into_iter().map(half::f16::from_f64).collect();
        Tensor::from_slice(shape.to_vec(), &values).unwrap()
    };
    let cast = |to: ElementType| vec![AttributeProto::from_int("to", to.to_onnx().into())];
    let model = graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
            .constant("w", &half(&[32, 3], 0.71))
            .node_with("Cast", &["x"], &["c"], cast(ElementType::Float16))
            .node("Flatten", &["c"], &["f"])
            .node("MatMul", &["f", "w"], &["l"])
            .node_with("Cast", &["l"], &["logits"], cast(ElementType::Float32))
            .output("logits"),
    );
    // What reads 16 bits is trained in 32, against a teacher in 16.
    let all_half = graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float16, &["batch", "2", "4", "4"])
            .constant("w", &half(&[32, 3], 0.71))
            .node("Flatten", &["x"], &["f"])
            .node("MatMul", &["f", "w"], &["logits"])
            .output("logits"),
    );
    for validation in [0.0, 0.25] {
        let own = tempfile::tempdir().unwrap();
        let halves = self::data(own.path(), &all_half, false);
        let options = TuneOptions { precision: Some(TunePrecision::F32), validation, ..whole() };
        let run = train(&all_half, Some(&all_half), &halves, &options, own.path(), usize::MAX);
        run.tuned();
        assert!(run.losses()[0].abs() < 1e-6, "{:?}", run.losses());
    }

    for precision in [TunePrecision::F32, TunePrecision::Bf16] {
        let folder = tempfile::tempdir().unwrap();
        // Steps that 16 bits would lose.
        let options =
            TuneOptions { learning_rate: Some(1e-5), precision: Some(precision), epochs: 200, ..whole() };
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        let tuned = &run.tuned().graph;
        let w = tuned.tensor(tuned.value_named("w").unwrap()).unwrap();
        assert_eq!(w.element_type(), ElementType::Float16);
        assert_ne!(values(tuned, "w"), values(&model, "w"));
        assert!(run.losses()[199] < run.losses()[0]);
    }
}

#[test]
fn patience_ends_a_training_and_the_best_epoch_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = graph(net(0.0));
    let data = data(folder.path(), &model, true);
    // Steps so small that nothing changes.
    let options = TuneOptions {
        patience: Some(2),
        epochs: 20,
        learning_rate: Some(0.0),
        validation: 0.25,
        batch_norm: BatchNormMode::Freeze,
        ..whole()
    };
    let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
    assert!(run.events.iter().any(|event| matches!(event, Event::Stopped { step: 2, .. })));
    assert_eq!((run.tuned().chosen, run.tuned().steps), (0, 2));
    assert_eq!(values(&run.tuned().graph, "fc"), values(&model, "fc"));
}

#[test]
fn statistics_are_estimated_anew_and_parameters_drawn_anew_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let model = graph(net(0.0));
    let data = data(folder.path(), &model, true);
    let options = TuneOptions { epochs: 1, learning_rate: Some(0.0), reestimate: SAMPLES, ..whole() };
    let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
    // The moments of the convolution's output over all samples, which one moving average of weight 0.1 does not reach.
    assert!(values(&run.tuned().graph, "variance").iter().all(|v| *v > 2.0));
    let other = tempfile::tempdir().unwrap();
    let drawn =
        train(&model, None, &data, &TuneOptions { reinit: true, ..options }, other.path(), usize::MAX);
    let drawn = &drawn.tuned().graph;
    assert_eq!((values(drawn, "gamma"), values(drawn, "bias")), (vec![1.0; 4], vec![0.0; 3]));
    assert_ne!(values(drawn, "conv"), values(&model, "conv"));
}

#[test]
fn statistics_are_estimated_anew_in_batches_of_the_size_that_a_model_fixes() {
    // More than there are samples, and more than are asked for.
    for (batch, reestimate) in [("32", SAMPLES), ("16", 8)] {
        let (folder, model) = (tempfile::tempdir().unwrap(), graph(net_of(batch, 0.0)));
        let data = data(folder.path(), &model, true);
        let options = TuneOptions { epochs: 1, learning_rate: Some(0.0), reestimate, ..whole() };
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        assert!(values(&run.tuned().graph, "variance").iter().all(|v| *v > 2.0));
    }
}

#[test]
fn settings_that_make_no_sense_and_augmentation_of_no_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = graph(net(0.0));
    let data = data(folder.path(), &model, true);
    let refused = |options: TuneOptions| {
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        run.result.unwrap_err().to_string()
    };
    assert!(refused(TuneOptions { batch_size: 0, ..whole() }).contains("batch_size"));
    assert!(refused(TuneOptions { momentum: Some(1.5), ..whole() }).contains("momentum"));
    assert!(refused(TuneOptions { patience: Some(0), ..whole() }).contains("patience = 0"));
    assert!(refused(TuneOptions { reestimate: 1, ..whole() }).contains("reestimate = 1"));
    let flipped = TuneOptions { augment: Augment { flip: true, ..Augment::default() }, ..whole() };
    assert!(refused(flipped).contains("images"));
    // A settings file with an unknown key.
    assert!(toml::from_str::<TuneOptions>("epoch = 3").is_err());
    let text = toml::to_string(&whole()).unwrap();
    assert_eq!(toml::from_str::<TuneOptions>(&text).unwrap(), whole());
}

/// `x [N, 2]` times a matrix.
fn matrix(w: [f32; 4]) -> Graph {
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2"])
        .constant("w", &Tensor::from_slice(vec![2, 2], &w).unwrap())
        .node("MatMul", &["x", "w"], &["value"])
        .output("value");
    graph(model)
}

/// Data whose second column is 0, of which one number may be another.
fn columns(folder: &Path, graph: &Graph, at: usize, number: f32) -> Arc<Dataset> {
    let mut x: Vec<f32> = (0..16).map(|i| if i % 2 == 0 { i as f32 } else { 0.0 }).collect();
    x[at] = number;
    let path = folder.join("columns.npz");
    npz::write(&path, &[("x", &Tensor::from_slice(vec![8, 2], &x).unwrap())]).unwrap();
    Arc::new(open_data(graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap())
}

#[test]
fn weights_that_the_last_step_of_an_epoch_spoils_are_not_the_result() {
    // The huge weight meets zeros only, until weight decay makes it infinite.
    let (model, teacher) = (matrix([0.0, 0.0, 1e35, 0.0]), matrix([0.1, 0.2, 0.0, 0.0]));
    let folder = tempfile::tempdir().unwrap();
    let data = columns(folder.path(), &model, 0, 1.0);
    let options = TuneOptions { weight_decay: Some(1e3), ..descent(1e3, 1) };
    let run = train(&model, Some(&teacher), &data, &options, folder.path(), usize::MAX);
    let Err(TuneError::Diverged { reason, step: 1, .. }) = run.result else { panic!("{:?}", run.result) };
    assert!(reason.contains("a weight"), "{reason}");
}

#[test]
fn samples_and_teachers_that_are_no_numbers_are_named() {
    let (model, teacher) = (matrix([0.0; 4]), matrix([0.1, 0.2, 0.0, 0.0]));
    let folder = tempfile::tempdir().unwrap();
    let bad = columns(folder.path(), &model, 6, f32::NAN);
    let run = train(&model, Some(&teacher), &bad, &descent(0.1, 1), folder.path(), usize::MAX);
    assert!(
        matches!(&run.result, Err(TuneError::Sample { sample: 3, input, .. }) if input == "x"),
        "{:?}",
        run.result
    );

    // Held out, it is found when scores are taken.
    let (graph, original) = (Arc::new(model.clone()), Arc::new(teacher));
    let options =
        ScoreOptions { outputs: &[], objective: Objective::Auto, session: SessionOptions::default() };
    let scored = scores(&graph, Some(&original), &bad, &[0, 2, 3], &options, &mut |_| {});
    assert!(matches!(scored, Err(TuneError::Sample { sample: 3, .. })), "{scored:?}");

    let (folder, teacher) = (tempfile::tempdir().unwrap(), matrix([0.1, f32::INFINITY, 0.0, 0.0]));
    let good = columns(folder.path(), &model, 0, 0.0);
    let run = train(&model, Some(&teacher), &good, &descent(0.1, 1), folder.path(), usize::MAX);
    assert!(matches!(run.result, Err(TuneError::Teacher { .. })), "{:?}", run.result);
}

#[test]
fn the_learning_rate_is_for_the_batches_that_there_are() {
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(net(0.0)));
    let data = data(folder.path(), &model, true);
    let options = TuneOptions { batch_size: 128, learning_rate: None, epochs: 1, ..whole() };
    let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
    let Event::Started { resolved, .. } = &run.events[0] else { panic!("{:?}", run.events) };
    assert_eq!((resolved.optimizer, resolved.batch_size), (OptimizerKind::Sgd, SAMPLES));
    assert!((resolved.learning_rate - 0.05 * SAMPLES as f64 / 128.0).abs() < 1e-12);
}

#[test]
fn weights_that_a_batch_norm_standardizes_are_trained() {
    // As exporters write `F.batch_norm(weight, …, training=True)`: the statistics are computed from the weight itself.
    let standardized = |f: f64| {
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
            .constant("w", &wave(&[1, 4, 18], f, 0.4, 0.1))
            .constant("gain", &wave(&[4], 1.1, 0.3, 1.0))
            .constant("zero", &Tensor::from_slice(vec![4], &[0f32; 4]).unwrap())
            .constant("kernel", &Tensor::from_slice(vec![4], &[4i64, 2, 3, 3]).unwrap())
            .node_with(
                "ReduceMean",
                &["w"],
                &["mean"],
                vec![AttributeProto::from_ints("axes", [0, 2]), AttributeProto::from_int("keepdims", 0)],
            )
            .constant("column", &Tensor::from_slice(vec![3], &[1i64, 4, 1]).unwrap())
            .node("Reshape", &["mean", "column"], &["means"])
            .node("Sub", &["w", "means"], &["centred"])
            .node("Mul", &["centred", "centred"], &["squares"])
            .node_with(
                "ReduceMean",
                &["squares"],
                &["variance"],
                vec![AttributeProto::from_ints("axes", [0, 2]), AttributeProto::from_int("keepdims", 0)],
            )
            .node("BatchNormalization", &["w", "gain", "zero", "mean", "variance"], &["n"])
            .node("Reshape", &["n", "kernel"], &["k"])
            .node("Conv", &["x", "k"], &["c"])
            .node("GlobalAveragePool", &["c"], &["p"])
            .node("Flatten", &["p"], &["value"])
            .output("value");
        graph(model)
    };
    let (folder, model, teacher) = (tempfile::tempdir().unwrap(), standardized(0.71), standardized(0.93));
    let data = data(folder.path(), &model, false);
    let run = train(&model, Some(&teacher), &data, &descent(0.02, 30), folder.path(), usize::MAX);
    let losses = run.losses();
    assert!(losses[29] < 0.5 * losses[0], "{losses:?} {:?}", run.result.err());
    assert_ne!(values(&run.tuned().graph, "w"), values(&model, "w"));
}

#[test]
fn weight_decay_leaves_norms_alone_however_many_axes_their_parameters_have() {
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
        .constant("scale", &wave(&[2, 4, 4], 0.3, 0.2, 1.0))
        .constant("shift", &wave(&[2, 4, 4], 0.5, 0.2, 0.0))
        .constant("kernel", &wave(&[3, 2, 1, 1], 0.7, 0.4, 0.0))
        .constant("bias", &wave(&[3], 0.9, 0.4, 0.0))
        .node_with(
            "LayerNormalization",
            &["x", "scale", "shift"],
            &["n"],
            vec![AttributeProto::from_int("axis", -3)],
        )
        .node("Conv", &["n", "kernel", "bias"], &["value"])
        .output("value");
    let graph = graph(model);
    let decaying: Vec<String> = graph
        .parameters()
        .iter()
        .filter(|parameter| settings::decays(&graph, parameter.value))
        .map(|parameter| graph.values[parameter.value].name.clone())
        .collect();
    assert_eq!(decaying, ["kernel"]);
}

#[test]
fn what_models_make_of_padding_counts_nowhere() {
    let model = |of_padding: [f32; 3]| {
        let mut table: Vec<f32> = (0..27).map(|i| (i % 7) as f32 - 3.0).collect();
        table[..3].copy_from_slice(&of_padding);
        let model = ModelBuilder::new(17)
            .input("input_ids", ElementType::Int64, &["batch", "8"])
            .input("attention_mask", ElementType::Int64, &["batch", "8"])
            .constant("table", &Tensor::from_slice(vec![9, 3], &table).unwrap())
            .constant("zero", &Tensor::scalar(0_i64))
            .node("Mul", &["attention_mask", "zero"], &["nothing"])
            .node("Add", &["input_ids", "nothing"], &["ids"])
            .node("Gather", &["table", "ids"], &["logits"])
            .output("logits");
        graph(model)
    };
    let (model, teacher) = (model([0.0, 0.0, 5.0]), model([5.0, 0.0, 0.0]));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), crate::data::TOKENIZER).unwrap();
    let path = folder.path().join("texts.jsonl");
    std::fs::write(&path, "{\"text\": \"a good movie\"}\n{\"text\": \"movie\"}\n").unwrap();
    let data = Arc::new(open_data(&model, &path, &DataOptions::default(), None, Objective::Auto).unwrap());

    let run = train(&model, Some(&teacher), &data, &descent(0.1, 1), folder.path(), usize::MAX);
    assert_eq!(run.losses(), [0.0], "{:?}", run.result.err());
    let (graph, original) = (Arc::new(model), Arc::new(teacher));
    let options =
        ScoreOptions { outputs: &[], objective: Objective::Auto, session: SessionOptions::default() };
    let scores = scores(&graph, Some(&original), &data, &[0, 1], &options, &mut |_| {}).unwrap();
    assert_eq!((scores.agreement, scores.divergence), (Some(1.0), Some(0.0)));
}

#[test]
fn distances_from_the_original_do_not_depend_on_batches() {
    secateurs_torch::load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let measured = |batch: &str, scale: f64| {
        let scaled = |shift: f64| {
            let tensor = |shape: &[usize], f: f64, a: f64| wave(shape, f + shift, a * scale, 0.0);
            let model = net_of(batch, shift)
                .constant("scores", &tensor(&[4, 5], 0.61, 0.5))
                .node("MatMul", &["f", "scores"], &["embedding"])
                .output("embedding");
            Arc::new(graph(model))
        };
        let (model, original) = (scaled(0.2), scaled(0.0));
        let data = fixed_data(folder.path(), &original, false);
        let of = |outputs: &[&str], objective: Objective| {
            let outputs: Vec<WeightedOutput> = outputs.iter().map(|name| name.parse().unwrap()).collect();
            let options = ScoreOptions { outputs: &outputs, objective, session: SessionOptions::default() };
            let samples: Vec<usize> = (0..SAMPLES).collect();
            scores(&model, Some(&original), &data, &samples, &options, &mut |_| {}).unwrap()
        };
        [
            of(&["embedding"], Objective::Values),
            of(&["logits"], Objective::Classes),
            of(&["logits=0.5", "embedding=2"], Objective::Auto),
        ]
    };
    let near = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() <= 1e-4 * b;
    let all = measured("batch", 1.0);
    for batch in ["1", "2"] {
        for (own, all) in measured(batch, 1.0).iter().zip(&all) {
            assert!(near(own.divergence, all.divergence.unwrap()), "{batch}: {own:?} {all:?}");
            assert!(near(own.change, all.change.unwrap()), "{batch}: {own:?} {all:?}");
        }
    }
    let [numbers, classes, both] = &all;
    assert_eq!(classes.divergence, classes.change);
    assert_eq!([numbers.outputs, classes.outputs, both.outputs], [1, 1, 2]);
    let sum = |of: fn(&Scores) -> Option<f64>| 0.5 * of(classes).unwrap() + 2.0 * of(numbers).unwrap();
    assert!(near(both.divergence, sum(|scores| scores.divergence)));
    assert!(near(both.change, sum(|scores| scores.change)));
    // Divergence is the same in any unit, and the change of numbers is in theirs.
    let [larger, ..] = measured("batch", 10.0);
    assert!(near(larger.divergence, numbers.divergence.unwrap()));
    assert!(near(larger.change, 100.0 * numbers.change.unwrap()));
}
