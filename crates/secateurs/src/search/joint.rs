//! The order in which units go when each is worth what those that are left make it worth.

use std::iter;

use secateurs_graph::coupling::{Coupling, Remaining};

use super::budget::{Limit, Resource};
use super::meter::Meter;
use super::order::{Order, Step, fewest, remove, step_size, take_gone, units_per_multiple};
use super::select::{Scope, SelectOptions, eligible};
use super::widths::BLOCK;
use crate::evidence::{Joint, Others};

/// After so large a share of the units, what steps save is counted anew: counting takes up to a millisecond a group.
const RECOUNT: f64 = 0.01;
/// Where layers are fitted afterwards, what a step adds counts (width / kept)^½ times. In the prediction the units that stay can scale; it
/// does not see that a fit makes the less of them the fewer there are. `docs/compression.md` has what was measured after the fit.
const SCARCITY: f64 = 0.5;
/// And uses^−⅓ times, of how often a parameter of the group is used in a sample: by a convolution at every position. The prediction changes
/// all positions as one mask does; what a fit leaves undone differs from one to the next, and much of it cancels on the way to the outputs.
const CANCELLED: f64 = 1.0 / 3.0;
/// What a latency falls by is counted over a block, and over so many times as many units again and again.
const WIDER: usize = 4;

/// The step that adds least to the predicted change for what it saves of the limits that do not hold yet goes next, until all hold, and
/// `beyond` of all units further. With [`Scope::Layer`] all units go, by what they add alone, and give the order within every group.
pub(super) fn order(
    joint: Joint,
    coupling: &Coupling,
    meter: &Meter,
    limits: &[(Limit, f64)],
    beyond: f64,
    options: &SelectOptions,
) -> Order {
    if options.scope == Scope::Layer {
        return Order::new(coupling, &ranks(joint, coupling, options), options);
    }
    let total = joint.units();
    let mut search = Search::new(joint, coupling, options);
    search.count_uses(meter);
    let mut order =
        Order { steps: vec![Vec::new(); coupling.groups.len()], merged: Vec::new(), refused: 0.0 };
    for (group, step) in search.take_given(options) {
        order.steps[group].push(step);
        order.merged.push(group);
    }
    let (mut counted, mut met) = (None, None);
    let mut savings = Vec::new();
    loop {
        let gone = search.gone;
        if counted.is_none_or(|at| (gone - at) as f64 >= RECOUNT * total as f64) {
            counted = Some(gone);
            savings = search.savings(meter, limits);
            let holds = |(limit, of): &(Limit, f64)| {
                meter.value(limit.resource, &search.remaining).is_ok_and(|v| v <= limit.allowed(*of))
            };
            met = met.or(limits.iter().all(holds).then_some(gone));
        }
        if met.is_some_and(|at| (gone - at) as f64 > beyond * total as f64) {
            return order;
        }
        let Some((group, price)) = search.cheapest(&savings) else { return order };
        let before = search.joint.change();
        if let Some(units) = search.take(group) {
            let (key, increase) = (order.merged.len() as f64, search.joint.change() - before);
            order.steps[group].push(Step { units, key, score: price, increase });
            order.merged.push(group);
        }
    }
}

/// When each unit would go, if none cost more than another.
fn ranks(joint: Joint, coupling: &Coupling, options: &SelectOptions) -> Vec<Vec<f64>> {
    let mut ranks: Vec<Vec<f64>> =
        coupling.groups.iter().map(|group| vec![f64::INFINITY; group.units.len()]).collect();
    let free = SelectOptions { max_removed: 1.0, multiple_of: None, ..options.clone() };
    let mut search = Search::new(joint, coupling, &free);
    let savings = vec![1.0; coupling.groups.len()];
    while let Some((group, _)) = search.cheapest(&savings) {
        for unit in search.take(group).into_iter().flatten() {
            ranks[group][unit] = search.gone as f64;
        }
    }
    ranks
}

struct Search<'c> {
    joint: Joint,
    remaining: Remaining<'c>,
    groups: Vec<Waiting>,
    /// Units removed so far.
    gone: usize,
}

/// The units of a group that may still go.
struct Waiting {
    group: usize,
    /// The number of its first unit through all groups.
    offset: usize,
    units: Vec<usize>,
    width: usize,
    kept: usize,
    fewest: usize,
    multiple: usize,
    /// How many units are a block of every axis.
    block: usize,
    /// Multiply–accumulates for every parameter that goes with a unit, over those of the whole model.
    uses: f64,
}

impl Waiting {
    fn size(&self) -> usize {
        step_size(self.kept, self.multiple)
    }

    /// Over how many units it is counted what one of them saves: those of a step. A latency falls by whole blocks, of which single units
    /// save nothing or all, and may be flat at first: over a block and over ever more of them, of which the most counts.
    fn counted(&self, resource: Resource) -> Vec<usize> {
        let most = self.units.len().min(self.kept.saturating_sub(self.fewest));
        if resource != Resource::Latency {
            return vec![self.size().min(most)];
        }
        let blocks = iter::successors(Some(self.block), |units| Some(WIDER * units));
        blocks.take_while(|units| *units < most).chain([most]).collect()
    }

    /// How many times as much as predicted what a step adds counts.
    fn weight(&self, others: Others) -> f64 {
        match others {
            Others::Scale => {
                (self.width as f64 / self.kept as f64).powf(SCARCITY) * self.uses.powf(-CANCELLED)
            }
            Others::Stay => 1.0,
        }
    }

    /// The units that add least, each alone, and the sum of that.
    fn next(&self, joint: &Joint) -> Option<(Vec<usize>, f64)> {
        let size = self.size();
        if self.kept < size + self.fewest || self.units.len() < size {
            return None;
        }
        let mut increases: Vec<(f64, usize)> =
            self.units.iter().map(|&unit| (joint.increase(self.offset + unit), unit)).collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if size < increases.len() {
            increases.select_nth_unstable_by(size - 1, order);
            increases.truncate(size);
        }
        increases.sort_unstable_by(order);
        let sum = increases.iter().map(|(increase, _)| increase).sum();
        Some((increases.into_iter().map(|(_, unit)| unit).collect(), sum))
    }
}

impl<'c> Search<'c> {
    fn new(joint: Joint, coupling: &'c Coupling, options: &SelectOptions) -> Search<'c> {
        let mut offset = 0;
        let mut groups = Vec::new();
        let eligible: Vec<usize> = eligible(coupling, options).collect();
        for (g, group) in coupling.groups.iter().enumerate() {
            let units = group.units.len();
            let multiple = options.multiple_of.map_or(1, |m| units_per_multiple(group, m));
            if eligible.contains(&g) {
                groups.push(Waiting {
                    group: g,
                    offset,
                    units: (0..units).filter(|unit| !options.fixed.stay(g).contains(unit)).collect(),
                    width: units,
                    kept: units,
                    fewest: fewest(units, options.max_removed),
                    multiple: if units >= multiple { multiple } else { 1 },
                    block: units_per_multiple(group, BLOCK),
                    uses: 1.0,
                });
            }
            offset += units;
        }
        Search { joint, remaining: Remaining::new(coupling), groups, gone: 0 }
    }

    /// Counts how often the parameters of each group are used; where one of the two numbers is not known, or is 0, as often as those of others.
    fn count_uses(&mut self, meter: &Meter) {
        let mut remaining = self.remaining.clone();
        let both = |remaining: &Remaining| {
            [Resource::Macs, Resource::Params].map(|r| meter.value(r, remaining).unwrap_or(f64::NAN))
        };
        let whole = both(&remaining);
        for waiting in &mut self.groups {
            let Some(&unit) = waiting.units.iter().find(|&&unit| remaining.remove(waiting.group, unit))
            else {
                continue;
            };
            let left = both(&remaining);
            remaining.restore(waiting.group, unit);
            let per_parameter = |of: [f64; 2]| of[0] / of[1];
            let uses = per_parameter([whole[0] - left[0], whole[1] - left[1]]) / per_parameter(whole);
            waiting.uses = if uses.is_finite() && uses > 0.0 { uses } else { 1.0 };
        }
    }

    /// Takes what has gone before, and then what makes widths multiples, by group.
    fn take_given(&mut self, options: &SelectOptions) -> Vec<(usize, Step)> {
        let mut taken = Vec::new();
        for waiting in &mut self.groups {
            let units = take_gone(&mut self.remaining, waiting.group, &options.fixed);
            if units.is_empty() {
                continue;
            }
            waiting.units.retain(|unit| !units.contains(unit));
            waiting.kept -= units.len();
            self.gone += units.len();
            units.iter().for_each(|unit| self.joint.remove(waiting.offset + unit));
            taken.push((waiting.group, Step::given(units, 0.0)));
        }
        for at in 0..self.groups.len() {
            while self.groups[at].size() < self.groups[at].multiple {
                let (group, before) = (self.groups[at].group, self.joint.change());
                if let Some(units) = self.take(group) {
                    taken.push((group, Step::given(units, self.joint.change() - before)));
                } else if self.groups[at].next(&self.joint).is_none() {
                    break;
                }
            }
        }
        taken
    }

    /// What a unit of each group saves: of every limit that does not hold the share of what is too much, of all limits once they hold.
    fn savings(&self, meter: &Meter, limits: &[(Limit, f64)]) -> Vec<f64> {
        let mut remaining = self.remaining.clone();
        let value =
            |limit: &Limit, remaining: &Remaining| meter.value(limit.resource, remaining).unwrap_or(0.0);
        let now: Vec<f64> = limits.iter().map(|(limit, _)| value(limit, &remaining)).collect();
        let excess: Vec<f64> =
            limits.iter().zip(&now).map(|((limit, of), now)| now - limit.allowed(*of)).collect();
        let unmet = excess.iter().any(|excess| *excess > 0.0);
        let scale = |i: usize| match unmet {
            true => (excess[i] > 0.0).then_some(excess[i]),
            false => Some(now[i].max(f64::MIN_POSITIVE)),
        };
        let groups = self.groups.iter().map(|waiting| waiting.group).max().map_or(0, |g| g + 1);
        let mut savings = vec![0.0; groups];
        for waiting in &self.groups {
            for (i, (limit, _)) in limits.iter().enumerate() {
                let Some(scale) = scale(i) else { continue };
                let (mut next, mut gone, mut most) = (waiting.units.iter(), Vec::new(), 0f64);
                for units in waiting.counted(limit.resource) {
                    let further =
                        next.by_ref().copied().filter(|&unit| remaining.remove(waiting.group, unit));
                    gone.extend(further.take(units - gone.len()));
                    most = most.max((now[i] - value(limit, &remaining)) / gone.len().max(1) as f64);
                }
                gone.into_iter().for_each(|unit| remaining.restore(waiting.group, unit));
                savings[waiting.group] += most / scale;
            }
        }
        savings
    }

    /// The group whose next step adds least for what it saves, and how much: where nothing is saved, after all others.
    fn cheapest(&self, savings: &[f64]) -> Option<(usize, f64)> {
        let price = |waiting: &Waiting| {
            let (units, sum) = waiting.next(&self.joint)?;
            let saved = savings[waiting.group] * units.len() as f64;
            let added = sum * waiting.weight(self.joint.others());
            let nothing = saved <= 0.0;
            Some((waiting.group, nothing, if nothing { added } else { added / saved }))
        };
        let cheaper = |a: &(usize, bool, f64), b: &(usize, bool, f64)| {
            a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)).then(a.0.cmp(&b.0))
        };
        self.groups.iter().filter_map(price).min_by(cheaper).map(|(group, _, price)| (group, price))
    }

    /// Takes the next step of a group. `None`, and a unit less to choose from, where an axis would lose its last index.
    fn take(&mut self, group: usize) -> Option<Vec<usize>> {
        let waiting = self.groups.iter_mut().find(|waiting| waiting.group == group)?;
        let (units, _) = waiting.next(&self.joint)?;
        let step = Step::of(units);
        if let Err(last) = remove(&mut self.remaining, group, &step) {
            waiting.units.retain(|unit| *unit != last);
            return None;
        }
        waiting.units.retain(|unit| !step.units.contains(unit));
        waiting.kept -= step.units.len();
        self.gone += step.units.len();
        step.units.iter().for_each(|unit| self.joint.remove(waiting.offset + unit));
        Some(step.units)
    }
}
