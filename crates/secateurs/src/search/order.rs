//! The order in which units would go: steps within each group, merged by what the scope compares.

use secateurs_graph::coupling::{Coupling, Group, Remaining};

use super::select::{Scope, SelectOptions};

/// Units of one group that go together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub units: Vec<usize>,
    /// Steps of lower keys go first. With [`Scope::Global`] the mean score; with [`Scope::Layer`] minus the share below which
    /// the group's kept units round to what is left after the step. Minus infinity where the step makes the width a multiple.
    pub key: f64,
    /// The mean score, where keys are equal.
    score: f64,
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
        let all: Vec<Vec<Step>> =
            coupling.groups.iter().zip(scores).map(|(g, s)| steps(g, s, options)).collect();
        let mut order: Vec<(usize, usize)> =
            all.iter().enumerate().flat_map(|(g, steps)| (0..steps.len()).map(move |i| (g, i))).collect();
        order.sort_by(|&(g, i), &(h, j)| {
            let (a, b) = (&all[g][i], &all[h][j]);
            a.key.total_cmp(&b.key).then(a.score.total_cmp(&b.score)).then((g, i).cmp(&(h, j)))
        });
        let mut remaining = Remaining::new(coupling);
        let mut closed = vec![false; all.len()];
        let (mut steps, mut merged, mut refused) = (vec![Vec::new(); all.len()], Vec::new(), 0.0f64);
        let mut gone = vec![0; all.len()];
        for (g, i) in order {
            let step = &all[g][i];
            let n = coupling.groups[g].units.len();
            gone[g] += step.units.len();
            let capped = n - gone[g] < fewest(n, options.max_removed);
            if closed[g] || capped || !remove(&mut remaining, g, step) {
                closed[g] = true;
                refused = refused.max(-step.key);
                continue;
            }
            steps[g].push(step.clone());
            merged.push(g);
        }
        Order { steps, merged, refused }
    }
}

/// Removes the units of a step; false, and nothing happens, where an axis would lose its last index.
pub(super) fn remove(remaining: &mut Remaining, group: usize, step: &Step) -> bool {
    for (i, &unit) in step.units.iter().enumerate() {
        if !remaining.remove(group, unit) {
            step.units[..i].iter().for_each(|&unit| remaining.restore(group, unit));
            return false;
        }
    }
    true
}

/// How many units stay at least. Rounded as `units=` is, so that a cap of 0.9 allows to keep a share of 0.1.
fn fewest(units: usize, max_removed: f64) -> usize {
    (((1.0 - max_removed) * units as f64 - 1e-9).round() as usize).max(1)
}

fn steps(group: &Group, scores: &[f64], options: &SelectOptions) -> Vec<Step> {
    if group.inexact.is_some() && !options.allow_inexact {
        return Vec::new();
    }
    let n = group.units.len();
    let multiple = options.multiple_of.map_or(1, |m| units_per_multiple(group, m));
    let multiple = if n >= multiple { multiple } else { 1 };
    let mut by_score: Vec<usize> = (0..n).collect();
    by_score.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let (mut steps, mut kept) = (Vec::new(), n);
    loop {
        let size = if kept % multiple == 0 { multiple } else { kept % multiple };
        if kept <= size {
            return steps;
        }
        let units = by_score[n - kept..n - kept + size].to_vec();
        let score = units.iter().map(|&u| scores[u]).sum::<f64>() / size as f64;
        let halfway = (kept as f64 + (kept - size) as f64) / 2.0;
        let key = match options.scope {
            _ if size < multiple => f64::NEG_INFINITY,
            Scope::Global => score,
            Scope::Layer => -halfway / n as f64,
        };
        steps.push(Step { units, key, score });
        kept -= size;
    }
}

/// How many units make the width of every axis of the group a multiple of `multiple`: a head is as wide as its dimensions.
fn units_per_multiple(group: &Group, multiple: usize) -> usize {
    let widths = group.parameters.iter().filter_map(|p| Some(group.units.first()?.indices(p).len()));
    multiple / widths.filter(|w| *w > 0).fold(multiple, gcd)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
