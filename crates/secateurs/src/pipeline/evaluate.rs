//! Accuracy and loss of a model on labelled data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::{Graph, GraphError, ValueId};
use secateurs_onnx::Tensor;
use serde::Serialize;

use crate::data::{Batch, DataError, Dataset};
use crate::metrics::{Accuracy, CrossEntropy, MetricError};
use crate::runtime::{Optimisation, OrtModel, RuntimeError, SessionOptions as RuntimeOptions};
use crate::tune::gives_probabilities;

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
    /// The output that holds the class scores; the first by default.
    pub output: Option<String>,
    /// What runs the model.
    pub engine: Engine,
}

/// How good a model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Samples seen.
    pub samples: u64,
    /// Samples whose class has the highest score.
    pub correct: u64,
    /// `correct / samples`.
    pub accuracy: f64,
    /// Its standard error.
    pub accuracy_standard_error: f64,
    /// The share of samples whose class is among the five highest scores.
    pub top5_accuracy: f64,
    /// Classes of the model.
    pub classes: usize,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Its standard error.
    pub loss_standard_error: f64,
    /// Samples with a score that is not a number; they count as wrong.
    pub nan: u64,
    /// Wall-clock time, reading the data included.
    pub seconds: f64,
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
    /// The outputs are no class scores.
    #[error("output '{output}': {source}")]
    Metric {
        /// The output's name.
        output: String,
        /// What is wrong.
        source: MetricError,
    },
    /// There is no such output.
    #[error("the model has no output '{wanted}'; it has {known}")]
    NoOutput {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// The data have no labels.
    #[error(
        "{0}: the data have no labels, so accuracy and loss cannot be measured; add class folders, y or a label column"
    )]
    NoLabels(String),
}

const DEFAULT_BATCH_SIZE: usize = 128;

/// Accuracy and cross-entropy of a model on labelled data. `progress` is told the samples done, batch by batch.
pub fn evaluate(
    graph: Arc<Graph>,
    dataset: Arc<Dataset>,
    options: &EvaluateOptions,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, EvaluateError> {
    if !dataset.has_labels() {
        return Err(EvaluateError::NoLabels(dataset.path().display().to_string()));
    }
    let (index, output) = find_output(&graph, options.output.as_deref())?;
    let name = graph.values[output].name.clone();
    let probabilities = gives_probabilities(&graph, output);
    let metric = |source| EvaluateError::Metric { output: name.clone(), source };
    let mut engine = Runner::new(&graph, &options.engine, index)?;
    let samples = options.samples.unwrap_or(usize::MAX).min(dataset.len());
    let batch_size = options.batch_size.or(dataset.fixed_batch_size()).unwrap_or(DEFAULT_BATCH_SIZE);
    // What is added is not counted.
    let order = dataset.filled((0..samples).collect());
    let (mut accuracy, mut loss, mut classes) = (Accuracy::default(), CrossEntropy::default(), 0);
    let (start, mut left) = (Instant::now(), samples);
    for batch in dataset.loader(order, batch_size, dataset.reading_threads()) {
        let batch = batch?;
        let labels = batch.labels.clone().unwrap_or_default();
        let mut scores = engine.run(batch)?;
        let counted = labels.len().min(left);
        if counted < labels.len() {
            scores = first_rows(&scores, counted);
        }
        if probabilities {
            scores = logarithms(&scores);
        }
        accuracy.add(&scores, &labels[..counted]).map_err(metric)?;
        loss.add(&scores, &labels[..counted]).map_err(metric)?;
        classes = scores.shape().get(1).copied().unwrap_or(0);
        left -= counted;
        progress(counted);
    }
    Ok(Evaluation {
        samples: accuracy.samples,
        correct: accuracy.top1,
        accuracy: accuracy.top1(),
        accuracy_standard_error: accuracy.standard_error(),
        top5_accuracy: accuracy.top5(),
        classes,
        loss: loss.mean(),
        loss_standard_error: loss.standard_error(),
        nan: accuracy.nan,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The output with the class scores, and its place among the outputs.
pub(super) fn find_output(graph: &Graph, wanted: Option<&str>) -> Result<(usize, ValueId), EvaluateError> {
    let Some(wanted) = wanted else {
        let first = graph.outputs.first().map(|&id| (0, id));
        return first.ok_or_else(|| EvaluateError::NoOutput { wanted: "(any)".into(), known: "none".into() });
    };
    let names: Vec<&str> = graph.outputs.iter().map(|&v| graph.values[v].name.as_str()).collect();
    match names.iter().position(|name| *name == wanted) {
        Some(index) => Ok((index, graph.outputs[index])),
        None => Err(EvaluateError::NoOutput { wanted: wanted.into(), known: names.join(", ") }),
    }
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
    let mut shape = scores.shape().to_vec();
    let width = scores.bytes().len() / shape[0].max(1);
    shape[0] = rows;
    Tensor::new(scores.element_type(), shape, scores.bytes().slice(..rows * width))
        .expect("whole rows of a tensor are a tensor")
}

fn logarithms(scores: &Tensor) -> Tensor {
    let logs: Vec<f64> = scores.to_f64_vec().unwrap_or_default().into_iter().map(f64::ln).collect();
    Tensor::from_slice(scores.shape().to_vec(), &logs).expect("as many logarithms as scores")
}
