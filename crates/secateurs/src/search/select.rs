//! The choice of units: the lowest scores go until the budget holds, then the highest that still fit come back.

use secateurs_graph::Graph;
use secateurs_graph::attribute::Attribute;
use secateurs_graph::coupling::{Coupling, Remaining, Selection};
use secateurs_graph::surgery::Choice;
use serde::{Deserialize, Serialize};

use super::band::{Band, Bander};
use super::budget::{Amount, Budget, Limit, Resource};
use super::fit::{CLOSE, Search, State};
use super::joint;
use super::meter::Meter;
use super::order::Order;
use crate::evidence::Joint;
use crate::format;
use crate::implants::ImplantShare;

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

/// What says which units go first.
pub enum Ranking {
    /// A score for every unit of every group; the lowest go first.
    Scores(Vec<Vec<f64>>),
    /// Units that are worth what the units that are left make them worth; the cheapest for what it saves goes first.
    Joint(Joint),
}

/// Guards of the choice.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectOptions {
    /// What scores are compared with.
    pub scope: Scope,
    /// The largest share of a group's units that may go. One unit stays always.
    pub max_removed: f64,
    /// Axes of groups become multiples of this many indices, where they are as long and may lose so many.
    pub multiple_of: Option<usize>,
    /// Whether groups may lose units whose removal changes what the others compute.
    pub allow_inexact: bool,
    /// What is given.
    pub fixed: Fixed,
    /// The groups that may lose units; all that can where none are named.
    pub groups: Option<Vec<usize>>,
}

/// Units of which nothing is chosen, by group; of groups beyond the end there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixed {
    /// Those that have gone before: they go first.
    pub gone: Vec<Vec<usize>>,
    /// Those that stay.
    pub stay: Vec<Vec<usize>>,
}

impl Fixed {
    pub(super) fn gone(&self, group: usize) -> &[usize] {
        self.gone.get(group).map_or(&[], Vec::as_slice)
    }

    /// Lets more units go first.
    pub fn add_gone(&mut self, more: &[Vec<usize>]) {
        self.gone.resize(self.gone.len().max(more.len()), Vec::new());
        for (gone, more) in self.gone.iter_mut().zip(more) {
            gone.extend(more);
            gone.sort_unstable();
            gone.dedup();
        }
    }

    pub(super) fn stay(&self, group: usize) -> &[usize] {
        self.stay.get(group).map_or(&[], Vec::as_slice)
    }
}

/// So large a share of the units goes on beyond the budget, so that groups can exchange steps; and with implants, which save less.
const BEYOND: f64 = 0.05;
const BEYOND_IMPLANTED: f64 = 0.5;

/// At most nine tenths of a group go: a layer of one unit is a bottleneck that no later training widens.
pub const MAX_REMOVED: f64 = 0.9;

impl Default for SelectOptions {
    fn default() -> SelectOptions {
        SelectOptions {
            scope: Scope::Global,
            max_removed: MAX_REMOVED,
            multiple_of: None,
            allow_inexact: false,
            fixed: Fixed::default(),
            groups: None,
        }
    }
}

/// Shares that can be met are told in so many parts of the whole.
const SHARES: f64 = 1e4;

/// What is kept of a limited resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// What was asked for.
    pub limit: Limit,
    /// What is kept.
    pub kept: f64,
    /// Of how much.
    pub of: f64,
}

impl Reached {
    /// As limits are written, in the terms of what was asked for, and never less than what is kept.
    fn text(&self) -> String {
        match self.limit.amount {
            Amount::Share(_) => {
                let share = (SHARES * self.share() - 1e-6).ceil() / SHARES;
                format!("{}={share:.4}", self.limit.resource)
            }
            Amount::Absolute(_) if self.limit.resource == Resource::Latency => {
                format!("latency={}ms", format::significant(1.005 * self.kept, 3))
            }
            Amount::Absolute(_) => Limit { amount: Amount::Absolute(self.kept), ..self.limit }.to_string(),
        }
    }

    /// The share that is kept.
    pub fn share(&self) -> f64 {
        if self.of > 0.0 { self.kept / self.of } else { 0.0 }
    }
}

/// A choice of units.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The kept units, and those of them that are implanted.
    pub choice: Choice,
    /// What is kept of each limited resource.
    pub reached: Vec<Reached>,
    /// What the search takes the change of the outputs for, of methods that predict it: on the samples that it chooses by.
    pub predicted: Option<f64>,
    /// Of implanted units, by group, the share of the variance that their forms do not make.
    pub unexplained: Vec<(usize, usize, f64)>,
    /// In what order units would go, by group; those that have gone before come first, and the choice is, but for exchanges at its end,
    /// the beginning.
    pub order: Vec<(usize, Vec<usize>)>,
}

impl Selected {
    /// All but some units, by group.
    pub fn without(coupling: &Coupling, gone: &[Vec<usize>]) -> Selected {
        let choice = Selection::without(coupling, gone).into();
        Selected { choice, reached: Vec::new(), predicted: None, unexplained: Vec::new(), order: Vec::new() }
    }
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
        list(nearest, Reached::text),
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
    /// All limits hold before anything goes.
    #[error("the model already meets {}; ask for less than it has", list(limits, |r| {
        format!("{} (it has {})", r.limit, r.limit.resource.amount(r.of))
    }))]
    AlreadyMet {
        /// What the whole model has.
        limits: Vec<Reached>,
    },
    /// Implants beside a limit that they cannot keep.
    #[error(
        "implants cannot be chosen with scope=layer and a limit on units, which says how many units every group has; limit params or macs"
    )]
    ImplantedUnits,
    /// Latency of which nothing was measured.
    #[error("latency cannot be limited: {0}")]
    Latency(String),
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
/// `meter` says what choices cost, `band` how many of the units that would go are implanted instead. Limits that the whole model meets hold
/// anyway beside others. With [`Scope::Layer`] a limit on units keeps
/// `round(share·n)` of the n units of every group, at least one; where widths are multiples, the nearest of them, at least one.
pub fn select(
    graph: &Graph,
    coupling: &Coupling,
    meter: &Meter,
    ranking: &Ranking,
    budget: &Budget,
    band: Option<&Band>,
    options: &SelectOptions,
) -> Result<Selected, SelectError> {
    let eligible: usize = eligible(coupling, options).map(|g| coupling.groups[g].units.len()).sum();
    if eligible == 0 {
        return Err(SelectError::NothingToPrune(why_nothing(graph, coupling)));
    }
    let mut limits = Vec::new();
    for limit in budget.limits() {
        let of = meter.value(limit.resource, &Remaining::new(coupling)).map_err(|reason| {
            match limit.resource {
                Resource::Latency => SelectError::Latency(reason),
                _ => SelectError::Macs(reason),
            }
        })?;
        limits.push((*limit, of));
    }
    if limits.iter().all(|(limit, of)| limit.allowed(*of) >= *of) {
        let reached = |&(limit, of): &(Limit, f64)| Reached { limit, kept: of, of };
        return Err(SelectError::AlreadyMet { limits: limits.iter().map(reached).collect() });
    }
    let order = match ranking {
        Ranking::Scores(scores) => Order::new(coupling, scores, options),
        Ranking::Joint(joint) => {
            let beyond = if band.is_some() { BEYOND_IMPLANTED } else { BEYOND };
            joint::order(joint.clone(), coupling, meter, &limits, beyond, options)
        }
    };
    let predicts = matches!(ranking, Ranking::Joint(_)) && options.scope == Scope::Global;
    let mut search = Search { coupling, meter, order: &order, limits };
    let layer = options.scope == Scope::Layer;
    if layer && band.is_some() && budget.limit(Resource::Units).is_some() {
        return Err(SelectError::ImplantedUnits);
    }
    let units = budget.limit(Resource::Units).filter(|_| layer);
    let units = units.map(|limit| limit.allowed(eligible as f64) / eligible as f64);
    // With a share of units for every group, what each keeps is given, whatever the sum is.
    let given = order.below(units.map_or(f64::MIN, |share| -share));
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
    let end = search.last_that_fits(given, last).map_err(|nearest| unmeetable(&search, &nearest))?;
    let (mut low, mut high) = (given, end);
    while low < high {
        let middle = low.midpoint(high);
        match search.fits(&search.state(middle)) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let start = search.state(high);
    let mut state = start.clone();
    if !search.limits.is_empty() {
        // The same share of every group but for a step, or for more where the units of some are coarse.
        for spread in [0.0, 0.02, 0.05, 0.1, 0.2] {
            let bounds = search.bounds(&search.state(given), &start, layer.then_some(spread));
            state = search.refine(search.restored(state, &bounds, None), &bounds);
            if !layer || search.slack(&state) <= CLOSE {
                break;
            }
        }
    }
    if !layer && budget.limit(Resource::Latency).is_some() {
        let bounds = search.bounds(&search.state(given), &state, None);
        state = search.widened(state, &bounds);
    }
    let predicted = predicts.then(|| search.increase(&state));
    let plain = Selected {
        reached: search.reached(budget, &state),
        choice: search.selection(&state).into(),
        predicted,
        unexplained: Vec::new(),
        order: order.units(),
    };
    let Some(band) = band else { return Ok(plain) };
    let limits = &search.limits;
    let bander = Bander { coupling, meter, order: &order, limits, band, given, predicts };
    let implanted =
        bander.best(budget).filter(|implanted| match (band.share, implanted.predicted, predicted) {
            (ImplantShare::Auto, Some(with), Some(without)) => with < without,
            _ => true,
        });
    Ok(implanted.unwrap_or(plain))
}

/// The groups that may lose units.
pub(crate) fn eligible<'c>(
    coupling: &'c Coupling,
    options: &SelectOptions,
) -> impl Iterator<Item = usize> + use<'c> {
    let (allow, named) = (options.allow_inexact, options.groups.clone());
    let may = move |g: &usize| {
        (coupling.groups[*g].inexact.is_none() || allow)
            && named.as_ref().is_none_or(|named| named.contains(g))
    };
    (0..coupling.groups.len()).filter(may)
}

fn why_nothing(graph: &Graph, coupling: &Coupling) -> String {
    if let Some(reason) = coupling.groups.iter().find_map(|g| g.inexact.as_ref()) {
        let reason = reason.describe(graph);
        return format!(
            "its groups cannot be pruned exactly ({reason}); --allow-inexact prunes them nevertheless"
        );
    }
    match coupling.barred.first() {
        Some(b) => format!(
            "no axis of its parameters can lose an index; '{}', axis {}: {}. `secateurs inspect --groups` lists all",
            graph.values[b.value].name,
            b.axis,
            b.reason.describe(graph)
        ),
        None => match outermost_with_subgraphs(graph) {
            Some((node, op)) => format!(
                "what it computes lies inside of {op} (node {node}), where nothing can be pruned; export the one case that is needed"
            ),
            None => "it has no parameter with an axis of two indices or more".into(),
        },
    }
}

/// The first node that runs subgraphs.
fn outermost_with_subgraphs(graph: &Graph) -> Option<(String, &str)> {
    let nodes = graph.order.iter().map(|&id| (id, graph.nodes[id].op.as_ref()));
    let mut own =
        nodes.filter(|(_, op)| op.attributes().iter().any(|(_, a)| matches!(a, Attribute::Graph(_))));
    own.next().map(|(id, op)| (graph.node_label(id), op.name()))
}
