//! Accuracy and loss of a model on labelled data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::{Graph, GraphError};
use secateurs_onnx::Tensor;
use serde::Serialize;

use crate::data::{Batch, DataError, Dataset};
use crate::metrics::{Accuracy, LabelLoss, MetricError};
use crate::runtime::{Optimisation, OrtModel, RuntimeError, SessionOptions as RuntimeOptions};
use crate::tune::{Head, LEAST_PROBABILITY, Meaning, Objective, TuneError, labelled_output};

/// What runs the model.
#[derive(Debug, Clone)]
pub enum Engine {
    /// Our interpreter.
    Libtorch(SessionOptions),
    /// ONNX Runtime on the file as it is, graph optimisations off.
    OnnxRuntime {
        /// The model's file.
        model: PathBuf,
        /// Threads; `None` for all cores.
        threads: Option<usize>,
    },
}

/// How to evaluate.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// Samples in a batch; 128 by default, or what the model fixes.
    pub batch_size: Option<usize>,
    /// The first so many samples only.
    pub samples: Option<usize>,
    /// The output that labels are for; the first of floats by default.
    pub output: Option<String>,
    /// What the output is taken for.
    pub objective: Objective,
    /// What runs the model.
    pub engine: Engine,
}

/// How good a model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Samples seen.
    pub samples: u64,
    /// How many labels are met; `None` where they are numbers.
    #[serde(flatten)]
    pub met: Option<Met>,
    /// The mean over samples of the labels' loss: cross-entropy in nats, or the mean squared error.
    pub loss: f64,
    /// Its standard error.
    pub loss_standard_error: f64,
    /// What the loss is, in words.
    pub loss_is: &'static str,
    /// Rows of scores with one that is no number, which count as wrong; of numbers, samples without a loss.
    pub nan: u64,
    /// What was assumed.
    pub notes: Vec<String>,
    /// Wall-clock time, reading the data included.
    pub seconds: f64,
}

/// How many labels are met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Met {
    /// Labels that count: one a sample, or those of its rows (tokens, pixels), or those that may hold or not.
    pub labels: u64,
    /// Those whose class has the highest score; of labels that hold or not, those on whose side of ½ the probability is.
    pub correct: u64,
    /// `correct / labels`.
    pub accuracy: f64,
    /// Its standard error, over samples.
    pub accuracy_standard_error: f64,
    /// The share of labels whose class is among the five highest scores.
    pub top5_accuracy: f64,
    /// Classes of the model; 2 where labels hold or not.
    pub classes: usize,
}

/// Why a model cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The output, or labels that do not fit it.
    #[error(transparent)]
    Output(#[from] TuneError),
    /// The output cannot be compared with labels.
    #[error("output '{output}': {source}")]
    Metric {
        /// The output's name.
        output: String,
        /// What is wrong.
        source: MetricError,
    },
    /// The data have no labels.
    #[error(
        "{0}: the data have no labels for the output, so accuracy and loss cannot be measured; add class folders, y or a label column"
    )]
    NoLabels(String),
}

const DEFAULT_BATCH_SIZE: usize = 128;

/// Accuracy and loss of a model on labelled data. `observe` is told, batch by batch, which samples are done, their output and their labels, both
/// `[N, …]`.
pub fn evaluate(
    graph: Arc<Graph>,
    dataset: Arc<Dataset>,
    options: &EvaluateOptions,
    mut observe: impl FnMut(&[usize], &Tensor, &Tensor),
) -> Result<Evaluation, EvaluateError> {
    let index = labelled_output(&graph, options.output.as_deref())?;
    let head = Head::of(&graph, index, dataset.labels(), options.objective);
    if !head.labelled {
        return Err(EvaluateError::NoLabels(dataset.path().display().to_string()));
    }
    let name = graph.values[graph.outputs[index]].name.clone();
    let metric = |source| EvaluateError::Metric { output: name.clone(), source };
    let mut engine = Runner::new(&graph, &options.engine, index)?;
    let samples = options.samples.unwrap_or(usize::MAX).min(dataset.len());
    let batch_size = options.batch_size.or(dataset.fixed_batch_size()).unwrap_or(DEFAULT_BATCH_SIZE);
    // What is added is not counted.
    let order = dataset.filled(dataset.grouped((0..samples).collect(), usize::MAX));
    let (mut accuracy, mut loss, mut classes) = (Accuracy::default(), LabelLoss::default(), 0);
    let (start, mut left) = (Instant::now(), samples);
    for batch in dataset.loader(order, batch_size, dataset.reading_threads()) {
        let mut batch = batch?;
        let counted = batch.indices.len().min(left);
        let labels = batch
            .labels
            .take()
            .ok_or_else(|| EvaluateError::NoLabels(dataset.path().display().to_string()))?;
        let indices = std::mem::take(&mut batch.indices);
        let output = engine.run(batch)?;
        head.meaning.check_labels(&name, output.shape(), &labels, &dataset)?;
        let (output, labels) = (first_rows(&output, counted), first_rows(&labels, counted));
        observe(&indices[..counted], &output, &labels);
        match class_scores(&output, head.meaning) {
            Some((scores, axis)) => {
                let labels = labels.to_i64_vec().unwrap_or_default();
                accuracy.add(&scores, axis, &labels).map_err(metric)?;
                loss.cross_entropy(&scores, axis, &labels).map_err(metric)?;
                classes = scores.shape()[axis];
            }
            None => {
                loss.squared_error(&output, &labels.to_f64_vec().unwrap_or_default()).map_err(metric)?;
            }
        }
        left -= counted;
    }
    let Accuracy { top1, top5, nan } = accuracy;
    let met = Met {
        labels: top1.of() as u64,
        correct: top1.count() as u64,
        accuracy: top1.value(),
        accuracy_standard_error: top1.standard_error(),
        top5_accuracy: top5.value(),
        classes,
    };
    let is_values = head.meaning == Meaning::Values;
    Ok(Evaluation {
        samples: samples as u64,
        met: Some(met).filter(|_| !is_values),
        loss: loss.mean(),
        loss_standard_error: loss.standard_error(),
        loss_is: head.meaning.label_loss(),
        nan: if is_values { loss.nan } else { nan },
        notes: head.assumption(&graph).into_iter().chain(dataset.notes()).collect(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

enum Runner {
    Libtorch { session: Box<Session>, index: usize },
    OnnxRuntime { model: Box<OrtModel>, index: usize },
}

impl Runner {
    fn new(graph: &Arc<Graph>, engine: &Engine, index: usize) -> Result<Runner, EvaluateError> {
        Ok(match engine {
            Engine::Libtorch(options) => {
                Runner::Libtorch { session: Box::new(Session::new(graph.clone(), *options)?), index }
            }
            Engine::OnnxRuntime { model, threads } => {
                let options = RuntimeOptions {
                    threads: *threads,
                    optimisation: Optimisation::Off,
                    ..RuntimeOptions::default()
                };
                Runner::OnnxRuntime { model: Box::new(OrtModel::load(model, &options)?), index }
            }
        })
    }

    fn run(&mut self, batch: Batch) -> Result<Tensor, EvaluateError> {
        Ok(match self {
            Runner::Libtorch { session, index } => {
                let inputs: Vec<Tensor> = batch.inputs.into_iter().map(|(_, tensor)| tensor).collect();
                session.run(&inputs)?.swap_remove(*index)
            }
            Runner::OnnxRuntime { model, index } => model.run(&batch.inputs)?.swap_remove(*index).1,
        })
    }
}

fn first_rows(scores: &Tensor, rows: usize) -> Tensor {
    if scores.shape()[0] == rows {
        return scores.clone();
    }
    let mut shape = scores.shape().to_vec();
    let width = scores.bytes().len() / shape[0].max(1);
    shape[0] = rows;
    Tensor::new(scores.element_type(), shape, scores.bytes().slice(..rows * width))
        .expect("whole rows of a tensor are a tensor")
}

/// An output as scores before a softmax, and the axis of their classes; `None` for values. A label that holds or not has the classes 0 and
/// 1, along axis 1.
fn class_scores(output: &Tensor, meaning: Meaning) -> Option<(Tensor, usize)> {
    let values = || output.to_f64_vec().unwrap_or_default();
    let of_two = |scores: &dyn Fn(f64) -> [f64; 2]| {
        let (samples, values) = (output.shape()[0], values());
        let width = values.len() / samples.max(1);
        let both = values.chunks_exact(width.max(1)).flat_map(|sample| {
            (0..2).flat_map(move |class| sample.iter().map(move |value| scores(*value)[class]))
        });
        (both.collect::<Vec<f64>>(), vec![samples, 2, width])
    };
    let tensor = |(values, shape): (Vec<f64>, Vec<usize>)| {
        Tensor::from_slice(shape, &values).expect("as many scores as numbers")
    };
    let logarithm = |p: f64| p.clamp(LEAST_PROBABILITY, f64::INFINITY).ln();
    Some(match meaning {
        Meaning::Logits { axis } => (output.clone(), axis),
        Meaning::Probabilities { axis } => {
            let logarithms = values().into_iter().map(logarithm).collect();
            (tensor((logarithms, output.shape().to_vec())), axis)
        }
        Meaning::BinaryLogits => (tensor(of_two(&|score| [0.0, score])), 1),
        Meaning::BinaryProbabilities => (tensor(of_two(&|p| [logarithm(1.0 - p), logarithm(p)])), 1),
        Meaning::Values => return None,
    })
}

#[cfg(test)]
mod tests {
    use secateurs_torch::tch;

    use super::*;

    #[test]
    fn probabilities_that_are_rounded_to_0_have_the_loss_of_tuning() {
        secateurs_torch::load().unwrap();
        // The sigmoid and the softmax of 40 and 200 in 32 bits, and the least that they are.
        let certain = [1.0f32, 0.0, 1.0, 1e-38];
        let labels = [0i64, 1];
        for meaning in [Meaning::BinaryProbabilities, Meaning::Probabilities { axis: 1 }] {
            let (values, shape) = match meaning {
                Meaning::BinaryProbabilities => (&certain[..2], [2, 1]),
                _ => (&certain[..], [2, 2]),
            };
            let (scores, axis) =
                class_scores(&Tensor::from_slice(shape.to_vec(), values).unwrap(), meaning).unwrap();
            let labels = if shape[1] == 1 { labels } else { [1, 1] };
            let mut loss = LabelLoss::default();
            loss.cross_entropy(&scores, axis, &labels).unwrap();
            let head = Head { index: 0, meaning, weight: 1.0, labelled: true, reason: "" };
            let output = tch::Tensor::f_from_slice(values).unwrap().f_view(shape.map(|n| n as i64)).unwrap();
            let labels = tch::Tensor::f_from_slice(&labels).unwrap().f_view([2, 1]).unwrap();
            let tuned = head.label_losses(&output, &labels, 0.0).unwrap();
            let tuned = tuned.f_mean(tch::Kind::Double).unwrap().f_double_value(&[]).unwrap();
            assert!(
                (loss.mean() - tuned).abs() < 1e-4 && (69.0..69.2).contains(&tuned),
                "{} {tuned}",
                loss.mean()
            );
        }
        let nan = Tensor::from_slice(vec![1, 1], &[f32::NAN]).unwrap();
        let (scores, _) = class_scores(&nan, Meaning::BinaryProbabilities).unwrap();
        assert!(scores.to_f64_vec().unwrap().iter().all(|score| score.is_nan()));
    }
}
