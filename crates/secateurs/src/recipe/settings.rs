//! What a run can be told: the keys of recipes, by table.

use secateurs_graph::Bindings;
use serde::{Deserialize, Serialize};

use crate::compensate::CompensateSettings;
use crate::data::DataOptions;
use crate::evidence::{Estimator, MeasureOptions, Trace};
use crate::implants::{ImplantSettings, ImplantShare, ImplantStart};
use crate::methods::{MEASURED, METHODS, UNMEASURED, method};
use crate::pipeline::{PlanOptions, PlanParts};
use crate::plan::PlannedSplit;
use crate::runtime::LatencyOptions;
use crate::search::{Budget, Limit, MAX_REMOVED, Parts, Resource, Scope, SelectOptions};
use crate::tune::TuneOptions;

/// All settings of a run; recipes have these tables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which units go.
    pub plan: PlanSettings,
    /// How units are measured, for methods that need it.
    pub measure: MeasureSettings,
    /// How what is left takes over from what goes, before it is tuned.
    pub compensate: CompensateSettings,
    /// How the model is tuned.
    pub tune: TuneOptions,
    /// How data are read.
    pub data: DataOptions,
    /// How latency is measured.
    pub latency: LatencySettings,
}

/// Which units go: [`PlanOptions`] as recipes write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSettings {
    /// What units are scored by; where it is not said, [`PlanSettings::resolved`] chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What may be kept, as in `["params=0.5"]`.
    pub keep: Vec<Limit>,
    /// Whether units that are provably dead go first; without `keep` they alone go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lossless: bool,
    /// How many of the units that would go are implanted instead.
    pub implant: ImplantShare,
    /// What implants start from.
    pub implant_start: ImplantStart,
    /// How many points of the validation metric may be lost before tuning; the smallest model that holds is searched for, and `keep`, where
    /// there is one, is the least that it may keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
    /// In how many steps the budget is reached; units are measured anew between them.
    #[serde(skip_serializing_if = "is_one")]
    pub steps: usize,
    /// What scores are compared with.
    pub scope: Scope,
    /// Seed of methods that draw.
    pub seed: u64,
    /// Which units products of axes are split into.
    pub split: PlannedSplit,
    /// The inputs and outputs of the model that shrink with the units that they carry; `*` stands for any characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resizable: Vec<String>,
    /// The largest share of a group that may go.
    pub max_removed: f64,
    /// What widths must be multiples of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<usize>,
    /// Whether groups may lose units whose removal changes what the others compute.
    pub allow_inexact: bool,
    /// Parts of the names of what may lose units: kinds (`head`, `neuron`, `channel`) or parameters; none for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// What the budget counts, as in `["encoder.*"]`; none for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub count: Vec<String>,
}

/// Runs of before have no steps.
fn is_one(steps: &usize) -> bool {
    *steps == 1
}

/// More steps would remove less than a unit of most groups each.
const MOST_STEPS: usize = 100;

/// Less than any model keeps: where a drop is limited and no resource, the search ends where guards end it.
const NOTHING: f64 = 1e-9;

impl Default for PlanSettings {
    fn default() -> PlanSettings {
        PlanSettings {
            method: None,
            keep: Vec::new(),
            lossless: false,
            implant: ImplantShare::default(),
            implant_start: ImplantStart::default(),
            max_drop: None,
            steps: 1,
            scope: Scope::default(),
            seed: 0,
            split: PlannedSplit::default(),
            resizable: Vec::new(),
            max_removed: MAX_REMOVED,
            multiple: None,
            allow_inexact: false,
            among: Vec::new(),
            count: Vec::new(),
        }
    }
}

/// How units are measured: [`MeasureOptions`] as recipes write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeasureSettings {
    /// At most so many training samples.
    pub samples: usize,
    /// How the outputs' Hessian is taken apart.
    pub estimator: Estimator,
    /// Backward passes a batch, where the estimator draws.
    pub draws: usize,
    /// How traces are measured; by default not, or for methods that need them `projected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Directions that gradients of weights are projected on, for `trace = "projected"`.
    pub directions: usize,
    /// Probes a batch, for `trace = "hutchinson"`.
    pub probes: usize,
    /// The reliability of the ranking at which measuring ends early; 1 for never.
    pub settled: f64,
}

impl Default for MeasureSettings {
    fn default() -> MeasureSettings {
        let MeasureOptions { samples, estimator, draws, trace, directions, probes, settled, .. } =
            MeasureOptions::default();
        let settled = settled.unwrap_or(1.0);
        MeasureSettings { samples, estimator, draws, trace, directions, probes, settled }
    }
}

impl MeasureSettings {
    /// The options for [`measure`](crate::evidence::measure()).
    pub fn options(&self) -> MeasureOptions<'static> {
        MeasureOptions {
            samples: self.samples,
            estimator: self.estimator,
            draws: self.draws,
            trace: self.trace,
            directions: self.directions,
            probes: self.probes,
            settled: Some(self.settled).filter(|share| *share < 1.0),
            ..MeasureOptions::default()
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            _ if self.samples == 0 => Err("measure.samples = 0: must be at least 1".into()),
            _ if self.draws == 0 => Err("measure.draws = 0: must be at least 1".into()),
            _ if self.directions == 0 => Err("measure.directions = 0: must be at least 1".into()),
            _ if self.probes == 0 => Err("measure.probes = 0: must be at least 1".into()),
            _ if !(0.0..=1.0).contains(&self.settled) => {
                Err(format!("measure.settled = {}: must be a number from 0 to 1", self.settled))
            }
            _ => Ok(()),
        }
    }
}

/// How latency is measured in ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySettings {
    /// Threads of ONNX Runtime.
    pub threads: usize,
    /// Runs of every model that are not timed, first.
    pub warmup: usize,
    /// Timed runs of every model at least.
    pub runs: usize,
    /// Seconds to go on for, at every batch size.
    pub seconds: f64,
    /// Batch sizes, where the model's batch is dynamic; none measures nothing.
    pub batches: Vec<usize>,
}

impl Default for LatencySettings {
    fn default() -> LatencySettings {
        let LatencyOptions { threads, warmup, min_runs: runs, seconds } = LatencyOptions::default();
        LatencySettings { threads, warmup, runs, seconds, batches: vec![1, 32] }
    }
}

impl LatencySettings {
    /// The options for [`measure`](crate::runtime::measure).
    pub fn options(&self) -> LatencyOptions {
        LatencyOptions {
            threads: self.threads,
            warmup: self.warmup,
            min_runs: self.runs,
            seconds: self.seconds,
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            _ if self.threads == 0 => Err("latency.threads = 0: must be at least 1".into()),
            _ if self.runs == 0 => Err("latency.runs = 0: must be at least 1".into()),
            _ if self.batches.contains(&0) => Err("latency.batches: a batch has at least 1 sample".into()),
            _ if !self.seconds.is_finite() || self.seconds < 0.0 => {
                Err(format!("latency.seconds = {}: must be a time", self.seconds))
            }
            _ => Ok(()),
        }
    }
}

impl PlanSettings {
    /// The same with a method: the one that is chosen, or else what suits units that are `measured`, or are not.
    pub fn resolved(&self, measured: bool) -> PlanSettings {
        let default = if measured { MEASURED } else { UNMEASURED };
        let method = self.method.clone().unwrap_or_else(|| default.name.into());
        PlanSettings { method: Some(method), ..self.clone() }
    }

    /// The options for [`plan`](crate::pipeline::plan()); `sizes` are bound for counting MACs. Fails where there is no budget, with
    /// the remedy. Without a method it is the one that needs no data.
    pub fn options(&self, sizes: Bindings) -> Result<PlanOptions, String> {
        self.check()?;
        let method = self.method.as_deref().and_then(method).unwrap_or(UNMEASURED);
        let keep = match self.max_drop {
            Some(_) if self.keep.is_empty() => vec![Limit::share(Resource::Params, NOTHING)],
            _ => self.keep.clone(),
        };
        if self.lossless && keep.is_empty() && self.steps > 1 {
            return Err("plan.steps: what goes at no loss goes at once; give a budget to reach in steps, as in --keep params=0.5".into());
        }
        Ok(PlanOptions {
            method,
            seed: self.seed,
            implant: ImplantSettings { share: self.implant, start: self.implant_start },
            budget: match keep.is_empty() && self.lossless {
                true => Budget::default(),
                false => Budget::new(keep).map_err(|e| format!("--keep: {e}"))?,
            },
            lossless: self.lossless,
            select: SelectOptions {
                scope: self.scope,
                max_removed: self.max_removed,
                multiple_of: self.multiple,
                allow_inexact: self.allow_inexact,
                ..SelectOptions::default()
            },
            parts: PlanParts { among: self.among.clone(), count: Parts(self.count.clone()) },
            split: self.split,
            resizable: self.resizable.clone(),
            sizes,
            ..PlanOptions::default()
        })
    }

    fn check(&self) -> Result<(), String> {
        if let Some(name) = self.method.as_deref().filter(|name| method(name).is_none()) {
            let known = METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
            return Err(format!("plan.method = '{name}': there is no such method; there are {known}"));
        }
        if !(0.0..=1.0).contains(&self.max_removed) {
            return Err(format!("plan.max_removed = {}: must be a number from 0 to 1", self.max_removed));
        }
        if let Some(points) = self.max_drop.filter(|points| !(0.0..=100.0).contains(points)) {
            return Err(format!("plan.max_drop = {points}: must be a number of points from 0 to 100"));
        }
        if !(1..=MOST_STEPS).contains(&self.steps) {
            return Err(format!("plan.steps = {}: must be from 1 to {MOST_STEPS}", self.steps));
        }
        match self.multiple {
            Some(0) => Err("plan.multiple = 0: must be at least 1".into()),
            _ => Ok(()),
        }
    }
}

impl Settings {
    /// Refuses settings that make no sense, naming them.
    pub fn check(&self) -> Result<(), String> {
        self.plan.check()?;
        self.measure.check()?;
        self.compensate.check().map_err(|reason| format!("compensate.{reason}"))?;
        self.tune.check().map_err(|reason| format!("tune.{reason}"))?;
        self.latency.check()
    }

    pub(super) fn deserialize_table(table: toml::Table) -> Result<Settings, String> {
        table.try_into().map_err(|e: toml::de::Error| e.message().replace('\n', "; "))
    }
}
