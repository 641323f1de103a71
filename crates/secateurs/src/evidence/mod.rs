//! What every unit is worth, measured on data: second-order sensitivity, and the first-order scores that it is compared with.
//!
//! A mask on a unit stands where the unit is consumed, so that setting it to 0 does what removal does. With `aₗ` the activations there
//! and `gₗ` their gradients for one root of the outputs' Hessian (`root`), the sum `A = Σₗ aₗ·gₗ` is the root's image of
//! the mask, and ½ E A² the change of the loss that second order predicts for the unit's removal. No block of the Hessian is approximated by
//! its trace. The rows A of all samples are kept as a factor: for any set S of units, of the whole net, the predicted change is
//! ½ ‖A 1ₛ‖² / n.
//!
//! [`Evidence`] holds sums over samples, so that shards measured apart add up, and is a safetensors file whose header is JSON.

mod columns;
mod error;
mod file;
#[cfg(test)]
mod fixed_tests;
mod joint;
mod measure;
mod merge;
mod options;
mod rank;
mod remap;
mod root;
mod scores;
mod sets;
#[cfg(test)]
mod tests;
mod trace;
mod verify;

pub use error::EvidenceError;
pub use joint::{Joint, Others};
pub use measure::{MeasureJob, Progress, measure};
pub use merge::merge;
pub use options::{Estimator, MeasureOptions, Trace};
pub use rank::spearman;
pub use scores::{Score, Scored};
pub use sets::GoneSet;
pub use verify::{Correlation, Kind, Removal, Verification, VerifyOptions, verify};

use std::fmt;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Group};
use serde::{Deserialize, Serialize};

use crate::format::is_numbered;
use crate::implants::{Explained, ExplainedForm};
use crate::plan::PlannedSplit;
use crate::run::DataIdentity;
use crate::tune::{Objective, WeightedOutput, none_one_or_many};

/// The version of the format that this program writes.
pub const FORMAT_VERSION: u64 = 1;

/// What was measured of a model's units.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What was measured, and of what.
    pub header: Header,
    /// Sums over samples.
    pub(crate) sums: Sums,
    /// What single samples gave.
    pub(crate) factor: Factor,
    /// What implants can make of the rows of layers.
    pub(crate) explained: Vec<Explained>,
}

/// What evidence is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The version of secateurs that wrote it.
    pub secateurs: String,
    /// The name of the model's file, for people.
    pub model: String,
    /// Its [`Graph::hash`](secateurs_graph::Graph::hash).
    pub model_hash: String,
    /// What was asked for.
    pub settings: Settings,
    /// Which samples were measured.
    pub data: Vec<MeasuredData>,
    /// How many they are.
    pub samples: usize,
    /// For how many of them the factor has rows.
    pub samples_in_factor: usize,
    /// How many independent parts the sums of traces are made of.
    #[serde(default)]
    pub trace_blocks: usize,
    /// Whether labels were used: first-order scores are there then.
    pub labels: bool,
    /// The outputs, and the loss that each was taken for.
    pub outputs: Vec<MeasuredOutput>,
    /// The groups.
    pub groups: Vec<MeasuredGroup>,
    /// The layers of which it is known what implants can make, and by which forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implants: Vec<(String, ExplainedForm)>,
    /// What was assumed.
    pub notes: Vec<String>,
    /// Why measuring ended; `None` where it is to go on.
    pub ended: Option<String>,
}

/// Settings that evidence depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How the outputs' Hessian was taken apart.
    pub estimator: Estimator,
    /// Backward passes a batch, where the estimator draws.
    pub draws: usize,
    /// How traces were measured, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSettings>,
    /// Seed of the order of the samples and of all draws.
    pub seed: u64,
    /// The outputs that were asked for.
    #[serde(default, alias = "output", deserialize_with = "none_one_or_many")]
    pub outputs: Vec<WeightedOutput>,
    /// What outputs were to be taken for.
    pub objective: Objective,
    /// Which units products of axes are split into.
    pub split: PlannedSplit,
    /// The inputs and outputs of the model that shrink with the units that they carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resizable: Vec<String>,
    /// Bits that were computed in.
    pub precision: u32,
}

/// How traces were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceSettings {
    /// The way.
    pub way: Trace,
    /// Directions, probes, or 0 where nothing was drawn but roots.
    pub drawn: usize,
}

impl fmt::Display for TraceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Trace::Projected => write!(f, "projected on {} directions", self.drawn),
            Trace::PerSample => f.write_str("from the gradients of single samples"),
            Trace::Hutchinson => write!(f, "by {} probes a batch", self.drawn),
        }
    }
}

/// Samples of one dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredData {
    /// The file or folder, for people.
    pub path: String,
    /// A hash of its contents.
    pub fingerprint: String,
    /// A hash of how they were read; `None` in files that do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// How many samples it has.
    pub of: usize,
    /// Those that were measured, as ranges `[from, to)` in ascending order.
    pub samples: Vec<[usize; 2]>,
}

impl MeasuredData {
    /// Whether they are these data, but were read otherwise.
    pub(crate) fn is_read_otherwise(&self, fingerprint: &str, reading: Option<&str>) -> bool {
        let readings = self.reading.as_deref().zip(reading);
        self.fingerprint == fingerprint && readings.is_some_and(|(own, other)| own != other)
    }
}

/// An output that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredOutput {
    /// Its name.
    pub name: String,
    /// The loss, in words.
    pub loss: String,
    /// Its weight.
    #[serde(default = "one")]
    pub weight: f64,
    /// The loss of the labels, in words, where they are for this output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_loss: Option<String>,
}

fn one() -> f64 {
    1.0
}

impl fmt::Display for MeasuredOutput {
    /// The loss, and what it weighs among those of other outputs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.weight == 1.0 { String::new() } else { format!("{} × ", self.weight) };
        write!(f, "{weight}{} of '{}'", self.loss, self.name)
    }
}

/// A group that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredGroup {
    /// What a unit is.
    pub kind: String,
    /// The axes of parameters that lose indices with a unit.
    pub parameters: Vec<MeasuredParameter>,
    /// The units.
    pub units: usize,
}

/// An axis of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredParameter {
    /// The parameter's name.
    pub name: String,
    /// Its axis.
    pub axis: usize,
    /// Whether the parameter's layer makes the unit; false where it consumes it.
    pub made: bool,
    /// For every unit the indices of the axis that go with it.
    pub indices: Vec<Vec<usize>>,
}

/// Sums over samples, a number a unit, and the sums of their squares.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Moments {
    pub sum: Vec<f64>,
    pub squares: Vec<f64>,
}

/// All sums over samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sums {
    /// ½ Σ A² over the roots of a sample.
    pub quadratic: Moments,
    /// The part of `quadratic.sum` of every other sample.
    pub quadratic_of_half: Vec<f64>,
    /// −Σ a·∂ℓ/∂a, with ℓ the loss of the labels; empty without labels, as all below.
    pub first_order: Moments,
    /// The sum of both.
    pub loss: Moments,
    /// ∣Σ a·∂ℓ/∂a∣.
    pub gradient: Moments,
    /// (Σ a·∂ℓ/∂a)².
    pub taylor: Moments,
    /// The mean of ∣a∣ over positions and indices.
    pub activation: Moments,
    /// The mean of a over positions, by column.
    pub means: Vec<f64>,
    /// The trace of the block of the unit's weights; empty where traces were not measured, as `hap`. Squares are those of blocks.
    pub trace: Moments,
    /// HAP's score.
    pub hap: Moments,
}

/// The roots' images of the masks, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Factor {
    /// The sample of each row, counted in the order of measuring.
    pub sample_of: Vec<u32>,
    /// `[rows, units]`: A.
    pub units: Vec<f32>,
    /// `[rows, columns]`: Σ g over positions, of every index at every place where it is consumed; for the absorption of means.
    pub gradients: Vec<f32>,
    /// The unit of every column.
    pub unit_of: Vec<u32>,
    /// What a column counts in A.
    pub shares: Vec<f32>,
}

impl Evidence {
    /// Refuses data of which it was measured, but that were read otherwise then.
    pub(crate) fn check_reading(&self, data: &DataIdentity) -> Result<(), EvidenceError> {
        let other = |own: &&MeasuredData| own.is_read_otherwise(&data.fingerprint, Some(&data.reading));
        match self.header.data.iter().find(other) {
            None => Ok(()),
            Some(own) => Err(EvidenceError::Options(format!(
                "the evidence was measured on {}, but they were read otherwise (preprocessing, columns or tokenizer); measure again, or \
                 read them as then",
                own.path
            ))),
        }
    }

    /// Refuses a model that this is not evidence of, and units that were not measured. `coupling` is that of the model.
    pub fn check(
        &self,
        graph: &Graph,
        coupling: &Coupling,
        split: PlannedSplit,
        resizable: &[String],
    ) -> Result<(), EvidenceError> {
        if self.header.model_hash != graph.hash() {
            let (evidence, model) = (self.header.model.clone(), graph.source.file().into());
            return Err(EvidenceError::Model { evidence, model });
        }
        if self.header.ended.is_none() {
            return Err(EvidenceError::Options(format!(
                "the evidence is not finished, with {} samples; the command that measures it goes on",
                self.header.samples
            )));
        }
        if self.header.settings.split != split {
            return Err(EvidenceError::Options(
                "the evidence was measured with another --split, so that its units are others; measure with the same".into(),
            ));
        }
        if self.header.settings.resizable != resizable {
            return Err(EvidenceError::Options(
                "the evidence was measured with another --resizable, so that its units are others; measure with the same".into(),
            ));
        }
        if self.header.groups != MeasuredGroup::all(graph, coupling) {
            return Err(EvidenceError::Options(format!(
                "the evidence is of other units than are found in the model now: secateurs {} measured it; measure anew",
                self.header.secateurs
            )));
        }
        Ok(())
    }
}

impl MeasuredGroup {
    /// All groups of a model.
    fn all(graph: &Graph, coupling: &Coupling) -> Vec<MeasuredGroup> {
        let of = |group: &Group| MeasuredGroup {
            kind: group.kind.name().into(),
            parameters: group
                .parameters
                .iter()
                .map(|parameter| MeasuredParameter {
                    name: graph.values[parameter.value].name.clone(),
                    axis: parameter.axis,
                    made: parameter.made,
                    indices: group.units.iter().map(|unit| unit.indices(parameter).to_vec()).collect(),
                })
                .collect(),
            units: group.units.len(),
        };
        coupling.groups.iter().map(of).collect()
    }

    /// What people know it by: an axis of the first parameter whose layer makes its units, as in `conv1.weight[0]`, and that an exporter has not
    /// numbered, if there is one.
    pub fn label(&self) -> String {
        let made: Vec<_> = self.parameters.iter().filter(|p| p.made).collect();
        let named = made.iter().copied().find(|p| !is_numbered(&p.name));
        let best = named.or(made.first().copied()).or(self.parameters.first());
        best.map_or_else(String::new, |p| format!("{}[{}]", p.name, p.axis))
    }
}

impl Header {
    /// How many units there are in all groups.
    pub fn units(&self) -> usize {
        self.groups.iter().map(|group| group.units).sum()
    }
}
