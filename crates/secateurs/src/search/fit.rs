//! States of the choice, and how one that meets a budget is brought closer to it.

use std::ops::RangeInclusive;

use secateurs_graph::coupling::{Coupling, Remaining, Selection};

use super::budget::{Budget, Limit, Resource};
use super::meter::Meter;
use super::order::{Order, remove};
use super::select::Reached;

/// How many steps of each group are taken, and what is left.
#[derive(Clone)]
pub(super) struct State<'c> {
    pub gone: Vec<usize>,
    remaining: Remaining<'c>,
}

pub(super) struct Search<'s> {
    pub coupling: &'s Coupling,
    pub meter: &'s Meter<'s>,
    pub order: &'s Order,
    /// Limits with what the whole model has.
    pub limits: Vec<(Limit, f64)>,
}

/// The share of a budget that may stay unused without a search for a closer choice.
pub(super) const CLOSE: f64 = 0.01;
/// What that search may cost: counting what a choice costs takes up to a millisecond.
const MAX_TRIES: usize = 1500;
/// The same where a single round takes more, as every group is exchanged with every other.
const MAX_TRIES_OF_ALL: usize = 16 * MAX_TRIES;
/// So many choices are all tried, where exchanges do not come close.
const MAX_CHOICES: usize = 4096;
/// How many steps of a group are exchanged at once.
const MAX_FURTHER: usize = 8;

/// The share of its budget that the tightest limit leaves unused; negative where one is exceeded.
pub(super) fn slack(limits: &[(Limit, f64)], value: impl Fn(Resource) -> Result<f64, String>) -> f64 {
    let slack = |(limit, of): &(Limit, f64)| {
        let allowed = limit.allowed(*of);
        let value = value(limit.resource).unwrap_or(f64::INFINITY);
        // A share such as 0.1 of 30 is 3, whatever the last bit says.
        if value <= allowed * (1.0 + 1e-12) { ((allowed - value) / allowed).max(0.0) } else { -1.0 }
    };
    limits.iter().map(slack).fold(f64::INFINITY, f64::min)
}

impl<'s> Search<'s> {
    /// The first steps of the merged order are taken.
    pub fn state(&self, steps: usize) -> State<'s> {
        let gone = vec![0; self.order.steps.len()];
        let mut state = State { gone, remaining: Remaining::new(self.coupling) };
        for &g in &self.order.merged[..steps] {
            let taken = self.take(&mut state, g);
            debug_assert!(taken, "the order has only steps that can be taken");
        }
        state
    }

    fn take(&self, state: &mut State, group: usize) -> bool {
        let Some(step) = self.order.steps[group].get(state.gone[group]) else { return false };
        let taken = remove(&mut state.remaining, group, step).is_ok();
        if taken {
            state.gone[group] += 1;
        }
        taken
    }

    pub fn give_back(&self, state: &mut State, group: usize) {
        state.gone[group] -= 1;
        let step = &self.order.steps[group][state.gone[group]];
        step.units.iter().for_each(|&unit| state.remaining.restore(group, unit));
    }

    pub fn value(&self, resource: Resource, state: &State) -> Result<f64, String> {
        self.meter.value(resource, &state.remaining)
    }

    /// The share of its budget that the tightest limit leaves unused; negative where one is exceeded.
    pub fn slack(&self, state: &State) -> f64 {
        slack(&self.limits, |resource| self.value(resource, state))
    }

    pub fn fits(&self, state: &State) -> bool {
        self.slack(state) >= 0.0
    }

    /// How many of the first steps meet the limits, as many as there are: of `given` to all, whose state is `last`. A latency is not
    /// monotonous, so that some meet it where all do not; what else is limited only falls. Where none do, the error is the state that comes
    /// nearest.
    pub fn last_that_fits(&self, given: usize, mut last: State<'s>) -> Result<usize, State<'s>> {
        let is_latency = |(limit, _): &&(Limit, f64)| limit.resource == Resource::Latency;
        let others: Vec<(Limit, f64)> =
            self.limits.iter().filter(|limit| !is_latency(limit)).copied().collect();
        let timed = others.len() < self.limits.len();
        let latency = |state: &State| self.value(Resource::Latency, state).unwrap_or(f64::INFINITY);
        let mut nearest: Option<(f64, State)> = None;
        for steps in (given..=self.order.merged.len()).rev() {
            if steps < self.order.merged.len() {
                self.give_back(&mut last, self.order.merged[steps]);
            }
            if self.fits(&last) {
                return Ok(steps);
            }
            if !timed || slack(&others, |resource| self.value(resource, &last)) < 0.0 {
                break;
            }
            let own = latency(&last);
            if nearest.as_ref().is_none_or(|(time, _)| own < *time) {
                nearest = Some((own, last.clone()));
            }
        }
        Err(nearest.map_or(last, |(_, state)| state))
    }

    /// How many steps each group may take: all that guards allow, or this share of them more or less than it did, one at least.
    pub fn bounds(&self, given: &State, state: &State, spread: Option<f64>) -> Vec<RangeInclusive<usize>> {
        let bounds = |g: usize| {
            let all = given.gone[g]..=self.order.steps[g].len();
            spread.map_or(all.clone(), |share| {
                let spread = ((share * self.order.steps[g].len() as f64) as usize).max(1);
                let (low, high) = (state.gone[g].saturating_sub(spread), state.gone[g] + spread);
                low.max(*all.start())..=high.min(*all.end())
            })
        };
        (0..state.gone.len()).map(bounds).collect()
    }

    /// Takes back what still fits, the steps of the highest keys first, but for one group that stays.
    pub fn restored(
        &self,
        mut state: State<'s>,
        bounds: &[RangeInclusive<usize>],
        stays: Option<usize>,
    ) -> State<'s> {
        let mut open: Vec<usize> = (0..bounds.len()).filter(|g| Some(*g) != stays).collect();
        loop {
            open.retain(|&g| state.gone[g] > *bounds[g].start());
            let key = |g: usize| self.order.steps[g][state.gone[g] - 1].key;
            let Some((at, &group)) =
                open.iter().enumerate().max_by(|(_, a), (_, b)| key(**a).total_cmp(&key(**b)))
            else {
                return state;
            };
            self.give_back(&mut state, group);
            if !self.fits(&state) {
                self.take(&mut state, group);
                // Costs of neighbouring groups multiply: what does not fit now fits never.
                open.swap_remove(at);
            }
        }
    }

    /// Takes further steps of one group and gives back those of others, while more than 1 % of the budget is unused and that
    /// comes closer.
    pub fn refine(&self, mut state: State<'s>, bounds: &[RangeInclusive<usize>]) -> State<'s> {
        let mut slack = self.slack(&state);
        let mut tries = 0;
        while slack > CLOSE && tries < MAX_TRIES {
            let mut best: Option<(f64, State)> = None;
            for group in 0..bounds.len() {
                let mut further = state.clone();
                for _ in 0..MAX_FURTHER {
                    let spent = tries >= MAX_TRIES_OF_ALL;
                    if spent || further.gone[group] >= *bounds[group].end() || !self.take(&mut further, group)
                    {
                        break;
                    }
                    let next = self.restored(further.clone(), bounds, Some(group));
                    tries += bounds.len();
                    let own = self.slack(&next);
                    if own >= 0.0 && own < best.as_ref().map_or(slack, |(s, _)| *s) {
                        best = Some((own, next));
                    }
                }
            }
            let Some((closer, next)) = best else { break };
            (slack, state) = (closer, next);
        }
        let choices =
            bounds.iter().map(|b| b.end() - b.start() + 1).try_fold(1usize, |n, own| n.checked_mul(own));
        match slack > CLOSE && choices.is_some_and(|n| n <= MAX_CHOICES) {
            true => self.closest(state, bounds),
            false => state,
        }
    }

    /// The closest of all choices; of those that are close, the one with the fewest steps exchanged.
    fn closest(&self, state: State<'s>, bounds: &[RangeInclusive<usize>]) -> State<'s> {
        let rank = |other: &State| {
            let exchanged: usize = state.gone.iter().zip(&other.gone).map(|(a, b)| a.abs_diff(*b)).sum();
            let slack = self.slack(other);
            (slack >= 0.0).then_some((slack.max(CLOSE), exchanged))
        };
        let mut best = (rank(&state), state.clone());
        let mut gone: Vec<usize> = bounds.iter().map(|b| *b.start()).collect();
        loop {
            let mut other = self.state(0);
            let possible = gone.iter().enumerate().all(|(g, n)| (0..*n).all(|_| self.take(&mut other, g)));
            if let Some(own) = rank(&other).filter(|_| possible)
                && best.0.is_none_or(|old| own < old)
            {
                best = (Some(own), other);
            }
            let Some(at) = (0..gone.len()).find(|&g| gone[g] < *bounds[g].end()) else { return best.1 };
            gone[at] += 1;
            gone[..at].iter_mut().zip(bounds).for_each(|(n, b)| *n = *b.start());
        }
    }

    pub fn reached(&self, budget: &Budget, state: &State) -> Vec<Reached> {
        let all = self.state(0);
        let reached = |limit: &Limit| {
            let of = |state: &State| self.value(limit.resource, state).unwrap_or(0.0);
            Reached { limit: *limit, kept: of(state), of: of(&all) }
        };
        budget.limits().iter().map(reached).collect()
    }

    /// What the steps of a state add to the predicted change.
    pub fn increase(&self, state: &State) -> f64 {
        let taken = self.order.steps.iter().zip(&state.gone).flat_map(|(steps, gone)| &steps[..*gone]);
        taken.map(|step| step.increase).sum()
    }

    pub fn selection(&self, state: &State) -> Selection {
        let mut selection = Selection::all(self.coupling);
        for (g, kept) in selection.kept.iter_mut().enumerate() {
            let mut gone = vec![false; kept.len()];
            let steps = &self.order.steps[g][..state.gone[g]];
            steps.iter().flat_map(|s| &s.units).for_each(|&unit| gone[unit] = true);
            kept.retain(|&unit| !gone[unit]);
        }
        selection
    }
}
