//! The choice of units for the report: what became of every layer's, and what smaller models cost and change.

use std::collections::{BTreeMap, BTreeSet};

use secateurs_graph::Graph;
use secateurs_graph::graph::NodeId;

use super::job::JobError;
use super::outcome::untuned;
use super::record::{Record, Trial};
use super::stages::{Stages, VALIDATION};
use crate::plan::Plan;
use crate::report::{Frontier, FrontierLine, FrontierPoint, LayerUnits};
use crate::run;

/// What became of the units that each node makes.
pub(super) fn units(plan: Option<&Plan>, original: &Graph) -> Result<BTreeMap<NodeId, LayerUnits>, JobError> {
    let Some(plan) = plan else { return Ok(BTreeMap::new()) };
    let coupling = plan.coupling(original)?;
    let choice = plan.choice(original, &coupling)?;
    let mut made: BTreeMap<NodeId, BTreeSet<(usize, usize)>> = BTreeMap::new();
    for place in coupling.made(original) {
        let own = place.indices.iter().map(|index| (index.group, index.unit));
        made.entry(place.node).or_default().extend(own);
    }
    let units = |(node, own): (NodeId, BTreeSet<(usize, usize)>)| {
        let kind = own.first().map_or(String::new(), |(group, _)| coupling.groups[*group].kind.name().into());
        let is_form = choice.forms.iter().any(|form| form.node == node);
        let is_among = |units: &[Vec<usize>]| {
            own.iter().filter(|(group, unit)| units[*group].binary_search(unit).is_ok()).count() as u64
        };
        let left = is_among(&choice.selection.kept);
        let implanted = if is_form { is_among(&choice.implanted) } else { 0 };
        let removed = own.len() as u64 - left;
        (node, LayerUnits { kind, kept: left - implanted, implanted, removed })
    };
    Ok(made.into_iter().map(units).collect())
}

/// What smaller models cost and change; `None` where that was not predicted.
pub(super) fn frontier(stages: &Stages, plan: Option<&Plan>) -> Result<Option<Frontier>, JobError> {
    let trials: Vec<Trial> = stages
        .log
        .stages::<Record>()
        .filter_map(|record| match record {
            Record::Tried(trial) => Some(trial),
            _ => None,
        })
        .collect();
    let Some(plan) = plan.filter(|plan| plan.predicted.is_some()) else { return Ok(None) };
    let limit = plan.asked.keep.first().and_then(|limit| limit.split('=').next());
    let Some(resource) = limit.filter(|resource| plan.reached.contains_key(*resource)) else {
        return Ok(None);
    };
    let share = |plan: &Plan| plan.reached.get(resource).map(|reached| reached.share);
    let mut plans: BTreeMap<usize, Plan> = BTreeMap::new();
    for trial in &trials {
        plans.insert(trial.number, Plan::read(&stages.directory.file(&run::trial_file(trial.number)))?);
    }
    // The models that steps began with are those that the steps before them chose.
    let chosen =
        trials.iter().rfind(|trial| plans.get(&trial.number).is_some_and(|own| own.groups == plan.groups));
    let steps = chosen.map_or(1, |trial| trial.of_step);
    let before: Vec<&Plan> = (1..steps)
        .filter_map(|step| {
            let last = trials.iter().rfind(|trial| trial.of_step == step && trial.holds)?;
            plans.get(&last.number)
        })
        .collect();
    let (mut predicted, mut sum, mut gone) = (Vec::new(), 0.0, 0);
    for (number, plan) in before.into_iter().chain([plan]).enumerate() {
        if let Some(frontier) = &plan.frontier
            && let Some(kept) = frontier.kept.get(resource)
        {
            let points = frontier.removed.iter().zip(kept).zip(&frontier.change);
            let points = points.filter(|((removed, _), _)| **removed >= gone);
            let points =
                points.map(|((_, kept), change)| FrontierPoint { kept: *kept, change: sum + change });
            let mut points: Vec<FrontierPoint> = points.collect();
            points.reverse();
            predicted.push(FrontierLine { name: format!("step {}", number + 1), points });
        }
        sum += plan.predicted.unwrap_or(0.0);
        gone = plan.groups.iter().map(|group| group.units - group.kept.len()).sum();
    }
    let measured_at = |trial: &Trial| {
        let kept = plans.get(&trial.number).and_then(share)?;
        Some(FrontierPoint { kept, change: trial.scores.divergence? })
    };
    let mut measured: Vec<FrontierPoint> = trials.iter().filter_map(measured_at).collect();
    if trials.is_empty() {
        let scores = stages.scores(untuned(stages), VALIDATION);
        let change = scores.and_then(|scores| scores.divergence);
        measured.extend(share(plan).zip(change).map(|(kept, change)| FrontierPoint { kept, change }));
    }
    measured.sort_by(|a, b| a.kept.total_cmp(&b.kept));
    let kept = share(plan).unwrap_or(1.0);
    Ok(Some(Frontier {
        resource: resource.to_owned(),
        predicted,
        measured,
        chosen: FrontierPoint { kept, change: sum },
    }))
}
