//! How sensitivity is measured: every setting that changes what is found.

use secateurs_graph::session::SessionOptions;
use serde::{Deserialize, Serialize};

use crate::plan::PlannedSplit;
use crate::tune::{Objective, WeightedOutput};

/// Settings of a measurement.
#[derive(Debug, Clone)]
pub struct MeasureOptions<'a> {
    /// At most so many samples.
    pub samples: usize,
    /// Which part of them is measured here, counted from 1, of how many.
    pub shard: [usize; 2],
    /// Samples in a batch; what is found does not depend on it, but for traces by directions or probes, which are drawn once a batch.
    pub batch_size: usize,
    /// How the outputs' Hessian is taken apart.
    pub estimator: Estimator,
    /// Backward passes a batch, where the estimator draws.
    pub draws: usize,
    /// How traces are measured; `None` for not.
    pub trace: Option<Trace>,
    /// Directions that gradients of weights are projected on.
    pub directions: usize,
    /// Probes a batch.
    pub probes: usize,
    /// Seed of the order of the samples and of all draws.
    pub seed: u64,
    /// Bytes that the factor may take; where all samples do not fit, the first of them are kept in it, one at least.
    pub memory: u64,
    /// The reliability of the ranking at which measuring ends early; `None` for never.
    pub settled: Option<f64>,
    /// The outputs that are looked at, the one that labels are for first; all of floats where none is named.
    pub outputs: &'a [WeightedOutput],
    /// What outputs are taken for.
    pub objective: Objective,
    /// Which units products of axes are split into.
    pub split: PlannedSplit,
    /// The inputs and outputs of the model that shrink with the units that they carry; such outputs are not looked at.
    pub resizable: &'a [String],
    /// How the model is run.
    pub session: SessionOptions,
}

impl Default for MeasureOptions<'_> {
    fn default() -> Self {
        MeasureOptions {
            samples: 2048,
            shard: [1, 1],
            batch_size: 64,
            estimator: Estimator::OnePass,
            draws: 1,
            trace: None,
            directions: 16,
            probes: 3,
            seed: 0,
            memory: 1 << 30,
            settled: Some(0.998),
            outputs: &[],
            objective: Objective::Auto,
            split: PlannedSplit::Outer,
            resizable: &[],
            session: SessionOptions::default(),
        }
    }
}

/// How the Hessian of the loss in the outputs is written as a sum of squares, each of which costs a backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Every direction of every output: no sampling, K − 1 passes for K classes.
    Exact,
    /// The leading directions each by itself, and the others with random signs in one pass: unbiased.
    OnePass,
    /// Labels drawn from the model's own probabilities: unbiased, and noisy where the model is sure. A baseline.
    Labels,
}

impl Estimator {
    /// All estimators.
    pub const ALL: &[Estimator] = &[Estimator::Exact, Estimator::OnePass, Estimator::Labels];

    /// The name, as commands and files write it.
    pub fn name(self) -> &'static str {
        match self {
            Estimator::Exact => "exact",
            Estimator::OnePass => "one-pass",
            Estimator::Labels => "labels",
        }
    }
}

/// How the trace of the Hessian's block of a unit's weights is measured; of the roots that the estimator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// From gradients of weights that are projected on random directions, batch by batch; those of at most as many weights as there are
    /// directions exactly.
    Projected,
    /// From the gradients of single samples.
    PerSample,
    /// By Hutchinson's probes through the model twice, whatever the estimator. A baseline.
    Hutchinson,
}

impl Trace {
    /// All ways.
    pub const ALL: &[Trace] = &[Trace::Projected, Trace::PerSample, Trace::Hutchinson];

    /// The name, as commands and files write it.
    pub fn name(self) -> &'static str {
        match self {
            Trace::Projected => "projected",
            Trace::PerSample => "per-sample",
            Trace::Hutchinson => "hutchinson",
        }
    }
}
