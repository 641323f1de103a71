//! The report of a run: what was done, what came of it, and how to do it again, as one HTML page that loads nothing.
//!
//! A [`Report`] is plain data, written as JSON beside the page; [`render`] makes the page of it. What units are worth, a part of it,
//! has a page of its own too ([`render_sensitivity`]).

mod chart;
mod command;
mod encoding;
mod figures;
mod floored;
mod frontier;
mod heads;
mod layers;
mod ledger;
mod measured;
mod page;
mod samples;
mod scale;
mod sensitivity;
mod settings;
#[cfg(test)]
mod tests;
mod training;

pub use measured::{Change, Measured, Metric, Quality, Unit};
pub use page::render;
pub use sensitivity::{ScoredGroup, Sensitivity, render_sensitivity};

use std::collections::BTreeMap;

use secateurs_graph::Dim;
use serde::{Deserialize, Serialize};

use crate::runtime::Timing;

/// The version of the format of `report.json` that this program writes.
pub const FORMAT_VERSION: u64 = 1;

/// What a run did and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The name of the original model's file.
    pub model: String,
    /// When the run ended, as in `2026-11-24 14:35 UTC`.
    pub date: String,
    /// Wall-clock time of the whole run.
    pub seconds: f64,
    /// The command line, word by word, beginning with the program.
    pub command: Vec<String>,
    /// The model that was given.
    pub original: Figures,
    /// The model after pruning and before tuning; `None` where both were not done.
    pub pruned: Option<Figures>,
    /// The model that was written.
    pub result: Figures,
    /// What symbolic sizes were bound to for counting MACs.
    pub sizes: BTreeMap<String, i64>,
    /// How latency was measured; `None` where it was not.
    pub latency: Option<LatencyConditions>,
    /// What the reader must know, the weightiest first.
    pub notes: Vec<Note>,
    /// The layers, in the order in which they run.
    pub layers: Vec<Layer>,
    /// The attention layers whose heads could go, in the order in which they run; empty without a plan.
    #[serde(default)]
    pub attention: Vec<Attention>,
    /// What smaller models cost and change; `None` where units were not measured.
    #[serde(default)]
    pub frontier: Option<Frontier>,
    /// What units are worth; `None` where it was not measured.
    pub sensitivity: Option<Sensitivity>,
    /// The training; `None` where there was none.
    pub training: Option<Training>,
    /// The steps of the run, in their order.
    pub ledger: Vec<Step>,
    /// Some samples as the model sees them.
    pub samples: Vec<Sample>,
    /// The data; `None` for a run without.
    pub data: Option<DataDescription>,
    /// Every option with the value that it had in the end, in tables by subject.
    pub settings: toml::Table,
    /// Seeds by what was drawn with them.
    pub seeds: BTreeMap<String, u64>,
    /// What it ran on.
    pub environment: Environment,
    /// The files that were read and written.
    pub files: Vec<FileHash>,
}

/// What a model is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How good it is on the test data.
    pub test: Option<Quality>,
    /// How good it is on the samples kept from training, by which choices were made.
    pub validation: Option<Quality>,
    /// Trained numbers.
    pub parameters: u64,
    /// Multiply–accumulates at the sizes of the report.
    pub macs: Count,
    /// Bytes of the file and its external data; `None` where it was not written.
    pub file_bytes: Option<u64>,
    /// Latency at each of the report's batch sizes; empty where it was not measured.
    pub latency: Vec<Timing>,
    /// Units that can be removed; `None` where they were not counted.
    pub units: Option<u64>,
}

/// A count, or the formula that gives it once symbolic sizes are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// The count.
    Number(u64),
    /// As in `6144*batch`.
    Formula(String),
}

impl From<&Dim> for Count {
    fn from(dim: &Dim) -> Count {
        let known = dim.known().and_then(|n| u64::try_from(n).ok());
        known.map_or_else(|| Count::Formula(dim.to_string()), Count::Number)
    }
}

/// How latency was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyConditions {
    /// Threads of ONNX Runtime.
    pub threads: usize,
    /// The batch sizes.
    pub batches: Vec<LatencyBatch>,
}

/// A batch size at which latency was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBatch {
    /// Samples at a time.
    pub batch: usize,
    /// The shapes of the inputs, by name.
    pub shapes: Vec<(String, Vec<usize>)>,
}

/// Something that the reader must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How much it matters.
    pub weight: NoteWeight,
    /// A sentence or two.
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteWeight {
    /// Something may be wrong.
    Warning,
    /// Good to know.
    Note,
}

/// A layer before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The node's name.
    pub name: String,
    /// Its op, as in `Conv`.
    pub op: String,
    /// Output channels.
    pub channels: [u64; 2],
    /// What became of the units that it makes; `None` where it makes none that could go.
    #[serde(default)]
    pub units: Option<LayerUnits>,
    /// Trained numbers.
    pub parameters: [u64; 2],
    /// Multiply–accumulates at the sizes of the report.
    pub macs: [Count; 2],
}

/// What became of the units that a layer makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUnits {
    /// What a unit is.
    pub kind: String,
    /// Those that stay as they are.
    pub kept: u64,
    /// Those that another layer computes.
    pub implanted: u64,
    /// Those that went.
    pub removed: u64,
}

/// The heads of an attention layer, or of several that share them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// What the names of its parameters begin with, as in `encoder.layer.0.attention`.
    pub name: String,
    /// What became of each head.
    pub heads: Vec<Fate>,
}

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It stays as it is.
    Kept,
    /// Another layer computes it.
    Implanted,
    /// It went.
    Pruned,
}

/// What smaller models cost and change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frontier {
    /// The resource whose share is the cost, as in `params`.
    pub resource: String,
    /// The parts of the model that it is counted in; none for all.
    #[serde(default)]
    pub parts: Vec<String>,
    /// What the search predicted along the order in which units go: a line for every step.
    pub predicted: Vec<FrontierLine>,
    /// Smaller models that were made, compensated and measured on the validation split, the smallest first.
    pub measured: Vec<FrontierPoint>,
    /// The choice, with the change that was predicted.
    pub chosen: FrontierPoint,
}

/// What was predicted in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontierLine {
    /// As in `step 2`.
    pub name: String,
    /// The models, the smallest first.
    pub points: Vec<FrontierPoint>,
}

/// A smaller model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrontierPoint {
    /// The share of the resource that it keeps.
    pub kept: f64,
    /// The change of the outputs from the original's, in nats or squared errors; that of steps added up, where it is predicted.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub change: f64,
}

/// A training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Epochs that were asked for.
    pub epochs: u64,
    /// Steps of one epoch.
    pub steps_per_epoch: u64,
    /// What `evaluations` hold, on the validation split.
    pub metric: Metric,
    /// Every step, in the order in which they were made.
    pub steps: Vec<TrainingStep>,
    /// What was measured on the validation split, usually after each epoch.
    pub evaluations: Vec<TrainingEvaluation>,
    /// Returns to an earlier state.
    pub rollbacks: Vec<Rollback>,
    /// The state that the result was made of; `None` for the last.
    pub chosen: Option<ChosenState>,
    /// Why it ended before the last epoch.
    pub stopped: Option<String>,
}

/// A step of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingStep {
    /// Its number, from 1.
    pub step: u64,
    /// The loss of its batch, in nats.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub loss: f64,
    /// The learning rate that it was made with.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub learning_rate: f64,
}

/// What was measured during a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingEvaluation {
    /// Steps made by then.
    pub step: u64,
    /// With the weights as they were.
    pub weights: Option<f64>,
    /// With the moving average of the weights.
    pub averaged: Option<f64>,
}

/// A return to an earlier state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// Steps made by then.
    pub step: u64,
    /// Why.
    pub reason: String,
}

/// The state of a training that its result was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenState {
    /// Steps made by then.
    pub step: u64,
    /// Whether it is the moving average of the weights.
    pub averaged: bool,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// As in `plan`.
    pub name: String,
    /// Wall-clock time.
    pub seconds: f64,
    /// What it predicted or measured.
    pub quantities: Vec<Quantity>,
}

/// Something predicted, measured, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// What it is, as in `divergence from the original`.
    pub name: String,
    /// What it is counted in.
    pub unit: Unit,
    /// What was expected.
    pub predicted: Option<Measured>,
    /// What was found.
    pub measured: Option<Measured>,
}

/// A sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// As it is in evaluation.
    pub plain: Content,
    /// As it is once in training; `None` where nothing is augmented.
    pub augmented: Option<Content>,
    /// The name of its class.
    pub label: Option<String>,
    /// What the original model says of the plain sample.
    pub original: Option<Prediction>,
    /// What the result says of it.
    pub result: Option<Prediction>,
}

/// What a sample consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A PNG file.
    Picture(#[serde(with = "encoding::base64")] Vec<u8>),
    /// A text.
    Text(String),
    /// Numbers.
    Array {
        /// Its shape.
        shape: Vec<usize>,
        /// The first few values.
        first: Vec<f32>,
    },
}

/// The class that a model holds to be the most probable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Its name.
    pub class: String,
    /// Its probability, where the model gives one.
    pub probability: Option<f64>,
}

/// Data that a run used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataDescription {
    /// Training data, as the user gave them.
    pub path: String,
    /// Data that choices were made on, as the user gave them, where they are no part of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_path: Option<String>,
    /// Test data, as the user gave them.
    pub test_path: Option<String>,
    /// Samples trained on.
    pub training: u64,
    /// Samples kept for validation.
    pub validation: u64,
    /// Samples tested on.
    pub test: Option<u64>,
    /// Names of the classes, or their numbers.
    pub classes: Vec<String>,
    /// What is done to a sample before the model sees it, step by step.
    pub preprocessing: Vec<String>,
    /// What is done besides in training, step by step.
    pub augmentation: Vec<String>,
}

/// What a run ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The version of this program.
    pub secateurs: String,
    /// The version of libtorch, where it was loaded.
    pub libtorch: Option<String>,
    /// The version of ONNX Runtime, where it was loaded.
    pub onnx_runtime: Option<String>,
    /// As in `cpu` or `cuda:0`.
    pub device: String,
    /// The processor's name.
    pub cpu: String,
    /// Threads of libtorch.
    pub threads: usize,
}

/// A file by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// As in `original`, `plan`.
    pub role: String,
    /// As the user gave it, or relative to the run's folder.
    pub path: String,
    /// The hash, in hexadecimal; of a model, that of its graph and weights.
    pub hash: String,
}
