//! A plan's groups among those of a model.

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Remaining, Selection};
use secateurs_graph::surgery::Choice;

use super::{Plan, PlanError, PlannedGroup, parameter_names};

/// How many digits of a hash messages show.
const SHOWN: usize = 12;

impl PlannedGroup {
    fn error(&self, problem: impl Into<String>) -> PlanError {
        let group = self.parameters.first().map_or("no parameter", String::as_str).to_owned();
        PlanError::Group { group, problem: problem.into() }
    }

    /// Checks what can be checked without the model.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        if self.parameters.is_empty() {
            return Err(
                self.error("names no parameter, so it cannot be found; name all parameters of the group")
            );
        }
        if self.kept.is_empty() {
            return Err(self.error("keeps no unit; keep at least one, or leave the group out"));
        }
        let sorted = |units: &[usize]| {
            let mut sorted = units.to_vec();
            sorted.sort_unstable();
            sorted
        };
        for (units, verb) in [(&self.kept, "keeps"), (&self.implanted, "implants")] {
            if let Some(twice) = sorted(units).windows(2).find(|w| w[0] == w[1]) {
                return Err(self.error(format!("{verb} unit {} twice; list each unit once", twice[0])));
            }
        }
        if let Some(gone) = self.implanted.iter().find(|unit| !self.kept.contains(unit)) {
            return Err(self.error(format!(
                "implants unit {gone}, which it does not keep; add it to 'kept', or leave it out of 'implanted'"
            )));
        }
        let sorted = sorted(&self.kept);
        match sorted.last() {
            Some(last) if *last >= self.units => Err(self.error(format!(
                "keeps unit {last}, but units are numbered 0 to {}; leave it out",
                self.units.saturating_sub(1)
            ))),
            _ => Ok(()),
        }
    }
}

pub(super) fn resolve(plan: &Plan, graph: &Graph, coupling: &Coupling) -> Result<Choice, PlanError> {
    let found = graph.hash();
    if plan.model.hash != found {
        let start = |hash: &str| hash.chars().take(SHOWN).collect::<String>();
        let (wanted, found) = (start(&plan.model.hash), start(&found));
        return Err(PlanError::OtherModel { file: plan.model.file.clone(), wanted, found });
    }
    let names: Vec<Vec<String>> = coupling.groups.iter().map(|g| parameter_names(graph, g)).collect();
    let mut selection = Selection::all(coupling);
    let mut implanted = vec![Vec::new(); names.len()];
    let mut taken = vec![false; names.len()];
    for planned in &plan.groups {
        planned.check()?;
        // The same axes can hold exact and inexact groups, and several of one kind where units lie apart.
        let same = |&g: &usize| {
            !taken[g]
                && names[g] == planned.parameters
                && coupling.groups[g].inexact.is_some() == planned.inexact
        };
        let candidates: Vec<usize> = (0..names.len()).filter(same).collect();
        let size = |g: &usize| coupling.groups[*g].units.len();
        let Some(&group) = candidates.iter().find(|g| size(g) == planned.units).or(candidates.first()) else {
            return Err(planned.error(
                "is not among the model's groups; `secateurs inspect --groups` lists them (with the same --split and --resizable)",
            ));
        };
        if size(&group) != planned.units {
            let problem = format!(
                "has {} units in the plan and {} in the model; make the plan again",
                planned.units,
                size(&group)
            );
            return Err(planned.error(problem));
        }
        if let Some(reason) = &coupling.groups[group].inexact
            && !plan.asked.allow_inexact
            && planned.kept.len() < planned.units
        {
            return Err(planned.error(format!(
                "cannot be pruned exactly ({}); leave it out, or set allow_inexact in the plan",
                reason.describe(graph)
            )));
        }
        taken[group] = true;
        selection.kept[group] = planned.kept.clone();
        selection.kept[group].sort_unstable();
        implanted[group] = planned.implanted.clone();
        implanted[group].sort_unstable();
    }
    // Groups that share an axis may each keep a unit and still empty it.
    let mut remaining = Remaining::new(coupling);
    for (group, kept) in selection.kept.iter().enumerate() {
        let gone = (0..coupling.groups[group].units.len()).filter(|u| kept.binary_search(u).is_err());
        for unit in gone {
            if !remaining.remove(group, unit) {
                let group = names[group].first().cloned().unwrap_or_default();
                let problem = "and others leave an axis that they share empty; keep more units".into();
                return Err(PlanError::Group { group, problem });
            }
        }
    }
    let forms = super::implants::resolve(&plan.implants, graph, coupling, &implanted)?;
    Ok(Choice { selection, implanted, forms })
}
