//! The choice of units for the report: what became of every layer's, and what smaller models cost and change.

use std::collections::{BTreeMap, BTreeSet};

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Group, UnitKind};
use secateurs_graph::graph::NodeId;
use secateurs_graph::surgery::Choice;

use super::job::JobError;
use super::outcome::untuned;
use super::record::{Record, Trial};
use super::stages::{Stages, VALIDATION};
use crate::format::is_numbered;
use crate::plan::{Plan, parameter_names};
use crate::report::{Attention, Fate, Frontier, FrontierLine, FrontierPoint, LayerUnits};
use crate::run;

/// What a plan chose in the original.
pub(super) struct Chosen<'g> {
    original: &'g Graph,
    coupling: Coupling,
    choice: Choice,
}

impl<'g> Chosen<'g> {
    pub(super) fn of(plan: &Plan, original: &'g Graph) -> Result<Self, JobError> {
        let coupling = plan.coupling(original)?;
        let choice = plan.choice(original, &coupling)?;
        Ok(Chosen { original, coupling, choice })
    }

    /// What became of the units that each node makes.
    pub(super) fn units(&self) -> BTreeMap<NodeId, LayerUnits> {
        let mut made: BTreeMap<NodeId, BTreeSet<(usize, usize)>> = BTreeMap::new();
        for place in self.coupling.made(self.original) {
            let own = place.indices.iter().map(|index| (index.group, index.unit));
            made.entry(place.node).or_default().extend(own);
        }
        let units = |(node, own): (NodeId, BTreeSet<(usize, usize)>)| {
            let kind = own.first().map(|(group, _)| self.coupling.groups[*group].kind.name().to_owned());
            let is_form = self.choice.forms.iter().any(|form| form.node == node);
            let fates: Vec<Fate> = own.iter().map(|(group, unit)| self.fate(*group, *unit)).collect();
            let count = |fate| fates.iter().filter(|own| **own == fate).count() as u64;
            let (kept, implanted, removed) = (count(Fate::Kept), count(Fate::Implanted), count(Fate::Pruned));
            // Other layers may make implanted units as before.
            let [kept, implanted] = if is_form { [kept, implanted] } else { [kept + implanted, 0] };
            (node, LayerUnits { kind: kind.unwrap_or_default(), kept, implanted, removed })
        };
        made.into_iter().map(units).collect()
    }

    /// What became of the heads of every attention layer.
    pub(super) fn attention(&self) -> Vec<Attention> {
        let groups = self.coupling.groups.iter().enumerate();
        let heads = groups.filter(|(_, group)| group.kind == UnitKind::AttentionHead);
        let layer = |(number, group): (usize, &Group)| Attention {
            name: common_name(&parameter_names(self.original, group)),
            heads: (0..group.units.len()).map(|unit| self.fate(number, unit)).collect(),
        };
        heads.map(layer).collect()
    }

    fn fate(&self, group: usize, unit: usize) -> Fate {
        let is_among = |units: &[Vec<usize>]| units[group].binary_search(&unit).is_ok();
        match (is_among(&self.choice.selection.kept), is_among(&self.choice.implanted)) {
            (false, _) => Fate::Pruned,
            (true, false) => Fate::Kept,
            (true, true) => Fate::Implanted,
        }
    }
}

/// The components that names begin with alike, those apart that an exporter numbered, as in `onnx::MatMul_7[0]`; or else the first name.
fn common_name(names: &[String]) -> String {
    const ENDS: [char; 2] = ['.', '/'];
    let mut own = names.iter().filter(|name| !is_numbered(name) && name.contains(ENDS));
    let mut common = own.next().map_or("", String::as_str);
    for name in own {
        let alike = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let whole =
            |end: usize| [common, name].iter().all(|name| name.len() == end || name[end..].starts_with(ENDS));
        let end = (0..=alike).rev().find(|&end| common.is_char_boundary(end) && whole(end));
        common = &common[..end.unwrap_or(0)];
    }
    match common.trim_matches(ENDS) {
        "" => names.first().cloned().unwrap_or_default(),
        common => common.to_owned(),
    }
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
        Some(FrontierPoint { kept, change: trial.scores.change? })
    };
    let mut measured: Vec<FrontierPoint> = trials.iter().filter_map(measured_at).collect();
    if trials.is_empty() {
        let scores = stages.scores(untuned(stages), VALIDATION);
        let change = scores.and_then(|scores| scores.change);
        measured.extend(share(plan).zip(change).map(|(kept, change)| FrontierPoint { kept, change }));
    }
    measured.sort_by(|a, b| a.kept.total_cmp(&b.kept));
    let kept = share(plan).unwrap_or(1.0);
    Ok(Some(Frontier {
        resource: resource.to_owned(),
        parts: plan.counted(resource).to_vec(),
        predicted,
        measured,
        chosen: FrontierPoint { kept, change: sum },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_by_what_names_begin_with() {
        let name =
            |names: &[&str]| common_name(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let bert =
            ["l.1.attention.self.query.bias[0]", "onnx::MatMul_12[1]", "l.1.attention.output.dense.bias[0]"];
        assert_eq!(name(&bert), "l.1.attention");
        // A component counts whole.
        assert_eq!(name(&["h.1.qkv.weight[0]", "h.12.qkv.weight[0]"]), "h");
        assert_eq!(name(&["h.q_proj.weight[0]", "h.q.weight[0]"]), "h");
        assert_eq!(name(&["a.weight[0]", "b.weight[1]"]), "a.weight[0]");
        assert_eq!(name(&["onnx::MatMul_12[1]", "onnx::MatMul_13[1]"]), "onnx::MatMul_12[1]");
        assert_eq!(name(&["h.q[0]"]), "h.q[0]");
    }
}
