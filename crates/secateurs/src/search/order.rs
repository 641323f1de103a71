//! The order in which units would go: steps within each group, merged by what the scope compares.

use std::collections::VecDeque;

use secateurs_graph::coupling::{Coupling, Group, Remaining};

use super::select::{Fixed, Scope, SelectOptions, eligible};

/// Units of one group that go together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub units: Vec<usize>,
    /// Steps of lower keys go first. With [`Scope::Global`] the mean score; with [`Scope::Layer`] minus the share below which
    /// the group's kept units round to what is left after the step. [`GIVEN`] where it is taken in any case.
    pub key: f64,
    /// The mean score, where keys are equal.
    pub score: f64,
    /// What it adds to the predicted change, where that is predicted; 0 elsewhere.
    pub increase: f64,
}

/// The key of steps that are taken in any case: of what has gone before, and of what makes a width a multiple.
pub(super) const GIVEN: f64 = f64::NEG_INFINITY;

impl Step {
    /// Some units, of no account.
    pub fn of(units: Vec<usize>) -> Step {
        Step { units, key: 0.0, score: 0.0, increase: 0.0 }
    }

    /// Some units that go in any case.
    pub fn given(units: Vec<usize>, increase: f64) -> Step {
        Step { units, key: GIVEN, score: 0.0, increase }
    }
}

/// All steps that guards allow.
pub(super) struct Order {
    /// The steps of each group, in the order in which they go.
    pub steps: Vec<Vec<Step>>,
    /// Which group's next step goes next.
    pub merged: Vec<usize>,
    /// The largest share that guards forbid in [`Scope::Layer`]; 0 where they forbid nothing. Keeping less in every group
    /// would have to take a step that is not there.
    pub refused: f64,
}

impl Order {
    pub fn new(coupling: &Coupling, scores: &[Vec<f64>], options: &SelectOptions) -> Order {
        let groups = coupling.groups.iter().zip(scores).enumerate();
        let mut queues: Vec<Queue> = groups
            .map(|(g, (group, own))| {
                let mut queue = Queue::new(group, own, options);
                queue.waiting.retain(|unit| !options.fixed.stay(g).contains(unit));
                queue
            })
            .collect();
        let mut next = vec![None; queues.len()];
        let mut remaining = Remaining::new(coupling);
        let mut order = Order { steps: vec![Vec::new(); queues.len()], merged: Vec::new(), refused: 0.0 };
        for g in eligible(coupling, options) {
            let gone = take_gone(&mut remaining, g, &options.fixed);
            if !gone.is_empty() {
                queues[g].waiting.retain(|unit| !gone.contains(unit));
                queues[g].kept -= gone.len();
                order.steps[g].push(Step::given(gone, 0.0));
                order.merged.push(g);
            }
            next[g] = queues[g].next();
        }
        let earlier = |(_, a): &(usize, &Step), (_, b): &(usize, &Step)| {
            a.key.total_cmp(&b.key).then(a.score.total_cmp(&b.score))
        };
        loop {
            let steps = next.iter().enumerate().filter_map(|(g, step)| Some((g, step.as_ref()?)));
            let Some((g, step)) = steps.min_by(earlier) else { return order };
            let queue = &mut queues[g];
            if !queue.may_take(step) {
                order.refused = order.refused.max(queue.halfway());
                next[g] = None;
                continue;
            }
            match remove(&mut remaining, g, step) {
                Ok(()) => {
                    queue.take(step);
                    order.steps[g].push(step.clone());
                    order.merged.push(g);
                }
                Err(last) => queue.waiting.retain(|unit| *unit != last),
            }
            next[g] = queue.next();
        }
    }

    /// How many steps come first whose keys are below this one.
    pub fn below(&self, key: f64) -> usize {
        let mut next = vec![0; self.steps.len()];
        let is_below = |&&g: &&usize| {
            next[g] += 1;
            self.steps[g][next[g] - 1].key < key
        };
        self.merged.iter().take_while(is_below).count()
    }

    /// The units of the steps, in the order in which they go.
    pub fn units(&self) -> Vec<(usize, Vec<usize>)> {
        let mut next = vec![0; self.steps.len()];
        let step = |&g: &usize| {
            next[g] += 1;
            (g, self.steps[g][next[g] - 1].units.clone())
        };
        self.merged.iter().map(step).collect()
    }
}

/// Removes what has gone before, and gives it; what an axis would lose its last index with stays, as ever.
pub(super) fn take_gone(remaining: &mut Remaining, group: usize, fixed: &Fixed) -> Vec<usize> {
    fixed.gone(group).iter().copied().filter(|&unit| remaining.remove(group, unit)).collect()
}

/// Removes the units of a step. Nothing happens where an axis would lose its last index with one of them: that unit is the
/// error.
pub(super) fn remove(remaining: &mut Remaining, group: usize, step: &Step) -> Result<(), usize> {
    for (i, &unit) in step.units.iter().enumerate() {
        if !remaining.remove(group, unit) {
            step.units[..i].iter().for_each(|&unit| remaining.restore(group, unit));
            return Err(unit);
        }
    }
    Ok(())
}

/// The units of a group that may still go.
struct Queue<'s> {
    scores: &'s [f64],
    scope: Scope,
    units: usize,
    kept: usize,
    fewest: usize,
    multiple: usize,
    /// Those of the lowest scores first. A unit that is the last of an axis is not among them.
    waiting: VecDeque<usize>,
}

impl Queue<'_> {
    fn new<'s>(group: &Group, scores: &'s [f64], options: &SelectOptions) -> Queue<'s> {
        let units = group.units.len();
        let multiple = options.multiple_of.map_or(1, |m| units_per_multiple(group, m));
        let mut waiting: Vec<usize> = (0..units).collect();
        waiting.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        Queue {
            scores,
            scope: options.scope,
            units,
            kept: units,
            fewest: fewest(units, options.max_removed),
            multiple: if units >= multiple { multiple } else { 1 },
            waiting: waiting.into(),
        }
    }

    fn size(&self) -> usize {
        step_size(self.kept, self.multiple)
    }

    /// The next step. It has too few units where too few are left that may go.
    fn next(&self) -> Option<Step> {
        let size = self.size();
        let units: Vec<usize> = self.waiting.iter().copied().take(size).collect();
        if self.kept <= size {
            return None;
        }
        let score = units.iter().map(|&u| self.scores[u]).sum::<f64>() / size as f64;
        let key = match self.scope {
            _ if size < self.multiple => GIVEN,
            Scope::Global => score,
            Scope::Layer => -self.halfway(),
        };
        Some(Step { units, key, score, increase: 0.0 })
    }

    /// The share of the units that lies between what is left and what the next step leaves.
    fn halfway(&self) -> f64 {
        (self.kept as f64 - self.size() as f64 / 2.0) / self.units as f64
    }

    fn may_take(&self, step: &Step) -> bool {
        step.units.len() == self.size() && self.kept - step.units.len() >= self.fewest
    }

    fn take(&mut self, step: &Step) {
        self.waiting.drain(..step.units.len());
        self.kept -= step.units.len();
    }
}

/// How many units go together: as many as make the width a multiple, or one multiple.
pub(super) fn step_size(kept: usize, multiple: usize) -> usize {
    let beyond = kept % multiple;
    if beyond == 0 { multiple } else { beyond }
}

/// How many units stay at least. Rounded as `units=` is, so that a cap of 0.9 allows to keep a share of 0.1.
pub(super) fn fewest(units: usize, max_removed: f64) -> usize {
    (((1.0 - max_removed) * units as f64 - 1e-9).round() as usize).max(1)
}

/// How many units make the width of every axis of the group a multiple of `multiple`: a head is as wide as its dimensions.
pub(super) fn units_per_multiple(group: &Group, multiple: usize) -> usize {
    let widths = group.parameters.iter().filter_map(|p| Some(group.units.first()?.indices(p).len()));
    multiple / widths.filter(|w| *w > 0).fold(multiple, gcd)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
