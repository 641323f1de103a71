//! The choice in steps, and by how much the metric may drop.
//!
//! A step chooses among the units of the original from what was measured of the model that the step before it has made: what has gone stays
//! gone, and what is left is worth what the smaller model makes it worth. So the last plan says all that goes of the original, and is
//! carried out and compensated like any other. Budgets shrink geometrically. Where the metric may not drop too far, the first step that
//! goes too far, or cannot be met as measured, is the last, and goes as far as the metric and the measured latency permit.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;

use super::job::JobError;
use super::metric_drop::{furthest, metric};
use super::plan::{PlanOptions, PlanningError};
use super::record::Record;
use super::stages::{Models, Stages};
use super::trials::{Begin, Tried};
use crate::evidence::Header;
use crate::methods::{Scorer, Scores};
use crate::plan::{Plan, PlanError};
use crate::resizable::{resizable, unchecked};
use crate::search::{Amount, Budget, Fixed, Limit, Reached, SelectError};

/// Shares that are searched for are written with so many decimals.
const DECIMALS: f64 = 1e4;
/// Where guards leave no smaller model to try.
const NOTHING_MAY_GO: &str = "--max-drop: less than 0.01 % of the parameters may go, so that there is no smaller model to try; allow more \
                              with --max-removed, with a smaller --multiple, or with more names in --among";

impl Stages<'_, '_> {
    /// Chooses units by trying smaller models. `first` is any plan that meets the budget, where the user has given one.
    pub(super) fn try_out(
        &mut self,
        original: &Arc<Graph>,
        options: &PlanOptions,
        first: Option<&Plan>,
    ) -> Result<Plan, JobError> {
        let settings = &self.job.settings.plan;
        let (steps, max_drop) = (settings.steps, settings.max_drop);
        self.validate(Models::ORIGINAL, original, None)?;
        // A share of a latency is that of one time measured: it stays what it was.
        let known = self.find(|record| match record {
            Record::Target { shares } => Some(shares),
            _ => None,
        });
        let target = match known {
            Some(target) => target,
            None => {
                let target = self.target(original, options, first)?;
                self.done(Record::Target { shares: target.clone() })?;
                target
            }
        };
        let mut tried: Vec<Tried> = Vec::new();
        let mut best: Option<usize> = None;
        let mut start: Vec<f64> = vec![1.0; target.len()];
        let mut begin = Begin {
            of_step: 1,
            model: original.clone(),
            options: options.clone(),
            loss: self.original_loss(),
        };
        for of_step in 1..=steps {
            let end: Vec<f64> =
                target.iter().map(|share| share.powf(of_step as f64 / steps as f64)).collect();
            // The last one is what was asked for, to the last digit.
            let exact = of_step == steps && !self.job.settings.plan.keep.is_empty();
            let gap = start.iter().zip(&end).map(|(a, b)| a.min(1.0) - b.min(1.0)).fold(0.0, f64::max);
            let mut ended = false;
            furthest(gap, |way| -> Result<bool, JobError> {
                let whole = way >= 1.0;
                let part = || start.iter().zip(&end).map(|(a, b)| a + way * (b - a)).collect::<Vec<f64>>();
                let budget = match whole {
                    true if exact => options.budget.clone(),
                    true => budget_of(&options.budget, &end),
                    false => budget_of(&options.budget, &part()),
                };
                let found = self.attempt(original, &begin, budget, &tried, !whole || of_step == steps)?;
                let holds = found.as_ref().is_some_and(|found| found.trial.holds);
                tried.extend(found);
                if holds {
                    best = Some(tried.len() - 1);
                }
                ended |= !holds;
                Ok(holds)
            })?;
            if ended {
                break;
            }
            start = end;
            if of_step < steps
                && let Some(last) = tried.last_mut()
            {
                let model = self.step_model(last)?;
                last.model = None;
                begin = self.next(original, options, last, model)?;
            }
        }
        match best {
            Some(best) => Ok(tried.swap_remove(best).plan),
            None => Err(too_much_lost(&tried, max_drop.unwrap_or(0.0))),
        }
    }

    /// What share of each limited resource is left in the end; where the user has not said it, the least that guards permit.
    fn target(
        &mut self,
        original: &Graph,
        options: &PlanOptions,
        first: Option<&Plan>,
    ) -> Result<Vec<f64>, JobError> {
        let limits = options.budget.limits();
        let share = |limit: &Limit| match limit.amount {
            Amount::Share(share) => share,
            Amount::Absolute(amount) => {
                let reached = first.and_then(|plan| plan.reached.get(limit.resource.name()));
                reached.map_or(1.0, |reached| amount / reached.of.max(f64::MIN_POSITIVE))
            }
        };
        if first.is_some() {
            return Ok(limits.iter().map(share).collect());
        }
        match self.choose(original, options, 0) {
            Err(JobError::Planning {
                source: PlanningError::Select(SelectError::Unmeetable { nearest, .. }),
                ..
            }) => {
                let least = |reached: &Reached| (DECIMALS * reached.share()).ceil() / DECIMALS;
                let least: Vec<f64> = nearest.iter().map(least).collect();
                match least.iter().all(|share| *share >= 1.0) {
                    true => Err(JobError::Settings(NOTHING_MAY_GO.into())),
                    false => Ok(least),
                }
            }
            Err(error) => Err(error),
            Ok(_) => Ok(limits.iter().map(share).collect()),
        }
    }

    /// What the next step begins with: what is measured of the model that this one has made, in the units of the original.
    fn next(
        &mut self,
        original: &Arc<Graph>,
        options: &PlanOptions,
        tried: &Tried,
        model: Arc<Graph>,
    ) -> Result<Begin, JobError> {
        let of_step = tried.trial.of_step + 1;
        let coupling = |graph: &Graph| -> Result<Coupling, PlanError> {
            Ok(unchecked(graph, options.split, &resizable(graph, &options.resizable)?))
        };
        let (groups, smaller) = (coupling(original)?, coupling(&model)?);
        let selection = tried.plan.resolve(original, &groups)?;
        let origins = groups.origins(original, &selection, &model, &smaller);
        // For each unit of the original its group and number in the smaller model.
        let mut now: Vec<Vec<Option<(usize, usize)>>> =
            groups.groups.iter().map(|group| vec![None; group.units.len()]).collect();
        for (g, units) in origins.iter().enumerate() {
            for (u, origin) in units.iter().enumerate() {
                if let Some((group, unit)) = origin {
                    now[*group][*unit] = Some((g, u));
                }
            }
        }
        let mut fixed = Fixed::default();
        for (kept, now) in selection.kept.iter().zip(&now) {
            let gone = (0..now.len()).filter(|unit| kept.binary_search(unit).is_err());
            fixed.gone.push(gone.collect());
            // Of what cannot be found again nothing is known.
            fixed.stay.push(kept.iter().copied().filter(|unit| now[*unit].is_none()).collect());
        }
        let mut next = options.clone();
        next.select.fixed = fixed;
        match options.method.scorer {
            Scorer::Model(score) => {
                let scores = score(&model, &smaller, options.seed).map_err(|source| JobError::Planning {
                    model: original.source.file().into(),
                    source: source.into(),
                })?;
                let score = |at: &Option<(usize, usize)>| at.map_or(0.0, |(group, unit)| scores[group][unit]);
                let scores: Scores = now.iter().map(|units| units.iter().map(score).collect()).collect();
                next.scores = Some(Arc::new(scores));
            }
            Scorer::Evidence(_) | Scorer::Normalised(_) | Scorer::Joint => {
                let measured = self.measure(&model, options, of_step)?;
                let offsets = offsets(&measured.header);
                let from: Vec<Option<usize>> =
                    now.iter().flatten().map(|at| at.map(|(group, unit)| offsets[group] + unit)).collect();
                let like = options.evidence.as_ref().unwrap_or(&measured);
                next.evidence = Some(Arc::new(measured.renumbered(like, &from)));
            }
        }
        Ok(Begin { of_step, model, options: next, loss: tried.trial.scores.loss })
    }
}

/// The number of every group's first unit through all groups.
fn offsets(header: &Header) -> Vec<usize> {
    let groups = header.groups.iter();
    groups.scan(0, |next, group| Some(std::mem::replace(next, *next + group.units))).collect()
}

/// These shares of the resources of a budget; a limit that the whole model meets, beside others, stays as it is written.
fn budget_of(budget: &Budget, shares: &[f64]) -> Budget {
    budget.limits().iter().zip(shares).fold(budget.clone(), |budget, (limit, &share)| {
        let rounded = ((DECIMALS * share).round() / DECIMALS).clamp(1.0 / DECIMALS, 1.0 - 1.0 / DECIMALS);
        budget.with(if share < 1.0 { Limit::share(limit.resource, rounded) } else { *limit })
    })
}

/// That no smaller model holds, with the one that comes closest.
fn too_much_lost(tried: &[Tried], most: f64) -> JobError {
    if tried.is_empty() {
        let text = "--max-drop: nothing that was tried of what --keep limits can be met as measured, down from the whole model; limit another \
                    resource, as in --keep macs=0.3";
        return JobError::TooMuchLost(text.into());
    }
    let known = tried.iter().filter_map(|tried| Some((tried.trial.drop?, &tried.trial)));
    let nearest = known.min_by(|a, b| a.0.total_cmp(&b.0));
    let (drop, trial) = match nearest {
        Some(nearest) => nearest,
        None => return JobError::Settings("--max-drop: no model that was tried has a metric".into()),
    };
    JobError::TooMuchLost(format!(
        "no smaller model that was tried keeps the {} within {most} points; the nearest, {}, loses {drop:.2}. Allow more with --max-drop, \
         or hold more samples out: the drop is measured on {}",
        metric(&trial.scores),
        trial.kept(),
        trial.scores.samples
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_of_steps_are_read_back_as_they_are_written() {
        let limits = ["params=0.5", "macs=500G", "bytes=2MB"].map(|limit| limit.parse::<Limit>().unwrap());
        let budget = Budget::new(limits.to_vec()).unwrap();
        let step = budget_of(&budget, &[0.5f64.sqrt(), 50f64.sqrt(), 0.99999]);
        let expected = ["params=0.7071", "macs=500G", "bytes=0.9999"];
        assert_eq!(step.limits().iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        assert!(step.limits().iter().all(|limit| limit.to_string().parse() == Ok(*limit)));
    }
}
