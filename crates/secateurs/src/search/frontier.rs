//! What smaller models cost and what they are predicted to change, along the order in which units go.

use std::collections::BTreeMap;

use secateurs_graph::coupling::{Coupling, Remaining};
use serde::{Deserialize, Serialize};

use super::budget::Limit;
use super::meter::Meter;
use super::order::{Step, remove};
use super::select::Selected;
use crate::evidence::{GoneSet, Joint};

/// So many points at most.
const MOST_POINTS: usize = 48;

/// Smaller models on the way of a search, the largest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Frontier {
    /// How many units are gone.
    pub removed: Vec<usize>,
    /// What share is kept of each limited resource.
    pub kept: BTreeMap<String, Vec<f64>>,
    /// The predicted change of the outputs of the model that was measured, in nats or squares as the evidence has it.
    pub change: Vec<f64>,
}

/// The models along the order of a search, the largest first, and the predicted change of what it chose. `joint` holds what was measured
/// of all units; what has gone before counts as if it did nothing. An implanted unit adds what it changes alone, for the share of its
/// variance that its form does not make.
pub fn frontier(
    coupling: &Coupling,
    meter: &Meter,
    joint: Joint,
    selected: &Selected,
    limits: &[Limit],
) -> (Frontier, f64) {
    let offsets: Vec<usize> = coupling
        .groups
        .iter()
        .scan(0, |next, group| Some(std::mem::replace(next, *next + group.units.len())))
        .collect();
    let chosen = {
        let mut set = GoneSet::new(joint.clone());
        for (g, kept) in selected.choice.selection.kept.iter().enumerate() {
            let gone = (0..coupling.groups[g].units.len()).filter(|unit| kept.binary_search(unit).is_err());
            gone.for_each(|unit| set.add(offsets[g] + unit));
        }
        let implanted = selected.unexplained.iter();
        set.change() + implanted.map(|(g, unit, share)| share * set.alone(offsets[*g] + unit)).sum::<f64>()
    };
    let whole: Vec<f64> = limits
        .iter()
        .map(|limit| meter.value(limit.resource, &Remaining::new(coupling)).unwrap_or(0.0))
        .collect();
    let mut frontier = Frontier::default();
    let mut point = |removed: usize, remaining: &Remaining, set: &GoneSet| {
        frontier.removed.push(removed);
        frontier.change.push(set.change());
        for (limit, of) in limits.iter().zip(&whole).filter(|(_, of)| **of > 0.0) {
            let share = meter.value(limit.resource, remaining).unwrap_or(*of) / of;
            frontier.kept.entry(limit.resource.name().to_owned()).or_default().push(share);
        }
    };
    let mut set = GoneSet::new(joint);
    let mut remaining = Remaining::new(coupling);
    let stride = selected.order.len().div_ceil(MOST_POINTS - 1).max(1);
    let mut removed = 0;
    point(removed, &remaining, &set);
    for (number, (group, units)) in selected.order.iter().enumerate() {
        let step = Step::of(units.clone());
        if remove(&mut remaining, *group, &step).is_err() {
            continue;
        }
        units.iter().for_each(|unit| set.add(offsets[*group] + unit));
        removed += units.len();
        if (number + 1) % stride == 0 || number + 1 == selected.order.len() {
            point(removed, &remaining, &set);
        }
    }
    (frontier, chosen)
}
