//! The choice of units: the lowest scores go until the budget holds, then the highest that still fit come back.

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Costs, Coupling, Remaining, Selection};
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Limit, Resource};
use super::order::{Order, remove};

/// What scores are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All units of the model: groups lose different shares.
    #[default]
    Global,
    /// The units of the same group: every group keeps the same share.
    Layer,
}

/// Guards of the choice.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectOptions {
    /// What scores are compared with.
    pub scope: Scope,
    /// The largest share of a group's units that may go. One unit stays always.
    pub max_removed: f64,
    /// Axes of groups that lose units become multiples of this many indices, where they are as long.
    pub multiple_of: Option<usize>,
    /// Whether groups may lose units whose removal changes what the others compute.
    pub allow_inexact: bool,
}

/// At most nine tenths of a group go: a layer of one unit is a bottleneck that no later training widens.
pub const MAX_REMOVED: f64 = 0.9;

impl Default for SelectOptions {
    fn default() -> SelectOptions {
        SelectOptions { scope: Scope::Global, max_removed: MAX_REMOVED, multiple_of: None, allow_inexact: false }
    }
}

/// What is kept of a limited resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// What was asked for.
    pub limit: Limit,
    /// What is kept.
    pub kept: u64,
    /// Of how much.
    pub of: u64,
}

impl Reached {
    /// The share that is kept.
    pub fn share(&self) -> f64 {
        self.kept as f64 / self.of.max(1) as f64
    }
}

/// A choice of units.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The kept units.
    pub selection: Selection,
    /// What is kept of each limited resource.
    pub reached: Vec<Reached>,
}

/// Why there is no choice.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// No group has two units.
    #[error("the model has nothing to prune: {0}")]
    NothingToPrune(String),
    /// Whatever goes, the model stays above the budget.
    #[error(
        "the budget {} cannot be met; the nearest is {}. At least one unit stays in a group, and at most {:.0} % go{}: {}",
        list(nearest, |r| r.limit.to_string()),
        list(nearest, |r| format!("{}={:.4}", r.limit.resource, r.share())),
        100.0 * max_removed,
        if *multiples { ", in whole multiples" } else { "" },
        "ask for more, or allow more with --max-removed"
    )]
    Unmeetable {
        /// The closest to the budget that there is.
        nearest: Vec<Reached>,
        /// The cap of groups.
        max_removed: f64,
        /// Whether widths must be multiples.
        multiples: bool,
    },
    /// MACs that are not known before the model runs.
    #[error(
        "macs cannot be limited: a run has {0} multiply–accumulates, which is no number before the model runs; limit params or units"
    )]
    Macs(String),
}

fn list(reached: &[Reached], text: impl Fn(&Reached) -> String) -> String {
    reached.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Chooses units that meet every limit of the budget, as closely as units permit: within 1 % where possible.
///
/// `scores` has one score for each unit; `costs` counts MACs at bound sizes. With [`Scope::Layer`] a limit on units keeps
/// `round(share·n)` of the n units of every group, at least one.
pub fn select(
    graph: &Graph,
    coupling: &Coupling,
    costs: &Costs,
    scores: &[Vec<f64>],
    budget: &Budget,
    options: &SelectOptions,
) -> Result<Selected, SelectError> {
    let eligible: usize = eligible(coupling, options).map(|g| coupling.groups[g].units.len()).sum();
    if eligible == 0 {
        return Err(SelectError::NothingToPrune(why_nothing(graph, coupling)));
    }
    let order = Order::new(coupling, scores, options);
    let mut search = Search { coupling, costs, order: &order, limits: Vec::new(), eligible };
    let all = search.state(0);
    for limit in budget.limits() {
        let of = search.value(limit.resource, &all).map_err(SelectError::Macs)?;
        search.limits.push((*limit, of));
    }
    let layer = options.scope == Scope::Layer;
    let units = budget.share(Resource::Units).filter(|_| layer);
    // With a share of units for every group, what each keeps is given, whatever the sum is.
    let given = units.map_or(0, |share| {
        let mut next = vec![0; order.steps.len()];
        let goes = |&&g: &&usize| {
            next[g] += 1;
            -order.steps[g][next[g] - 1].key > share
        };
        order.merged.iter().take_while(goes).count()
    });
    if layer {
        search.limits.retain(|(limit, _)| limit.resource != Resource::Units);
    }
    let unmeetable = |search: &Search, state: &State| SelectError::Unmeetable {
        nearest: search.reached(budget, state),
        max_removed: options.max_removed,
        multiples: options.multiple_of.is_some(),
    };
    if units.is_some_and(|share| order.refused > share) {
        return Err(unmeetable(&search, &search.state(given)));
    }
    let last = search.state(order.merged.len());
    if !search.fits(&last) {
        return Err(unmeetable(&search, &last));
    }
    let (mut low, mut high) = (given, order.merged.len());
    while low < high {
        let middle = low.midpoint(high);
        match search.fits(&search.state(middle)) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let floor = search.state(given).gone;
    let state = search.state(high);
    let state = match search.limits.is_empty() {
        true => state,
        false => search.refine(search.restored(state, &floor, layer, None), &floor, layer),
    };
    Ok(Selected { reached: search.reached(budget, &state), selection: search.selection(&state) })
}

/// The groups that may lose units.
pub(crate) fn eligible<'c>(coupling: &'c Coupling, options: &SelectOptions) -> impl Iterator<Item = usize> + use<'c> {
    let allow = options.allow_inexact;
    let may = move |g: &usize| coupling.groups[*g].inexact.is_none() || allow;
    (0..coupling.groups.len()).filter(may)
}

fn why_nothing(graph: &Graph, coupling: &Coupling) -> String {
    if let Some(reason) = coupling.groups.iter().find_map(|g| g.inexact.as_ref()) {
        let reason = reason.describe(graph);
        return format!("its groups cannot be pruned exactly ({reason}); --allow-inexact prunes them nevertheless");
    }
    match coupling.barred.first() {
        Some(b) => format!(
            "no axis of its parameters can lose an index; '{}', axis {}: {}. `secateurs inspect --groups` lists all",
            graph.values[b.value].name,
            b.axis,
            b.reason.describe(graph)
        ),
        None => "it has no parameter with an axis of two indices or more".into(),
    }
}

/// How many steps of each group are taken, and what is left.
#[derive(Clone)]
struct State<'c> {
    gone: Vec<usize>,
    units: usize,
    remaining: Remaining<'c>,
}

struct Search<'s> {
    coupling: &'s Coupling,
    costs: &'s Costs<'s>,
    order: &'s Order,
    /// Limits with what the whole model has.
    limits: Vec<(Limit, u64)>,
    eligible: usize,
}

/// What a closer fit may cost: a cost is counted in up to a millisecond.
const MAX_TRIES: usize = 1500;

impl<'s> Search<'s> {
    /// The first steps of the merged order are taken.
    fn state(&self, steps: usize) -> State<'s> {
        let gone = vec![0; self.order.steps.len()];
        let mut state = State { gone, units: self.eligible, remaining: Remaining::new(self.coupling) };
        for &g in &self.order.merged[..steps] {
            let taken = self.take(&mut state, g);
            debug_assert!(taken, "the order has only steps that can be taken");
        }
        state
    }

    fn take(&self, state: &mut State, group: usize) -> bool {
        let Some(step) = self.order.steps[group].get(state.gone[group]) else { return false };
        let taken = remove(&mut state.remaining, group, step);
        if taken {
            state.gone[group] += 1;
            state.units -= step.units.len();
        }
        taken
    }

    fn give_back(&self, state: &mut State, group: usize) {
        state.gone[group] -= 1;
        let step = &self.order.steps[group][state.gone[group]];
        step.units.iter().for_each(|&unit| state.remaining.restore(group, unit));
        state.units += step.units.len();
    }

    fn value(&self, resource: Resource, state: &State) -> Result<u64, String> {
        Ok(match resource {
            Resource::Units => state.units as u64,
            Resource::Params => self.costs.params(&state.remaining) as u64,
            Resource::Macs => {
                let macs = self.costs.macs(&state.remaining);
                macs.known().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| macs.to_string())?
            }
        })
    }

    /// The share of its budget that the tightest limit leaves unused; negative where one is exceeded.
    fn slack(&self, state: &State) -> f64 {
        let slack = |(limit, of): &(Limit, u64)| {
            let allowed = limit.share * *of as f64;
            let value = self.value(limit.resource, state).map_or(f64::INFINITY, |v| v as f64);
            // A share such as 0.1 of 30 is 3, whatever the last bit says.
            if value <= allowed * (1.0 + 1e-12) { ((allowed - value) / allowed).max(0.0) } else { -1.0 }
        };
        self.limits.iter().map(slack).fold(f64::INFINITY, f64::min)
    }

    fn fits(&self, state: &State) -> bool {
        self.slack(state) >= 0.0
    }

    /// Takes back what still fits, the steps of the highest keys first, but for one group that stays. Where groups keep the
    /// same share, one step each at most.
    fn restored(&self, mut state: State<'s>, floor: &[usize], layer: bool, stays: Option<usize>) -> State<'s> {
        let mut open: Vec<usize> = (0..floor.len()).filter(|g| Some(*g) != stays).collect();
        loop {
            // Costs of neighbouring groups multiply: what does not fit now fits never.
            open.retain(|&g| state.gone[g] > floor[g]);
            let key = |g: usize| self.order.steps[g][state.gone[g] - 1].key;
            let Some((at, &group)) =
                open.iter().enumerate().max_by(|(_, a), (_, b)| key(**a).total_cmp(&key(**b)))
            else {
                return state;
            };
            self.give_back(&mut state, group);
            let fits = self.fits(&state);
            if !fits {
                self.take(&mut state, group);
            }
            if !fits || layer {
                open.swap_remove(at);
            }
        }
    }

    /// Exchanges steps of different groups while more than 1 % of the budget is unused and that comes closer.
    fn refine(&self, mut state: State<'s>, floor: &[usize], layer: bool) -> State<'s> {
        let mut slack = self.slack(&state);
        let mut tries = 0;
        while slack > 0.01 && tries < MAX_TRIES {
            let mut best: Option<(f64, State)> = None;
            for group in 0..floor.len() {
                let mut next = state.clone();
                if !self.take(&mut next, group) {
                    continue;
                }
                let next = self.restored(next, floor, layer, Some(group));
                tries += floor.len();
                let own = self.slack(&next);
                if own >= 0.0 && own < best.as_ref().map_or(slack, |(s, _)| *s) {
                    best = Some((own, next));
                }
            }
            let Some((closer, next)) = best else { break };
            (slack, state) = (closer, next);
        }
        state
    }

    fn reached(&self, budget: &Budget, state: &State) -> Vec<Reached> {
        let all = self.state(0);
        let reached = |limit: &Limit| {
            let of = |state: &State| self.value(limit.resource, state).unwrap_or(0);
            Reached { limit: *limit, kept: of(state), of: of(&all) }
        };
        budget.limits().iter().map(reached).collect()
    }

    fn selection(&self, state: &State) -> Selection {
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
