//! Evidence against double backward passes, against true removals, and through shards and interruptions.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::CouplingOptions;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor as HostTensor};
use secateurs_torch::tch::{Kind as TchKind, Tensor};

use super::columns::Columns;
use super::*;
use crate::compensate::Compensation;
use crate::data::{DataOptions, Dataset, from_f32, npz};
use crate::implants::{Explained, ExplainedForm};
use crate::pipeline::open_data;
use crate::tune::{heads, inputs};

pub(super) const SAMPLES: usize = 24;
pub(super) const ALL: [usize; SAMPLES] = {
    let mut all = [0; SAMPLES];
    let mut i = 0;
    while i < SAMPLES {
        all[i] = i;
        i += 1;
    }
    all
};

/// `a · sin(f·i + 0.3)`, rounded to 32 bits.
pub(super) fn wave(shape: &[usize], f: f64, a: f64, offset: f64) -> HostTensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (offset + a * (f * i as f64 + 0.3).sin()) as f32).collect();
    HostTensor::from_slice(shape.to_vec(), &values).unwrap()
}

pub(super) fn ints(values: &[i64]) -> HostTensor {
    HostTensor::from_slice(vec![values.len()], values).unwrap()
}

fn attribute(name: &str, values: &[i64]) -> Vec<AttributeProto> {
    vec![AttributeProto::from_ints(name, values)]
}

pub(super) fn graph(model: ModelBuilder) -> Arc<Graph> {
    Arc::new(Graph::from_model(model.build().unwrap()).unwrap())
}

/// Convolutions with a batch norm, and a grouped one; with a skip around it, channels are consumed at two places.
pub(super) fn convolutional(skip: bool) -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
            .constant("w1", &wave(&[6, 2, 3, 3], 0.71, 0.4, 0.0))
            .constant("gamma", &wave(&[6], 1.1, 0.3, 1.0))
            .constant("beta", &wave(&[6], 0.9, 0.2, 0.1))
            .constant("mean", &wave(&[6], 0.4, 0.1, 0.0))
            .constant("variance", &wave(&[6], 0.6, 0.2, 1.0))
            .constant("w2", &wave(&[6, 3, 3, 3], 1.31, 0.3, 0.0))
            .constant("fc", &wave(&[6, 4], 0.53, 0.6, 0.0))
            .constant("bias", &wave(&[4], 1.7, 0.1, 0.0))
            .node_with("Conv", &["x", "w1"], &["c1"], attribute("pads", &[1; 4]))
            .node("BatchNormalization", &["c1", "gamma", "beta", "mean", "variance"], &["n"])
            .node("Relu", &["n"], &["r1"])
            .node_with(
                "Conv",
                &["r1", "w2"],
                &["c2"],
                [attribute("pads", &[1; 4]), vec![AttributeProto::from_int("group", 2)]].concat(),
            )
            .node("Relu", &["c2"], &["r2"])
            .node("Add", &[if skip { "r1" } else { "r2" }, "r2"], &["sum"])
            .node("GlobalAveragePool", &["sum"], &["pool"])
            .node("Flatten", &["pool"], &["f"])
            .node("MatMul", &["f", "fc"], &["l"])
            .node("Add", &["l", "bias"], &["logits"])
            .output("logits"),
    )
}

/// Attention of two heads over five tokens, which come first, a layer norm, a gated and tied feed-forward layer, and a mean of tokens.
pub(super) fn attention() -> Arc<Graph> {
    let perm = |values: &[i64]| attribute("perm", values);
    let mut model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "5", "4"])
        .constant("merged", &ints(&[5, -1, 4]))
        .constant("heads", &ints(&[5, -1, 2, 2]))
        .constant("scale", &wave(&[4], 0.4, 0.2, 1.0))
        .constant("shift", &wave(&[4], 0.8, 0.2, 0.0))
        .constant("wo", &wave(&[4, 4], 0.31, 0.7, 0.0))
        .constant("up", &wave(&[4, 6], 0.47, 0.8, 0.0))
        .constant("gate", &wave(&[4, 6], 1.13, 0.8, 0.0))
        .constant("half", &HostTensor::from_slice(vec![1], &[0.5f32]).unwrap())
        .constant("root", &HostTensor::from_slice(vec![1], &[std::f32::consts::FRAC_1_SQRT_2]).unwrap())
        .constant("one", &HostTensor::from_slice(vec![1], &[1f32]).unwrap())
        .constant("down", &wave(&[6, 4], 0.9, 0.7, 0.0))
        .constant("fc", &wave(&[4, 3], 0.53, 0.9, 0.0))
        .node_with("Transpose", &["x"], &["t"], perm(&[1, 0, 2]))
        .node_with(
            "LayerNormalization",
            &["t", "scale", "shift"],
            &["n"],
            vec![AttributeProto::from_int("axis", -1)],
        );
    for (name, f) in [("q", 0.63), ("k", 0.87), ("v", 1.21)] {
        model = model
            .constant(&format!("w{name}"), &wave(&[4, 4], f, 0.9, 0.0))
            .node("MatMul", &["n", &format!("w{name}")], &[&format!("{name}1")])
            .node("Reshape", &[&format!("{name}1"), "heads"], &[&format!("{name}2")])
            .node_with("Transpose", &[&format!("{name}2")], &[name], perm(&[1, 2, 0, 3]));
    }
    let model = model
        .node_with("Transpose", &["k"], &["kt"], perm(&[0, 1, 3, 2]))
        .node("MatMul", &["q", "kt"], &["scores"])
        .node_with("Softmax", &["scores"], &["p"], vec![AttributeProto::from_int("axis", -1)])
        .node("MatMul", &["p", "v"], &["context"])
        .node_with("Transpose", &["context"], &["c"], perm(&[2, 0, 1, 3]))
        .node("Reshape", &["c", "merged"], &["joined"])
        .node("MatMul", &["joined", "wo"], &["o"])
        .node("Add", &["t", "o"], &["residual"])
        // The same weights a second time.
        .node("MatMul", &["residual", "up"], &["u"])
        .node("Mul", &["u", "root"], &["u1"])
        .node("Erf", &["u1"], &["u2"])
        .node("Add", &["u2", "one"], &["u3"])
        .node("Mul", &["u", "u3"], &["u4"])
        .node("Mul", &["u4", "half"], &["gelu"])
        .node("MatMul", &["residual", "gate"], &["g"])
        .node("Sigmoid", &["g"], &["open"])
        .node("Mul", &["gelu", "open"], &["gated"])
        .node("MatMul", &["gated", "down"], &["d"])
        .node("MatMul", &["d", "up"], &["again"])
        .node("Tanh", &["again"], &["bent"])
        .node("MatMul", &["bent", "down"], &["d2"])
        .node("Add", &["residual", "d2"], &["last"])
        .node_with(
            "ReduceMean",
            &["last"],
            &["pooled"],
            vec![AttributeProto::from_ints("axes", [0]), AttributeProto::from_int("keepdims", 0)],
        )
        .node("MatMul", &["pooled", "fc"], &["logits"])
        .output("logits");
    graph(model)
}

/// Numbers, and class scores of every token.
pub(super) fn two_outputs() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "4"])
            .constant("w", &wave(&[4, 5], 0.71, 0.8, 0.0))
            .constant("v", &wave(&[5, 2], 0.53, 0.9, 0.0))
            .constant("u", &wave(&[5, 3], 0.37, 0.9, 0.0))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Tanh", &["h"], &["t"])
            .node("MatMul", &["t", "v"], &["embedding"])
            .node("MatMul", &["t", "u"], &["logits"])
            .output("embedding")
            .output("logits"),
    )
}

/// A layer whose weights are, transposed, those of the next: a product of two computed operands, of which one is the same for all
/// samples.
pub(super) fn tied() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "4"])
            .constant("w", &wave(&[4, 6], 0.71, 0.8, 0.0))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Tanh", &["h"], &["t"])
            .node_with("Transpose", &["w"], &["back"], attribute("perm", &[1, 0]))
            .node("MatMul", &["t", "back"], &["logits"])
            .output("logits"),
    )
}

/// A ReLU layer between two others, for samples of some shape, to K numbers; `last` comes behind.
fn dense(sizes: &[&str], k: usize, last: &str) -> Arc<Graph> {
    let shape = [&["batch"], sizes, &["4"]].concat();
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &shape)
            .constant("w", &wave(&[4, 6], 0.71, 0.9, 0.0))
            .constant("v", &wave(&[6, k], 0.53, 1.4, 0.0))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("MatMul", &["r", "v"], &["s"])
            .node(last, &["s"], &["out"])
            .output("out"),
    )
}

/// Class scores of pixels, `[batch, 3, 4, 4]`.
fn pixels() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
            .constant("w", &wave(&[6, 2, 3, 3], 0.71, 0.4, 0.0))
            .constant("v", &wave(&[3, 6, 1, 1], 0.53, 0.9, 0.0))
            .node_with("Conv", &["x", "w"], &["c"], attribute("pads", &[1; 4]))
            .node("Relu", &["c"], &["r"])
            .node("Conv", &["r", "v"], &["out"])
            .output("out"),
    )
}

/// `SAMPLES` samples labelled with `y`.
fn labelled(graph: &Graph, folder: &Path, y: &HostTensor, options: &MeasureOptions) -> Arc<Dataset> {
    let path = folder.join("labelled.npz");
    npz::write(&path, &[("x", &inputs_of(SAMPLES, graph)), ("y", y)]).unwrap();
    Arc::new(open_data(graph, &path, &DataOptions::default(), None, options.objective).unwrap())
}

/// `SAMPLES` labels of a shape below `n`.
fn indices(shape: &[usize], n: i64) -> HostTensor {
    let shape = [&[SAMPLES], shape].concat();
    let values: Vec<i64> =
        (0..shape.iter().product::<usize>() as i64).map(|i| (i * 7 + i / 3 + i * i) % n).collect();
    HostTensor::from_slice(shape, &values).unwrap()
}

fn inputs_of(samples: usize, graph: &Graph) -> HostTensor {
    let shape = graph.values[graph.inputs[0]].fact.shape.as_ref().unwrap();
    let sizes: Vec<usize> = shape[1..].iter().map(|dim| dim.known().unwrap() as usize).collect();
    wave(&[&[samples][..], &sizes].concat(), 0.37, 1.0, 0.0)
}

fn weighted(outputs: &[&str]) -> Vec<WeightedOutput> {
    outputs.iter().map(|output| output.parse().unwrap()).collect()
}

pub(super) fn data(graph: &Graph, folder: &Path, labels: Option<i64>) -> Arc<Dataset> {
    data_of(SAMPLES, graph, folder, labels)
}

pub(super) fn data_of(samples: usize, graph: &Graph, folder: &Path, labels: Option<i64>) -> Arc<Dataset> {
    let x = inputs_of(samples, graph);
    let path = folder.join(format!("data{samples}{labels:?}.npz"));
    match labels {
        Some(classes) => {
            let y: Vec<i64> = (0..samples as i64).map(|i| (i * 7 + i / 3) % classes).collect();
            npz::write(&path, &[("x", &x), ("y", &ints(&y))]).unwrap();
        }
        None => npz::write(&path, &[("x", &x)]).unwrap(),
    }
    Arc::new(open_data(graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap())
}

pub(super) fn double() -> MeasureOptions<'static> {
    MeasureOptions {
        estimator: Estimator::Exact,
        batch_size: 7,
        session: SessionOptions { precision: Precision::Double, ..SessionOptions::default() },
        ..MeasureOptions::default()
    }
}

pub(super) fn measured(graph: &Arc<Graph>, data: &Arc<Dataset>, options: &MeasureOptions) -> Evidence {
    measured_among(&ALL, graph, data, options)
}

pub(super) fn measured_among(
    among: &[usize],
    graph: &Arc<Graph>,
    data: &Arc<Dataset>,
    options: &MeasureOptions,
) -> Evidence {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.safetensors");
    secateurs_torch::load().unwrap();
    measure(&MeasureJob { graph, data, among, options, file: &file }, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

/// The mean of independent runs is the exact value within 4 standard errors, unit by unit.
pub(super) fn assert_unbiased(runs: &[Vec<f64>], exact: &[f64], what: &str) {
    let n = runs.len() as f64;
    for (unit, exact) in exact.iter().enumerate() {
        let mean = runs.iter().map(|run| run[unit]).sum::<f64>() / n;
        let variance = runs.iter().map(|run| (run[unit] - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        assert!((mean - exact).abs() <= 4.0 * error + 1e-12, "{what}: {mean:e} ± {error:e} is not {exact:e}");
    }
}

pub(super) fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * scale, "{found:e} is not {expected:e}");
    }
}

/// Half the second derivative of the mean loss by every unit's mask, by differentiating twice. `labelled` is for the labels' loss,
/// whose first derivative is given as well.
fn by_double_backward(
    graph: &Arc<Graph>,
    data: &Arc<Dataset>,
    labelled: bool,
    options: &MeasureOptions,
) -> (Vec<f64>, Vec<f64>) {
    let coupling = graph.coupling(&CouplingOptions::default());
    let columns = Columns::new(graph, &coupling).unwrap();
    let session = Session::new(graph.clone(), options.session).unwrap();
    let heads = heads(graph, data, options.outputs, options.objective).unwrap();
    let batch = data.batch(&(0..data.len()).collect::<Vec<_>>()).unwrap();
    let run = session.forward(&inputs(&session, &batch).unwrap(), &columns.taps).unwrap();
    let n = data.len() as i64;
    let mut loss = Tensor::f_zeros([], (TchKind::Double, session.options().device)).unwrap();
    if labelled {
        let output = &run.outputs[heads[0].index];
        let labels = heads[0].labels(graph, output, batch.labels.as_ref(), data).unwrap().unwrap();
        loss = heads[0].label_losses(output, &labels, 0.0).unwrap().f_mean(None).unwrap();
        loss = loss.f_mul_scalar(heads[0].weight).unwrap();
    } else {
        for head in &heads {
            let output = &run.outputs[head.index];
            let own = output.f_detach().unwrap();
            let part = match head.log_probabilities(output, 1.0).unwrap() {
                Some(_) => head.distance(output, &own, 1.0).unwrap(),
                None => output.f_mse_loss(&own, secateurs_torch::tch::Reduction::Mean).unwrap(),
            };
            loss = loss.f_add(&part.f_mul_scalar(head.weight).unwrap()).unwrap();
        }
    }
    let gradients = Tensor::f_run_backward(&[&loss], &run.taps, true, true).unwrap();
    let (mut second, mut first) = (vec![0.0; columns.units], vec![0.0; columns.units]);
    for unit in 0..columns.units {
        let chosen =
            |tap: usize| -> Tensor { columns.only(tap, unit, &run.taps[tap].f_detach().unwrap()).unwrap() };
        let along = |gradients: &[Tensor]| {
            let mut sum = Tensor::f_zeros([], (TchKind::Double, session.options().device)).unwrap();
            for (tap, gradient) in gradients.iter().enumerate().filter(|(_, g)| g.defined()) {
                sum = sum.f_add(&chosen(tap).f_mul(gradient).unwrap().f_sum(None).unwrap()).unwrap();
            }
            sum
        };
        let slope = along(&gradients);
        first[unit] = -slope.f_double_value(&[]).unwrap();
        let curved = Tensor::f_run_backward(&[&slope], &run.taps, true, false).unwrap();
        second[unit] = 0.5 * along(&curved).f_double_value(&[]).unwrap();
    }
    assert!(n > 0);
    (second, first)
}

#[test]
fn exact_scores_are_those_of_the_exact_hessian() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    for graph in [convolutional(true), attention(), two_outputs(), tied()] {
        let data = data(&graph, folder.path(), None);
        let evidence = measured(&graph, &data, &double());
        assert!(
            !evidence.header.notes.iter().any(|note| note.contains("one by one")),
            "{:?}",
            evidence.header.notes
        );
        let found = evidence.score(Score::Quadratic).unwrap().values;
        let (expected, _) = by_double_backward(&graph, &data, false, &double());
        assert!(expected.iter().any(|score| *score > 1e-4), "{expected:?}");
        assert_near(&found, &expected, 1e-8);
        assert_eq!(evidence.score(Score::FirstOrder), None);
    }
}

#[test]
fn with_labels_first_and_second_order_are_those_of_their_loss_in_relu_nets() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    let graph = convolutional(false);
    let data = data(&graph, folder.path(), Some(4));
    let evidence = measured(&graph, &data, &double());
    let (second, first) = by_double_backward(&graph, &data, true, &double());
    assert_near(&evidence.score(Score::FirstOrder).unwrap().values, &first, 1e-8);
    // The masks act once on what is piecewise linear: nothing but the Gauss–Newton part is there.
    assert_near(&evidence.score(Score::Quadratic).unwrap().values, &second, 1e-8);
    let sums: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a + b).collect();
    assert_near(&evidence.score(Score::Loss).unwrap().values, &sums, 1e-8);
}

#[test]
fn every_loss_has_the_scores_of_its_exact_hessian() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    let outputs = weighted(&["logits=0.5", "embedding=3"]);
    let objective = |objective| MeasureOptions { objective, ..double() };
    let cases = [
        (
            dense(&["5"], 3, "Identity"),
            objective(Objective::Classes),
            "KL divergence from the model's own softmax",
        ),
        (pixels(), objective(Objective::Classes), "softmax"),
        (dense(&[], 5, "Identity"), objective(Objective::MultiLabel), "own sigmoids"),
        // More labels than directions are drawn of, and probabilities.
        (dense(&["30"], 5, "Identity"), objective(Objective::MultiLabel), "own sigmoids"),
        (dense(&[], 5, "Sigmoid"), double(), "own probabilities, the mean over labels"),
        (two_outputs(), MeasureOptions { outputs: &outputs, ..double() }, "softmax"),
    ];
    for (graph, options, loss) in cases {
        let data = data(&graph, folder.path(), None);
        let evidence = measured(&graph, &data, &options);
        assert!(evidence.header.outputs[0].loss.contains(loss), "{:?}", evidence.header.outputs);
        let (expected, _) = by_double_backward(&graph, &data, false, &options);
        assert!(expected.iter().any(|score| *score > 1e-4), "{expected:?}");
        assert_near(&evidence.score(Score::Quadratic).unwrap().values, &expected, 1e-8);
    }
    let evidence = measured(
        &two_outputs(),
        &data(&two_outputs(), folder.path(), None),
        &MeasureOptions { outputs: &outputs, ..double() },
    );
    let of: Vec<(&str, f64)> =
        evidence.header.outputs.iter().map(|output| (output.name.as_str(), output.weight)).collect();
    assert_eq!(of, [("logits", 0.5), ("embedding", 3.0)]);
    assert_eq!(evidence.header.settings.outputs, outputs);
}

#[test]
fn every_loss_of_labels_has_its_first_and_second_order() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    let flags = indices(&[5], 2);
    let numbers = wave(&[SAMPLES, 3], 0.7, 1.0, 0.0);
    let once = weighted(&["out=2"]);
    let cases = [
        (dense(&["5"], 3, "Identity"), indices(&[5], 3), "class scores along axis 2"),
        (pixels(), indices(&[4, 4], 3), "class scores along axis 1"),
        (dense(&[], 5, "Identity"), flags.clone(), "scores of labels that hold or not"),
        (dense(&[], 5, "Sigmoid"), flags, "probabilities of labels that hold or not"),
        (dense(&[], 3, "Identity"), numbers, "numbers"),
    ];
    for (graph, y, meaning) in cases {
        for outputs in [&[][..], &once] {
            let options = MeasureOptions { outputs, ..double() };
            let data = labelled(&graph, folder.path(), &y, &options);
            let evidence = measured(&graph, &data, &options);
            let assumed = |note: &String| note.contains(&format!("'out' is taken for {meaning}, as"));
            assert!(evidence.header.notes.iter().any(assumed), "{:?}", evidence.header.notes);
            let (second, first) = by_double_backward(&graph, &data, true, &options);
            assert!(first.iter().any(|score| score.abs() > 1e-3), "{first:?}");
            assert_near(&evidence.score(Score::FirstOrder).unwrap().values, &first, 1e-8);
            assert_near(&evidence.score(Score::Quadratic).unwrap().values, &second, 1e-8);
        }
    }
    // Of rows that do not count nothing comes.
    let graph = dense(&["5"], 3, "Identity");
    let mut some = indices(&[5], 3).to_i64_vec().unwrap();
    some.iter_mut().step_by(3).for_each(|label| *label = -1);
    some[..5].fill(-100);
    let some = HostTensor::from_slice(vec![SAMPLES, 5], &some).unwrap();
    let data = labelled(&graph, folder.path(), &some, &double());
    let evidence = measured(&graph, &data, &double());
    let (_, first) = by_double_backward(&graph, &data, true, &double());
    assert_near(&evidence.score(Score::FirstOrder).unwrap().values, &first, 1e-8);
}

#[test]
fn labels_are_verified_and_those_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    let options = VerifyOptions {
        units: 6,
        sets: 0,
        shares: [0.05, 0.3],
        groups: None,
        samples: SAMPLES,
        same_samples: true,
        batch_size: 7,
        seed: 0,
        session: double().session,
    };
    // The output is linear in a mask, and the loss a square: second order is all there is.
    let graph = dense(&[], 3, "Identity");
    let outputs = weighted(&["out=0.5"]);
    let measure_options = MeasureOptions { outputs: &outputs, ..double() };
    let y = wave(&[SAMPLES, 3], 0.7, 1.0, 0.0);
    let data = labelled(&graph, folder.path(), &y, &measure_options);
    let evidence = measured(&graph, &data, &measure_options);
    let verification = verify(&evidence, &graph, &data, &options, &[], &mut |_| {}).unwrap();
    assert_eq!((verification.removals.len(), verification.mean_p_max), (6, None));
    for removal in &verification.removals {
        assert!((removal.change - removal.predicted).abs() < 1e-6, "{removal:?}");
        let (found, predicted) = (removal.loss_change.unwrap(), removal.predicted_loss.unwrap());
        assert!((found - predicted).abs() < 1e-6, "{removal:?}");
    }
    let refused = |graph: &Arc<Graph>, y: &HostTensor, options: &MeasureOptions| {
        let data = labelled(graph, folder.path(), y, options);
        let file = folder.path().join("refused.safetensors");
        let job = MeasureJob { graph, data: &data, among: &ALL, options, file: &file };
        measure(&job, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let one_hot: Vec<i64> = (0..3 * SAMPLES as i64).map(|i| i64::from(i % 3 == 0)).collect();
    let one_hot = HostTensor::from_slice(vec![SAMPLES, 3], &one_hot).unwrap();
    let message = refused(&graph, &one_hot, &double());
    for part in ["labelled.npz", "'out'", "argmax", "--objective multi-label"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(refused(&dense(&["5"], 3, "Identity"), &indices(&[4], 3), &double()).contains("[7, 5]"));
    assert!(refused(&pixels(), &indices(&[], 3), &double()).contains("[7, 4, 4]"));
    let classes = MeasureOptions { objective: Objective::MultiLabel, ..double() };
    assert!(refused(&graph, &indices(&[], 2), &classes).contains("every number"));
    // Class labels say nothing of an output that is asked to be numbers.
    let values = MeasureOptions { objective: Objective::Values, ..double() };
    let data = labelled(&graph, folder.path(), &indices(&[], 3), &values);
    let evidence = measured(&graph, &data, &values);
    assert!(!evidence.header.labels);
    assert!(evidence.header.notes.iter().any(|note| note.contains("no numbers of the output's shape")));
    let twice = weighted(&["out", "out=2"]);
    let twice = MeasureOptions { outputs: &twice, ..double() };
    assert!(refused(&graph, &indices(&[], 3), &twice).contains("named twice"));
}

#[test]
fn what_is_drawn_is_right_in_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    // Hundreds of small measurements, for which threads would only wait.
    secateurs_torch::tch::set_num_threads(1);
    let outputs = weighted(&["logits=0.5", "embedding=3"]);
    let flags = MeasureOptions { objective: Objective::MultiLabel, ..double() };
    let cases = [
        (convolutional(true), double()),
        (attention(), double()),
        (two_outputs(), MeasureOptions { outputs: &outputs, ..double() }),
        (dense(&[], 5, "Identity"), flags),
    ];
    for (graph, options) in cases {
        let data = data(&graph, folder.path(), None);
        let exact = measured(&graph, &data, &options).score(Score::Quadratic).unwrap().values;
        for (estimator, draws) in [(Estimator::OnePass, 1), (Estimator::OnePass, 2), (Estimator::Labels, 1)] {
            let seeds = 40;
            let runs: Vec<Vec<f64>> = (0..seeds)
                .map(|seed| {
                    let options = MeasureOptions { estimator, draws, seed, ..options.clone() };
                    measured(&graph, &data, &options).score(Score::Quadratic).unwrap().values
                })
                .collect();
            assert_unbiased(&runs, &exact, &format!("{estimator:?}, {draws} draws"));
        }
    }
}

#[test]
fn standard_errors_cover_the_truth_as_often_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    secateurs_torch::tch::set_num_threads(1);
    let graph = convolutional(true);
    let all = 4000;
    let data = data_of(all, &graph, folder.path(), None);
    let among: Vec<usize> = (0..all).collect();
    let file = folder.path().join("evidence.safetensors");
    let measured = |options: &MeasureOptions| {
        let _ = std::fs::remove_file(&file);
        let job = MeasureJob { graph: &graph, data: &data, among: &among, options, file: &file };
        measure(&job, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let scores =
        [Score::Quadratic, Score::QuadraticAbsorbed, Score::Activation, Score::Trace, Score::HapTrace];
    let exact = measured(&MeasureOptions {
        samples: all,
        batch_size: 400,
        settled: None,
        trace: Some(Trace::Projected),
        directions: 1000,
        ..double()
    });
    let (seeds, mut covered) = (40, [0; 5]);
    for seed in 0..seeds {
        // In batches of 8, so that there are as many blocks of traces.
        let drawn = measured(&MeasureOptions {
            samples: 400,
            batch_size: 8,
            settled: None,
            seed,
            estimator: Estimator::OnePass,
            trace: Some(Trace::Projected),
            directions: 4,
            ..double()
        });
        for (covered, score) in covered.iter_mut().zip(scores) {
            let (truth, found) = (exact.score(score).unwrap(), drawn.score(score).unwrap());
            let within = |i: &usize| (found.values[*i] - truth.values[*i]).abs() <= 2.0 * found.errors[*i];
            *covered += (0..truth.values.len()).filter(within).count();
        }
    }
    let units = exact.header.units() as f64 * seeds as f64;
    for (covered, score) in covered.iter().zip(scores) {
        let share = f64::from(*covered as u32) / units;
        assert!((0.9..=0.985).contains(&share), "{}: ±2 standard errors cover {share}", score.name());
    }
}

#[test]
fn shards_batches_and_interruptions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let graph = attention();
    let data = data(&graph, folder.path(), Some(3));
    let trace = Some(Trace::PerSample);
    let options = MeasureOptions { estimator: Estimator::OnePass, trace, ..double() };
    let whole = measured(&graph, &data, &options);
    let close = |other: &Evidence| {
        for &score in Score::ALL {
            let (a, b) = (whole.score(score).unwrap(), other.score(score).unwrap());
            assert_near(&a.values, &b.values, 1e-6);
            assert_near(&a.errors, &b.errors, 1e-6);
        }
        let set = [0, 1, 3];
        assert!((whole.predicted(&set).0 / other.predicted(&set).0 - 1.0).abs() < 1e-6);
    };
    close(&measured(&graph, &data, &MeasureOptions { batch_size: 24, ..options.clone() }));
    let shards =
        (1..=3).map(|k| measured(&graph, &data, &MeasureOptions { shard: [k, 3], ..options.clone() }));
    let merged = merge(shards.collect()).unwrap();
    close(&merged);
    assert_eq!(merged.header.data[0].samples, [[0, SAMPLES]]);
    let twice = merge(vec![whole.clone(), whole.clone()]).unwrap_err().to_string();
    assert!(twice.contains("24 samples"), "{twice}");

    let file = folder.path().join("evidence.safetensors");
    let job = MeasureJob { graph: &graph, data: &data, among: &ALL, options: &options, file: &file };
    let stopped = measure(&job, &mut |progress| match progress.samples {
        7 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(EvidenceError::Interrupted { samples: 7 })));
    let unfinished = Evidence::read(&file).unwrap();
    assert_eq!(unfinished.header.ended, None);
    let error = merge(vec![whole.clone(), unfinished]).unwrap_err().to_string();
    assert!(error.contains("number 2 is not finished, with 7 samples"), "{error}");
    let resumed = measure(&job, &mut |_| ControlFlow::Continue(())).unwrap();
    close(&resumed);
    assert_eq!(Evidence::read(&file).unwrap(), resumed);
    // What implants could make comes last.
    let late = folder.path().join("late.safetensors");
    let late = MeasureJob { file: &late, ..job };
    let mut looks = 0;
    let stopped = measure(&late, &mut |progress| {
        looks += usize::from(progress.samples == SAMPLES);
        if looks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(EvidenceError::Interrupted { samples: SAMPLES })));
    assert_eq!(Evidence::read(late.file).unwrap().header.ended, None);
    let ended = measure(&late, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(!whole.explained.is_empty());
    close(&ended);
    assert_eq!(ended.explained, whole.explained);
    // More samples go on as well; other settings, models and data do not.
    let refused = |graph: &Arc<Graph>, data: &Arc<Dataset>, options: &MeasureOptions| {
        let job = MeasureJob { graph, data, among: &ALL, options, file: &file };
        measure(&job, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    assert!(
        refused(&graph, &data, &MeasureOptions { seed: 1, ..options.clone() }).contains("other settings")
    );
    let other = convolutional(true);
    let other_data = self::data(&other, folder.path(), Some(4));
    assert!(refused(&other, &other_data, &options).contains("another model"));
    let coupling = |graph: &Graph| graph.coupling(&CouplingOptions::default());
    assert!(resumed.check(&other, &coupling(&other), PlannedSplit::Outer, &[]).is_err());
    assert!(resumed.check(&graph, &coupling(&graph), PlannedSplit::Outer, &[]).is_ok());
    // Other versions may have found other units.
    let mut older = resumed.clone();
    older.header.groups.swap(0, 1);
    let error = older.check(&graph, &coupling(&graph), PlannedSplit::Outer, &[]).unwrap_err().to_string();
    assert!(error.contains("measure anew"), "{error}");
    std::fs::write(&file, b"12345678garbage").unwrap();
    assert!(refused(&graph, &data, &options).contains("evidence.safetensors"));
}

#[test]
fn ranks_of_implants_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let graph = dense(&[], 3, "Identity");
    let mut evidence = measured(&graph, &data(&graph, folder.path(), None), &double());
    let file = folder.path().join("forged.safetensors");
    for ranks in [vec![], vec![0, 1], vec![2, 1]] {
        let form = ExplainedForm::LowRank(ranks.clone());
        evidence.header.implants = vec![("node".into(), form.clone())];
        let residual = vec![0.5; ranks.len()];
        evidence.explained = vec![Explained { node: "node".into(), form, energy: vec![1.0], residual }];
        evidence.write(&file).unwrap();
        let error = Evidence::read_if_there(&file).unwrap_err().to_string();
        assert!(error.contains("do not fit together"), "{error}");
    }
}

#[test]
fn sets_are_predicted_by_the_factor_and_means_are_absorbed() {
    let folder = tempfile::tempdir().unwrap();
    // Neurons of which the second repeats the first with the other sign at the output, the third is constant and the fourth dead.
    let table = |shape: &[usize], values: &[f32]| HostTensor::from_slice(shape.to_vec(), values).unwrap();
    let graph = graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2"])
            .constant("w", &table(&[2, 4], &[1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0]))
            .constant("b", &table(&[4], &[2.0, 2.0, 1.0, -1.0]))
            .constant("v", &table(&[4, 2], &[1.0, -0.5, -1.0, 0.5, 0.7, 0.1, 0.3, 0.2]))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Add", &["h", "b"], &["i"])
            .node("Relu", &["i"], &["j"])
            .node("MatMul", &["j", "v"], &["value"])
            .output("value"),
    );
    let data = data(&graph, folder.path(), None);
    let evidence = measured(&graph, &data, &double());
    let scores = evidence.score(Score::Quadratic).unwrap();
    assert!(scores.values[0] > 0.1 && (scores.values[0] - scores.values[1]).abs() < 1e-12);
    assert!(evidence.predicted(&[0, 1]).0 < 1e-12);
    assert!((evidence.predicted(&[0]).0 - scores.values[0]).abs() < 1e-6);
    // A mean squared error of numbers: 0.7² and 0.1², over two outputs.
    assert!((scores.values[2] - 0.25).abs() < 1e-6, "{:?}", scores.values);
    assert_eq!((scores.values[3], scores.errors[3]), (0.0, 0.0));
    let absorbed = evidence.score(Score::QuadraticAbsorbed).unwrap().values;
    assert!(absorbed[2] < 1e-12 && absorbed[0] > 1e-3 && absorbed[0] < scores.values[0], "{absorbed:?}");
    // What goes takes its mean along where nothing absorbs it.
    for (afterwards, wanted) in [
        (Compensation::None, &scores.values),
        (Compensation::Means, &absorbed),
        (Compensation::LeastSquares, &absorbed),
    ] {
        let joint = Joint::new(&evidence, afterwards);
        assert_near(&(0..4).map(|unit| joint.alone(unit)).collect::<Vec<_>>(), wanted, 1e-6);
    }
    // A linear output: what second order predicts is what comes of it.
    let options = VerifyOptions {
        units: 4,
        sets: 0,
        shares: [0.05, 0.3],
        groups: None,
        samples: SAMPLES,
        same_samples: true,
        batch_size: 7,
        seed: 0,
        session: double().session,
    };
    let verification = verify(&evidence, &graph, &data, &options, &[], &mut |_| {}).unwrap();
    assert_eq!(verification.removals.len(), 4);
    for removal in &verification.removals {
        assert!((removal.change - removal.predicted).abs() < 1e-6, "{removal:?}");
    }
    let other = VerifyOptions { same_samples: false, ..options };
    assert!(
        verify(&evidence, &graph, &data, &other, &[], &mut |_| {})
            .unwrap_err()
            .to_string()
            .contains("measure fewer")
    );
}

#[test]
fn bad_data_are_named_and_small_memory_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = |factor: f32| {
        graph(
            ModelBuilder::new(17)
                .input("x", ElementType::Float32, &["batch", "2"])
                .constant("w", &wave(&[2, 4], 0.3, factor.into(), 0.0))
                .constant("v", &wave(&[4, 2], 0.5, 1.0, 0.0))
                .node("MatMul", &["x", "w"], &["h"])
                .node("Exp", &["h"], &["e"])
                .node("MatMul", &["e", "v"], &["logits"])
                .output("logits"),
        )
    };
    let (fine, hot) = (model(1.0), model(1e4));
    let data = data(&fine, folder.path(), Some(2));
    let file = folder.path().join("evidence.safetensors");
    let single = MeasureOptions { batch_size: 8, ..MeasureOptions::default() };
    secateurs_torch::load().unwrap();
    let error = |graph: &Arc<Graph>, options: &MeasureOptions| {
        let job = MeasureJob { graph, data: &data, among: &ALL, options, file: &file };
        measure(&job, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let named = error(&hot, &single);
    assert!(named.contains("make_e") && named.contains("sample"), "{named}");
    assert!(error(&fine, &MeasureOptions { samples: 0, ..single.clone() }).contains("at least 1"));
    assert!(error(&fine, &MeasureOptions { shard: [3, 2], ..single.clone() }).contains("1/N"));
    // Room for ten samples: a row of 4 units and 4 columns in 32 bits, one pass of two classes.
    let small = measured(&fine, &data, &MeasureOptions { memory: 10 * 32, ..single.clone() });
    assert_eq!((small.header.samples, small.header.samples_in_factor), (SAMPLES, 10));
    assert!(small.header.notes.iter().any(|note| note.contains("first 10")), "{:?}", small.header.notes);
    let least = measured(&fine, &data, &MeasureOptions { memory: 0, ..single.clone() });
    assert_eq!(least.header.samples_in_factor, 1);
    let all = measured(&fine, &data, &single);
    assert_eq!(all.score(Score::Quadratic), small.score(Score::Quadratic));
}

/// A convolution of so many positions that sums over them leave what 16 bits hold, with parameters in 16 bits or not.
fn large_maps(half: bool) -> Arc<Graph> {
    let element_type = if half { ElementType::Float16 } else { ElementType::Float32 };
    let weight = |shape: &[usize], f: f64, a: f64| {
        let rounded: Vec<f32> = wave(shape, f, a, 0.0)
            .to_f64_vec()
            .unwrap()
            .into_iter()
            .map(|x| half::f16::from_f64(x).to_f32())
            .collect();
        from_f32(rounded, shape.to_vec(), element_type).unwrap()
    };
    graph(
        ModelBuilder::new(17)
            .input("x", element_type, &["batch", "2", "160", "160"])
            .constant("w1", &weight(&[4, 2, 1, 1], 0.71, 40.0))
            .constant("w2", &weight(&[3, 4, 1, 1], 1.31, 0.04))
            .node("Conv", &["x", "w1"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("Conv", &["r", "w2"], &["l"])
            .node("GlobalAveragePool", &["l"], &["p"])
            .node_with("Flatten", &["p"], &["logits"], vec![AttributeProto::from_int("axis", 1)])
            .output("logits"),
    )
}

#[test]
fn models_of_16_bits_are_measured_in_32() {
    let folder = tempfile::tempdir().unwrap();
    let options = MeasureOptions { estimator: Estimator::Exact, ..MeasureOptions::default() };
    let [half, single] = [true, false].map(|half| {
        let graph = large_maps(half);
        let place = folder.path().join(if half { "half" } else { "single" });
        std::fs::create_dir(&place).unwrap();
        let data = data(&graph, &place, None);
        measured(&graph, &data, &options)
    });
    for score in [Score::Quadratic, Score::Activation] {
        let [a, b] = [&half, &single].map(|evidence| evidence.score(score).unwrap().values);
        assert_near(&a, &b, 2e-3);
    }
}
