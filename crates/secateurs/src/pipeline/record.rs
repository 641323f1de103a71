//! The log of a run: what its stages found.

use serde::{Deserialize, Serialize};

use crate::runtime::Timing;
use crate::search::Limit;
use crate::tune::Scores;

/// What stages found, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Record {
    /// A model was scored.
    Scored { model: String, on: String, scores: Scores, seconds: f64 },
    /// Measuring units was interrupted, and goes on from there.
    Interrupted { seconds: f64 },
    /// Units were measured.
    Measured {
        /// Those of the original are measured for the first step, those of the smaller model that a step makes for the next.
        #[serde(default = "first")]
        for_step: usize,
        samples: usize,
        reliability: f64,
        notes: Vec<String>,
        seconds: f64,
    },
    /// What shares of what is limited the choice in steps or by a metric leads to.
    Target { shares: Vec<f64> },
    /// A smaller model was made on the way to the choice, and scored.
    Tried(Trial),
    /// No choice was found to meet this on the way to the one that loses little enough.
    Unmeetable { of_step: usize, keep: Vec<Limit> },
    /// The plan was written.
    Planned { seconds: f64 },
    /// The pruned model was written.
    Pruned {
        /// Units before and after.
        units: [usize; 2],
        exact: bool,
        left_alone: Option<(usize, String)>,
        /// The largest difference found by the check.
        difference: Option<f64>,
        #[serde(default)]
        notes: Vec<String>,
        seconds: f64,
    },
    /// The compensated model was written.
    Compensated {
        /// Layers with new weights, of how many.
        layers: [usize; 2],
        samples: usize,
        notes: Vec<String>,
        difference: Option<f64>,
        seconds: f64,
    },
    /// The tuned model was written.
    Tuned { chosen: usize, optimizer_steps: usize, notes: Vec<String>, difference: Option<f64>, seconds: f64 },
    /// Latency was measured.
    Timed { batch: usize, shapes: Vec<(String, Vec<usize>)>, original: Timing, result: Timing, seconds: f64 },
    /// The report was written.
    Finished { date: String },
}

impl Record {
    /// Wall-clock time.
    pub fn seconds(&self) -> f64 {
        match self {
            Record::Scored { seconds, .. }
            | Record::Interrupted { seconds }
            | Record::Measured { seconds, .. }
            | Record::Planned { seconds }
            | Record::Pruned { seconds, .. }
            | Record::Compensated { seconds, .. }
            | Record::Tuned { seconds, .. }
            | Record::Timed { seconds, .. }
            | Record::Tried(Trial { seconds, .. }) => *seconds,
            Record::Target { .. } | Record::Unmeetable { .. } | Record::Finished { .. } => 0.0,
        }
    }
}

fn first() -> usize {
    1
}

/// A smaller model that was tried on the way to the choice: compensated as the result is, and not tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// From 1, through all steps.
    pub number: usize,
    /// The step that it belongs to, from 1.
    pub of_step: usize,
    /// What it was to keep.
    pub keep: Vec<Limit>,
    /// The predicted change of the outputs of the model that the step began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    /// What it is on the held-out samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    /// By how much the loss of the labels changed there, from the model that the step began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_change: Option<f64>,
    /// How good it is on the held-out samples, beside the original.
    pub scores: Scores,
    /// How many points of the metric are lost; `None` where there is no metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<f64>,
    /// Whether it may be the choice.
    pub holds: bool,
    pub seconds: f64,
}

impl Trial {
    /// What it was to keep, for people.
    pub fn kept(&self) -> String {
        self.keep.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
