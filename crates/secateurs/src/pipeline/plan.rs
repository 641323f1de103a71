//! Which units of a model stay under a budget.

use std::path::Path;
use std::sync::Arc;

use secateurs_graph::coupling::{Costs, Coupling, Remaining};
use secateurs_graph::{Bindings, Dim, Graph};

use super::lossless::dead_units;
use super::stored::within_bytes;
use crate::compensate::Compensation;
use crate::evidence::{Evidence, EvidenceError, Joint};
use crate::implants::{ImplantSettings, ImplantShare};
use crate::methods::{Method, MethodError, Scorer, Scores, UNMEASURED};
use crate::plan::{
    Asked, FORMAT_VERSION, Plan, PlannedGroup, PlannedImplant, PlannedModel, PlannedShare, PlannedSplit,
};
use crate::resizable::{ResizableError, coupling, names, resizable};
use crate::runtime::RuntimeError;
use crate::search::{
    Band, Budget, Frontier, Meter, Parts, Places, Ranking, Reached, SelectError, SelectOptions, Selected,
    frontier, groups_named, select,
};

/// How to plan.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What scores the units.
    pub method: &'static Method,
    /// What was measured of them, for methods that need it.
    pub evidence: Option<Arc<Evidence>>,
    /// What is fitted to the original afterwards: where layers are, what stays takes over what it can.
    pub compensation: Compensation,
    /// Scores in place of the method's own, for methods that need no evidence: those of a smaller model that an earlier step made.
    pub scores: Option<Arc<Scores>>,
    /// The seed of its draws.
    pub seed: u64,
    /// What may be kept.
    pub budget: Budget,
    /// Whether units that are provably dead go first; with a budget of no limits they alone go.
    pub lossless: bool,
    /// How many units are implanted.
    pub implant: ImplantSettings,
    /// Guards; its groups are those of `parts`.
    pub select: SelectOptions,
    /// Which parts of the model are pruned and counted.
    pub parts: PlanParts,
    /// Which units products of axes are split into.
    pub split: PlannedSplit,
    /// The inputs and outputs of the model that shrink with the units that they carry; `*` stands for any characters.
    pub resizable: Vec<String>,
    /// What symbolic sizes are bound to for counting MACs; [`macs_sizes`] completes them.
    pub sizes: Bindings,
}

impl Default for PlanOptions {
    /// The method that needs no data, on the whole model, without limits: nothing is compensated afterwards.
    fn default() -> PlanOptions {
        PlanOptions {
            method: UNMEASURED,
            evidence: None,
            compensation: Compensation::None,
            scores: None,
            seed: 0,
            budget: Budget::default(),
            lossless: false,
            implant: ImplantSettings::default(),
            select: SelectOptions::default(),
            parts: PlanParts::default(),
            split: PlannedSplit::default(),
            resizable: Vec::new(),
            sizes: Bindings::new(),
        }
    }
}

/// Which parts of a model are pruned and counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanParts {
    /// Parts of the names of what may lose units: kinds of units (`head`, `neuron`, `channel`) and parameters; none for all.
    pub among: Vec<String>,
    /// The constants and nodes whose parameters, bytes and multiply–accumulates the budget is about.
    pub count: Parts,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanningError {
    /// The units cannot be scored.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// Nothing has the names.
    #[error("{0}")]
    Parts(String),
    /// The evidence does not fit.
    #[error(transparent)]
    Evidence(Box<EvidenceError>),
    /// Evidence for a method that needs none.
    #[error("the method '{0}' does not go by evidence; leave out --evidence, or choose another method")]
    Unmeasured(&'static str),
    /// No choice meets the budget.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Inputs and outputs that cannot shrink.
    #[error(transparent)]
    Resizable(#[from] ResizableError),
    /// The units that would go at no loss cannot be told.
    #[error("--lossless: {0}")]
    Lossless(String),
    /// Implants for a model that has no place for them.
    #[error("the model has {0}; plan without --implant")]
    NoPlace(String),
    /// The model cannot be timed.
    #[error("latency is limited, and cannot be measured: {0}")]
    Timing(String),
    /// ONNX Runtime, which times it.
    #[error("latency is limited, and cannot be measured: {0}")]
    Runtime(#[from] RuntimeError),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Scores the units of a graph and chooses among them; where latency is limited, [`plan_timed`](super::plan_timed) does. Symbolic sizes of the graph should not be bound: what is bound is
/// fixed in the smaller model.
pub fn plan(graph: &Graph, options: &PlanOptions) -> Result<Plan, PlanningError> {
    let coupling = begin(graph, options)?;
    plan_coupled(graph, &coupling, options, None)
}

/// The groups that are chosen among. Evidence that does not fit is refused first, as planning may take long.
pub(super) fn begin(graph: &Graph, options: &PlanOptions) -> Result<Coupling, PlanningError> {
    let coupling = coupling(graph, options.split, &options.resizable)?;
    check_evidence(graph, &coupling, options)?;
    Ok(coupling)
}

/// Refuses evidence that the method does not go by, and evidence of another model or of other units.
fn check_evidence(graph: &Graph, coupling: &Coupling, options: &PlanOptions) -> Result<(), PlanningError> {
    let Some(evidence) = &options.evidence else { return Ok(()) };
    if !options.method.needs_evidence() {
        return Err(PlanningError::Unmeasured(options.method.name));
    }
    let resizable = names(graph, &resizable(graph, &options.resizable)?);
    evidence
        .check(graph, coupling, options.split, &resizable)
        .map_err(|e| PlanningError::Evidence(Box::new(e)))
}

pub(super) fn plan_coupled(
    graph: &Graph,
    coupling: &Coupling,
    options: &PlanOptions,
    latency: Option<&dyn Fn(&Remaining) -> f64>,
) -> Result<Plan, PlanningError> {
    let sizes = macs_sizes(graph, &options.sizes);
    let resizable = names(graph, &resizable(graph, &options.resizable)?);
    let groups = groups_named(graph, coupling, &options.parts.among)
        .map_err(|e| PlanningError::Parts(format!("--among {}: {e}", options.parts.among.join(","))))?;
    let mut guards = SelectOptions { groups, ..options.select.clone() };
    let dead = match options.lossless {
        true => Some(dead_units(graph, coupling, &sizes, &guards).map_err(PlanningError::Lossless)?),
        false => None,
    };
    guards.fixed.add_gone(dead.as_deref().unwrap_or_default());
    let (selected, predicted) = match options.budget.limits() {
        [] => (Selected::without(coupling, dead.as_deref().unwrap_or_default()), None),
        _ => choose(graph, coupling, options, &sizes, &guards, latency)?,
    };
    // JSON has no numbers that are none.
    let is_finite = |(frontier, chosen): &(Frontier, f64)| {
        chosen.is_finite() && frontier.change.iter().all(|change| change.is_finite())
    };
    let predicted = predicted.filter(is_finite).unzip();
    let cost = graph.cost();
    let file = Path::new(graph.source.file()).file_name().unwrap_or_default();
    let share = |r: &Reached| {
        let share = PlannedShare { kept: r.kept, of: r.of, share: r.share() };
        (r.limit.resource.name().to_owned(), share)
    };
    Ok(Plan {
        format_version: FORMAT_VERSION,
        secateurs: env!("CARGO_PKG_VERSION").into(),
        model: PlannedModel {
            file: file.to_string_lossy().into_owned(),
            hash: graph.hash(),
            parameters: cost.params,
            macs: dim_json(&cost.macs.bind(&sizes)),
            sizes,
        },
        asked: Asked {
            method: options.method.name.into(),
            seed: options.seed,
            implant: options.implant,
            keep: options.budget.limits().iter().map(ToString::to_string).collect(),
            max_drop: None,
            scope: options.select.scope,
            split: options.split,
            resizable,
            max_removed: options.select.max_removed,
            multiple_of: options.select.multiple_of,
            allow_inexact: options.select.allow_inexact,
            among: options.parts.among.clone(),
            count: options.parts.count.0.clone(),
        },
        reached: selected.reached.iter().map(share).collect(),
        latency: Vec::new(),
        predicted: predicted.1,
        frontier: predicted.0,
        lossless: dead.map(|dead| dead.iter().map(Vec::len).sum()),
        groups: PlannedGroup::of_choice(graph, coupling, &selected.choice),
        implants: PlannedImplant::of_choice(graph, &selected.choice),
    })
}

/// The choice under the budget, and what it is predicted to change where units were measured.
fn choose(
    graph: &Graph,
    coupling: &Coupling,
    options: &PlanOptions,
    sizes: &Bindings,
    guards: &SelectOptions,
    latency: Option<&dyn Fn(&Remaining) -> f64>,
) -> Result<(Selected, Option<(Frontier, f64)>), PlanningError> {
    let costs = counted(graph, coupling, sizes, &options.parts.count)?;
    let evidence = options.evidence.as_deref();
    let meter = Meter::new(&costs, coupling, guards);
    let meter = match latency {
        Some(latency) => meter.with_latency(latency),
        None => meter,
    };
    let joint = evidence.map(|evidence| Joint::new(evidence, options.compensation));
    let ranking = match (&joint, options.method.scorer, &options.scores) {
        (Some(joint), Scorer::Joint, _) => Ranking::Joint(joint.clone()),
        (_, Scorer::Model(_), Some(scores)) => Ranking::Scores((**scores).clone()),
        _ => Ranking::Scores(options.method.score(graph, coupling, options.seed, evidence)?),
    };
    let explained = evidence.map_or(&[][..], |evidence| &evidence.explained);
    let places = match options.implant.share {
        ImplantShare::None => None,
        share => Some(Places::new(graph, coupling, explained))
            .filter(|places| !places.is_empty() || share != ImplantShare::Auto),
    };
    if places.as_ref().is_some_and(Places::is_empty) {
        return Err(PlanningError::NoPlace(coupling.why_no_sites(graph)));
    }
    let band = places.as_ref().map(|places| Band { share: options.implant.share, places });
    let select = |budget: &Budget| select(graph, coupling, &meter, &ranking, budget, band.as_ref(), guards);
    let selected = match options.parts.count.is_all() {
        true => within_bytes(graph, coupling, &options.budget, guards, select)?,
        // What surgery adds belongs to no part.
        false => select(&options.budget)?,
    };
    let predicted = joint.map(|joint| frontier(coupling, &meter, joint, &selected, options.budget.limits()));
    Ok((selected, predicted))
}

/// The costs of the parts that are counted.
fn counted<'g>(
    graph: &'g Graph,
    coupling: &'g Coupling,
    sizes: &Bindings,
    count: &Parts,
) -> Result<Costs<'g>, PlanningError> {
    let costs = Costs::of_parts(graph, coupling, sizes, &|name| count.has(name));
    let holds_none = !count.is_all() && costs.params(&Remaining::new(coupling)) == 0;
    let all = count.0.join(",");
    if let Some(pattern) = count.unknown(graph).or(holds_none.then_some(&all)) {
        let example = graph.parameters().into_iter().next().map(|p| graph.values[p.value].name.clone());
        return Err(PlanningError::Parts(format!(
            "--count {all}: no parameter has the name '{pattern}', nor a node that computes with one; names are such as '{}', and \
             `secateurs inspect --all` lists them",
            example.unwrap_or_default()
        )));
    }
    Ok(costs)
}

/// Sizes for counting MACs: what is given, and for other symbols of the inputs 1 where they count samples and 128 elsewhere.
pub fn macs_sizes(graph: &Graph, given: &Bindings) -> Bindings {
    let mut sizes = given.clone();
    let shapes = || graph.inputs.iter().filter_map(|&v| graph.values[v].fact.shape.as_ref());
    for (others, size) in [(false, 1), (true, 128)] {
        for dim in shapes().flat_map(|shape| shape.iter().enumerate()).filter(|(k, _)| (*k > 0) == others) {
            for symbol in dim.1.symbols() {
                sizes.entry(symbol.to_string()).or_insert(size);
            }
        }
    }
    sizes
}

/// A number, or a formula over the symbolic sizes.
pub fn dim_json(dim: &Dim) -> serde_json::Value {
    dim.known().map_or_else(|| dim.to_string().into(), Into::into)
}
