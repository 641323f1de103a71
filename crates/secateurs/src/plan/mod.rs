//! A plan: which units of a model stay, and which of them other layers compute, as a JSON file that people can read and edit.

mod error;
mod implants;
mod json;
mod resolve;
#[cfg(test)]
mod tests;

pub use error::PlanError;
pub use implants::{PlannedForm, PlannedImplant, node_name};

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Group, Selection, Split};
use secateurs_graph::surgery::Choice;
use serde::{Deserialize, Serialize};

use crate::implants::{ImplantSettings, ImplantShare};
use crate::methods::{Method, method};
use crate::resizable::coupling;
use crate::search::{Frontier, Limit, Resource, Scope};

/// The version of the format that this program writes. Version 1 had no implants.
pub const FORMAT_VERSION: u64 = 2;

/// The oldest version that it reads.
pub const OLDEST_VERSION: u64 = 1;

/// Which units of a model stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The version of secateurs that wrote it.
    pub secateurs: String,
    /// The model that it is for.
    pub model: PlannedModel,
    /// What was asked for.
    pub asked: Asked,
    /// What the plan reaches.
    pub reached: BTreeMap<String, PlannedShare>,
    /// Where latency was limited, the choices that were timed on the way to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyRound>,
    /// By how much the outputs are predicted to change, in nats or squares, where units were measured, on samples that did not choose (of 64 or more); where
    /// layers are fitted afterwards, the others take over what they can. Of a choice in steps the change from the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    /// Where units were measured, what smaller models cost and are predicted to change, along the order in which units go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontier: Option<Frontier>,
    /// How many units were found to be provably dead and went first, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lossless: Option<usize>,
    /// The groups that lose units, or have units that other layers are to compute.
    pub groups: Vec<PlannedGroup>,
    /// The nodes whose rows of implanted units other layers compute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implants: Vec<PlannedImplant>,
}

/// A choice that was timed beside the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRound {
    /// Milliseconds that it was predicted to take.
    pub predicted_ms: f64,
    /// What it took.
    pub measured_ms: f64,
    /// What the original took, run by run beside it.
    pub original_ms: f64,
    /// Whether this is the choice of the plan.
    pub chosen: bool,
}

/// The model that a plan is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// The name of its file, for people.
    pub file: String,
    /// Its [`Graph::hash`].
    pub hash: String,
    /// Its parameters.
    pub parameters: usize,
    /// Its multiply–accumulates at `sizes`; a formula where they are no number before the model runs.
    pub macs: serde_json::Value,
    /// What its symbolic sizes were bound to for counting MACs.
    pub sizes: BTreeMap<String, i64>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The method's name.
    pub method: String,
    /// The seed of its random draws.
    pub seed: u64,
    /// The limits, as in `params=0.5`.
    pub keep: Vec<String>,
    /// What was to be implanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub implant: ImplantSettings,
    /// How many points of the validation metric could be lost, where that was the limit and `keep` followed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
    /// What scores were compared with.
    pub scope: Scope,
    /// Which units products of axes were split into.
    pub split: PlannedSplit,
    /// The inputs and outputs of the model that shrink with the units that they carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resizable: Vec<String>,
    /// The largest share of a group that could go.
    pub max_removed: f64,
    /// What widths had to be multiples of.
    pub multiple_of: Option<usize>,
    /// Whether groups that change what the others compute could lose units.
    pub allow_inexact: bool,
    /// Parts of the names of what could lose units; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// Patterns of the names of what was counted; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub count: Vec<String>,
}

fn is_default(implant: &ImplantSettings) -> bool {
    *implant == ImplantSettings::default()
}

/// [`Split`] as plans write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedSplit {
    /// Whole attention heads, groups of convolutions.
    #[default]
    Outer,
    /// Dimensions of all heads, channels of all groups.
    Inner,
}

impl From<PlannedSplit> for Split {
    fn from(split: PlannedSplit) -> Split {
        match split {
            PlannedSplit::Outer => Split::Outer,
            PlannedSplit::Inner => Split::Inner,
        }
    }
}

/// What is kept of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedShare {
    /// What is kept: a number of parameters, multiply–accumulates, bytes, units, or milliseconds.
    #[serde(serialize_with = "json::number")]
    pub kept: f64,
    /// Of how much.
    #[serde(serialize_with = "json::number")]
    pub of: f64,
    /// `kept / of`.
    pub share: f64,
}

/// A group that loses units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedGroup {
    /// What a unit is, for people.
    pub kind: String,
    /// The axes of parameters that lose indices, as in `conv1.weight[0]`: what the group is found by.
    pub parameters: Vec<String>,
    /// Whether removal changes what the other units compute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inexact: bool,
    /// How many units it has.
    pub units: usize,
    /// The numbers of those that stay, ascending from 0.
    pub kept: Vec<usize>,
    /// Of those that stay, the numbers of those that are implanted: computed as the plan's `implants` say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implanted: Vec<usize>,
}

/// The axes of a group's parameters, as plans name them: `conv1.weight[0]`.
pub fn parameter_names(graph: &Graph, group: &Group) -> Vec<String> {
    let mut names: Vec<String> =
        group.parameters.iter().map(|p| format!("{}[{}]", graph.values[p.value].name, p.axis)).collect();
    // A vector read by several layers has an axis for each.
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

impl PlannedGroup {
    /// The groups that lose or implant units in a choice, and those that only their order tells from one of these.
    pub fn of_choice(graph: &Graph, coupling: &Coupling, choice: &Choice) -> Vec<PlannedGroup> {
        let units = choice.selection.kept.iter().zip(&choice.implanted);
        let planned = coupling.groups.iter().zip(units).map(|(group, (kept, implanted))| PlannedGroup {
            kind: group.kind.name().into(),
            parameters: parameter_names(graph, group),
            inexact: group.inexact.is_some(),
            units: group.units.len(),
            kept: kept.clone(),
            implanted: implanted.clone(),
        });
        let all: Vec<PlannedGroup> = planned.collect();
        let changes = |group: &PlannedGroup| group.kept.len() < group.units || !group.implanted.is_empty();
        let changed: HashSet<(&[String], bool, usize)> =
            all.iter().filter(|group| changes(group)).map(PlannedGroup::known_by).collect();
        let listed: Vec<bool> = all.iter().map(|group| changed.contains(&group.known_by())).collect();
        all.into_iter().zip(listed).filter(|(_, listed)| *listed).map(|(group, _)| group).collect()
    }

    /// What a group is found by in a model; of several that are the same in this, the order tells.
    fn known_by(&self) -> (&[String], bool, usize) {
        (&self.parameters, self.inexact, self.units)
    }
}

impl Plan {
    /// Reads a plan and checks all that can be checked without its model.
    pub fn read(path: &Path) -> Result<Plan, PlanError> {
        json::read(path)
    }

    /// The same of a plan in memory; errors name it `path`.
    pub fn from_bytes(text: &[u8], path: &Path) -> Result<Plan, PlanError> {
        json::parse(text, path)
    }

    /// Writes the plan, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), PlanError> {
        json::write(self, path)
    }

    /// What to tell where units were to be implanted, and none is, though that is not what predicted changes say.
    pub fn missing_implants(&self) -> Option<String> {
        let missing = self.implants.is_empty() && !self.asked.keep.is_empty();
        let share = match self.asked.implant.share {
            ImplantShare::None => return None,
            ImplantShare::Auto => {
                let by_sets = method(&self.asked.method).is_some_and(Method::goes_by_sets);
                let predicted = by_sets && self.asked.scope == Scope::Global;
                return (missing && !predicted).then(|| {
                    "no unit is implanted: 'auto' goes by what sets of units are predicted to change, which method 'joint' over the whole net \
                     says; give a share, or choose by it"
                        .into()
                });
            }
            ImplantShare::Share(share) => share,
        };
        missing.then(|| {
            let ended = match self.asked.max_drop {
                Some(_) => "; or, with --steps, a step that others should have followed was the last: only the last implants",
                None => "",
            };
            format!(
                "no unit is implanted, though a share of {share} was asked for: no layer computes four or more of these units and offers \
                 another form, or the budget cannot be met with so many{ended}; try another share, or 'auto'"
            )
        })
    }

    /// The parts of the model that a resource is counted in, as in `params`; none for all.
    pub fn counted(&self, resource: &str) -> &[String] {
        let counted = [Resource::Params, Resource::Bytes, Resource::Macs];
        if counted.iter().any(|own| own.name() == resource) { &self.asked.count } else { &[] }
    }

    /// By what share of its limit on latency the choice was measured to be above it; negative below.
    pub fn beyond_latency(&self) -> Option<f64> {
        let limits = self.asked.keep.iter().filter_map(|limit| limit.parse::<Limit>().ok());
        let limit = limits.into_iter().find(|limit| limit.resource == Resource::Latency)?;
        let round = self.latency.iter().find(|round| round.chosen)?;
        Some(round.measured_ms / limit.allowed(round.original_ms) - 1.0)
    }

    /// The groups of its model that the plan's units are in.
    pub fn coupling(&self, graph: &Graph) -> Result<Coupling, PlanError> {
        Ok(coupling(graph, self.asked.split, &self.asked.resizable)?)
    }

    /// The plan's units in its model's groups. `coupling` must be [`Plan::coupling`]'s.
    pub fn resolve(&self, graph: &Graph, coupling: &Coupling) -> Result<Selection, PlanError> {
        self.choice(graph, coupling).map(|choice| choice.selection)
    }

    /// The same with the implants.
    pub fn choice(&self, graph: &Graph, coupling: &Coupling) -> Result<Choice, PlanError> {
        resolve::resolve(self, graph, coupling)
    }
}
