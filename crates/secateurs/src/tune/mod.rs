//! Training in the interpreter: to recover a pruned model from its original, or from scratch.
//!
//! [`tune`] trains a graph on a dataset by the settings of [`TuneOptions`], with checkpoints: the same call goes on where a killed
//! process has stopped, and ends with the same bytes. A part of the samples is held out and chooses among the epochs.

mod checkpoint;
mod error;
#[cfg(test)]
mod exported_tests;
mod hidden;
mod loss;
mod muon;
mod optimizer;
mod options;
mod outputs;
mod prepare;
#[cfg(test)]
mod residual_tests;
mod schedule;
mod scores;
mod settings;
mod stored;
mod teacher;
#[cfg(test)]
mod teacher_tests;
#[cfg(test)]
mod tests;
mod trainer;

pub use error::TuneError;
pub use loss::Meaning;
pub(crate) use loss::{Head, LEAST_PROBABILITY};
pub use options::{BatchNormMode, Objective, OptimizerKind, Schedule, TuneOptions, TunePrecision};
pub use outputs::{WeightedOutput, fixed_outputs};
pub(crate) use outputs::{by_samples, heads, labelled_output, none_one_or_many};
pub use scores::{ScoreOptions, Scores, scores};
pub(crate) use scores::{all_finite, inputs, token_mask};
pub use settings::{Output, Resolved};
pub(crate) use trainer::check_teaching;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_torch::tch::Device;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::plan::Plan;

/// What is trained on what.
pub struct TuneJob<'a> {
    /// The model.
    pub graph: &'a Graph,
    /// The model whose outputs it is to have.
    pub teacher: Option<&'a Graph>,
    /// A folder in which the teacher's outputs are kept, and found by trainings that show it the same batches.
    pub teacher_cache: Option<&'a Path>,
    /// What made the model of its teacher, where it is known: hidden states of other width are compared by it.
    pub plan: Option<&'a Plan>,
    /// The samples, of which a part is held out where there are no others to validate with.
    pub data: &'a Arc<Dataset>,
    /// Samples to validate with, with labels where the others have some.
    pub validation: Option<&'a Arc<Dataset>>,
    /// The outputs that are looked at, the one that labels are for first; all of floats where none is named.
    pub outputs: &'a [WeightedOutput],
    /// The settings.
    pub options: &'a TuneOptions,
    /// Where libtorch computes.
    pub device: Device,
    /// Where the checkpoints are: `checkpoint.safetensors` (the last state), `epoch.safetensors` and `earlier.safetensors` (the
    /// states after the last epoch and the one before) and `best.safetensors`. A state that is there is gone on from.
    pub folder: &'a Path,
}

/// What happens while training. Steps are counted from 1, and an event belongs to the step that was done last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "events are looked at one by one, not kept")]
pub enum Event {
    /// Before the first step.
    Started {
        /// Steps done before, by the run that this one goes on with.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// Steps an epoch.
        steps_per_epoch: usize,
        /// Samples that are trained on.
        training_samples: usize,
        /// Samples that are held out.
        validation_samples: usize,
        /// The settings in use.
        resolved: Box<Resolved>,
        /// What was assumed.
        notes: Vec<String>,
    },
    /// After each step.
    Step {
        /// The step.
        step: usize,
        /// Epochs done, as a fraction.
        epoch: f64,
        /// The loss of the step's batch.
        loss: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The norm of the gradient over all parameters, before clipping.
        gradient_norm: f64,
        /// Samples a second, a moving average.
        samples_per_second: f64,
    },
    /// Before the first step, where there are held-out samples and a model to tune, and after each epoch.
    Epoch {
        /// The step.
        step: usize,
        /// The epoch, counted from 1; 0 is the model before its tuning.
        epoch: usize,
        /// Scores on the held-out samples, of the averaged weights if there are any.
        scores: Scores,
        /// Scores of the weights themselves, where they are averaged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<Scores>,
        /// Whether they are the best so far.
        best: bool,
        /// Seconds of the epoch, as far as this process has seen it.
        seconds: f64,
    },
    /// After a loss or gradient that is infinite or no number: the training goes on from an earlier state with smaller steps.
    RolledBack {
        /// The step that failed.
        step: usize,
        /// The step that the state returned to was taken after.
        to: usize,
        /// What was seen.
        reason: String,
        /// What learning rates are multiplied with from now on.
        learning_rate_factor: f64,
    },
    /// Before its time.
    Stopped {
        /// The step.
        step: usize,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The step that was done last.
    pub fn step(&self) -> usize {
        match self {
            Event::Started { step, .. }
            | Event::Step { step, .. }
            | Event::Epoch { step, .. }
            | Event::RolledBack { step, .. }
            | Event::Stopped { step, .. } => *step,
        }
    }
}

/// What came of a training.
#[derive(Debug)]
pub struct Tuned {
    /// The trained model.
    pub graph: Graph,
    /// The epoch whose weights it has, counted from 1; 0 where none was trained, or none was better than the model before.
    pub chosen: usize,
    /// Its scores on the held-out samples.
    pub scores: Scores,
    /// Steps done in all.
    pub steps: usize,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// Trains a model. `observe` is told what happens and may end it: a checkpoint is written then, and the result is
/// [`TuneError::Interrupted`].
pub fn tune(job: &TuneJob, observe: &mut dyn FnMut(&Event) -> ControlFlow<()>) -> Result<Tuned, TuneError> {
    trainer::Trainer::new(job)?.run(observe)
}
