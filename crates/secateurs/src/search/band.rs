//! Implants: of the units that would go, the most sensitive ones stay, computed in a form that costs less.
//!
//! HAP (Yu, Yao, Gholami et al. 2022, section 3.3) implants the top tenth of what it would remove. Here the band's width and the ranks of
//! pairs are chosen by the predicted change: of a unit's increase an implant leaves the share of its variance that it does not make.

use std::collections::HashMap;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Remaining, Selection};
use secateurs_graph::surgery::{Choice, Form, NodeForm, Site};

use super::budget::{Budget, Limit};
use super::fit::{CLOSE, slack};
use super::meter::Meter;
use super::order::{Order, Step};
use super::select::{Reached, Selected};
use crate::implants::{Explained, ImplantShare};
use crate::plan::node_name;

/// Widths of the band that are tried.
const SHARES: [f64; 6] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5];
/// Ranks that are tried, over the rank at which a pair saves nothing.
const RANKS: [f64; 3] = [0.25, 0.5, 0.75];
/// So many choices are tried on the way closer to the budget.
const TRIES: usize = 64;
/// Fewer rows of a node are not worth an op of their own.
const FEWEST_ROWS: usize = 4;

/// The layers of a model that can compute units in another form.
pub struct Places<'p> {
    sites: Vec<Place<'p>>,
    /// For every unit the rows that make it: the place, and the row there.
    made_by: HashMap<(usize, usize), Vec<(usize, usize)>>,
}

struct Place<'p> {
    site: Site,
    /// The best that implants can make; `None` where it was not measured.
    explained: Option<&'p Explained>,
}

impl<'p> Places<'p> {
    /// The places of a model, and what is known of them.
    pub fn new(graph: &Graph, coupling: &Coupling, explained: &'p [Explained]) -> Places<'p> {
        let mut known: HashMap<&str, &Explained> =
            explained.iter().map(|own| (own.node.as_str(), own)).collect();
        let place = |site: Site| {
            let own = known.remove(node_name(graph, site.node).as_str());
            Place { explained: own.filter(|own| own.energy.len() == site.rows.rows), site }
        };
        let sites: Vec<Place> = coupling.sites(graph).into_iter().map(place).collect();
        let mut made_by: HashMap<_, Vec<_>> = HashMap::new();
        for (at, place) in sites.iter().enumerate() {
            for unit in &place.site.units {
                made_by.entry((unit.group, unit.unit)).or_default().push((at, unit.index));
            }
        }
        Places { sites, made_by }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// The share of a unit's variance that the forms of the nodes that make it do not make.
    fn unexplained(&self, group: usize, unit: usize, forms: &HashMap<usize, Form>) -> f64 {
        let rows = self.made_by.get(&(group, unit)).map_or(&[][..], Vec::as_slice);
        let (mut residual, mut energy) = (0.0, 0.0);
        for (at, row) in rows {
            let form = forms.get(at);
            match (self.sites[*at].explained, form) {
                (Some(explained), Some(Form::Pointwise)) => residual += explained.residual(*row, None),
                (Some(explained), Some(Form::LowRank { rank })) => {
                    residual += explained.residual(*row, Some(*rank));
                }
                (_, None) => {}
                // Nothing is known: it may make nothing.
                (None, Some(_)) => return 1.0,
            }
            energy += self.sites[*at].explained.map_or(0.0, |explained| explained.energy[*row]);
        }
        if energy > 0.0 { (residual / energy).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// What is to be implanted.
pub struct Band<'b> {
    /// How many of the units that would go.
    pub share: ImplantShare,
    /// Where.
    pub places: &'b Places<'b>,
}

/// What choosing a band needs.
pub(super) struct Bander<'s> {
    pub coupling: &'s Coupling,
    pub meter: &'s Meter<'s>,
    pub order: &'s Order,
    pub limits: &'s [(Limit, f64)],
    pub band: &'s Band<'s>,
    /// Steps that are taken in any case.
    pub given: usize,
    /// Whether steps say what they add to the predicted change.
    pub predicts: bool,
}

/// A choice with implants on the way.
struct Banded<'s> {
    remaining: Remaining<'s>,
    meter: Meter<'s>,
    choice: Choice,
    predicted: f64,
    unexplained: Vec<(usize, usize, f64)>,
}

impl<'s> Bander<'s> {
    /// The choice with implants that meets the limits with the least predicted change; `None` where none does.
    pub fn best(&self, budget: &Budget) -> Option<Selected> {
        let shares = match self.band.share {
            ImplantShare::None => return None,
            ImplantShare::Auto if !self.predicts => return None,
            ImplantShare::Auto => SHARES.to_vec(),
            ImplantShare::Share(share) => vec![share],
        };
        let ranks: Vec<Option<f64>> = match self.predicts {
            true => [None].into_iter().chain(RANKS.map(Some)).collect(),
            // As nothing says which is better: half of what would save nothing.
            false => vec![Some(0.5), None],
        };
        let mut best: Option<Banded> = None;
        for &share in &shares {
            for &rank in &ranks {
                let Some(found) = self.smallest(share, rank) else { continue };
                let better = match &best {
                    None => true,
                    Some(best) => self.predicts && found.predicted < best.predicted,
                };
                if better {
                    best = Some(found);
                }
            }
        }
        let best = best?;
        let none = Remaining::new(self.coupling);
        let reached = budget.limits().iter().map(|limit| {
            let of = |meter: &Meter, remaining| meter.value(limit.resource, remaining).unwrap_or(0.0);
            Reached { limit: *limit, kept: of(&best.meter, &best.remaining), of: of(self.meter, &none) }
        });
        let reached = reached.collect();
        let predicted = self.predicts.then_some(best.predicted);
        let (choice, unexplained) = (best.choice, best.unexplained);
        Some(Selected { reached, predicted, choice, unexplained, order: self.order.units() })
    }

    /// The first steps that meet the limits with this share of them implanted. Where they leave room, as the rows of small layers go
    /// together or not at all, fewer steps are tried, and without some of the last.
    fn smallest(&self, share: f64, rank: Option<f64>) -> Option<Banded<'s>> {
        let room = |own: &Banded| slack(self.limits, |resource| own.meter.value(resource, &own.remaining));
        let fits = |steps: usize, back: &[usize]| {
            let banded = self.banded(steps, back, share, rank)?;
            let room = room(&banded);
            (room >= 0.0).then_some((banded, room))
        };
        let implants = |found: &(Banded, f64)| !found.0.choice.forms.is_empty();
        let (mut low, mut high) = (self.given, self.order.merged.len());
        let mut found = fits(high, &[])?;
        while low < high {
            let middle = low.midpoint(high);
            match fits(middle, &[]) {
                Some(banded) => (found, high) = (banded, middle),
                None => low = middle + 1,
            }
        }
        let mut steps = high;
        for fewer in (self.given..high).rev().take(TRIES) {
            if found.1 <= CLOSE && implants(&found) {
                break;
            }
            let closer = fits(fewer, &[]).filter(implants);
            if let Some(closer) = closer.filter(|own| own.1 < found.1 || !implants(&found)) {
                (found, steps) = (closer, fewer);
            }
        }
        if !implants(&found) {
            return None;
        }
        let mut back = Vec::new();
        for step in (self.given..steps).rev().take(TRIES) {
            if found.1 <= CLOSE {
                break;
            }
            back.push(step);
            match fits(steps, &back).filter(|own| implants(own) && own.1 < found.1) {
                Some(closer) => found = closer,
                None => drop(back.pop()),
            }
        }
        Some(found.0)
    }

    /// The first steps but those that come `back`, the last of which are implanted where a node offers it.
    fn banded(&self, steps: usize, back: &[usize], share: f64, rank: Option<f64>) -> Option<Banded<'s>> {
        let places = self.band.places;
        let mut next = vec![0; self.order.steps.len()];
        let taken: Vec<(usize, &Step)> = self.order.merged[..steps]
            .iter()
            .map(|&group| {
                next[group] += 1;
                (group, &self.order.steps[group][next[group] - 1])
            })
            .enumerate()
            .filter_map(|(step, taken)| (!back.contains(&step)).then_some(taken))
            .collect();
        let all: usize = taken.iter().map(|(_, step)| step.units.len()).sum();
        let mut wanted = (share * all as f64).round() as usize;
        let mut implanted: Vec<Vec<usize>> = vec![Vec::new(); self.order.steps.len()];
        for (group, step) in taken[self.given.min(steps)..].iter().rev() {
            let offered = |unit: &&usize| self.offered(*group, **unit, rank);
            if wanted < step.units.len() {
                break;
            }
            if step.units.iter().filter(offered).count() == step.units.len() {
                implanted[*group].extend(&step.units);
            }
            // What cannot be implanted goes, and counts: the band is the last of what would go.
            wanted -= step.units.len();
        }
        for (group, units) in implanted.iter_mut().enumerate() {
            let rows = |at: usize| {
                let own = |unit: &usize| {
                    let rows = places.made_by.get(&(group, *unit)).map_or(&[][..], Vec::as_slice);
                    rows.iter().filter(|(site, _)| *site == at).count()
                };
                units.iter().map(own).sum::<usize>()
            };
            if (0..places.sites.len()).map(rows).max().unwrap_or(0) < FEWEST_ROWS {
                units.clear();
            }
            units.sort_unstable();
        }
        let mut selection = Selection::all(self.coupling);
        let mut remaining = Remaining::new(self.coupling);
        for (group, step) in &taken {
            for unit in step.units.iter().filter(|unit| implanted[*group].binary_search(unit).is_err()) {
                if !remaining.remove(*group, *unit) {
                    return None;
                }
                selection.kept[*group].retain(|own| own != unit);
            }
        }
        for (group, units) in implanted.iter().enumerate() {
            units.iter().for_each(|&unit| remaining.implant(group, unit));
        }
        let (forms, by_place) = self.forms(&implanted, rank, &remaining);
        let mut unexplained = Vec::new();
        let mut predicted = 0.0;
        for (group, step) in &taken {
            let mut left = 0.0;
            for unit in &step.units {
                left += match implanted[*group].binary_search(unit) {
                    Ok(_) => {
                        let share = places.unexplained(*group, *unit, &by_place);
                        unexplained.push((*group, *unit, share));
                        share
                    }
                    Err(_) => 1.0,
                };
            }
            predicted += step.increase * left / step.units.len() as f64;
        }
        let meter = self.meter.with_forms(&forms).ok()?;
        let choice = Choice { selection, implanted, forms };
        Some(Banded { remaining, meter, choice, predicted, unexplained })
    }

    /// Whether a node computes a unit in another form.
    fn offered(&self, group: usize, unit: usize, rank: Option<f64>) -> bool {
        let rows = self.band.places.made_by.get(&(group, unit)).map_or(&[][..], Vec::as_slice);
        rows.iter().any(|(at, _)| {
            let site = &self.band.places.sites[*at].site;
            site.pointwise.is_ok() || rank.is_some() && site.low_rank.is_ok()
        })
    }

    /// The nodes that compute implanted units otherwise: by one tap where they have several, by pairs of this share of the rank at which
    /// nothing is saved elsewhere.
    fn forms(
        &self,
        implanted: &[Vec<usize>],
        rank: Option<f64>,
        remaining: &Remaining,
    ) -> (Vec<NodeForm>, HashMap<usize, Form>) {
        let (mut forms, mut by_place) = (Vec::new(), HashMap::new());
        for (at, Place { site, .. }) in self.band.places.sites.iter().enumerate() {
            let rows = site.rows_of(|group, unit| implanted[group].binary_search(&unit).is_ok()).len();
            if rows == 0 {
                continue;
            }
            let form = |form: Form| NodeForm { node: site.node, form, bias: site.rows.bias.is_some() };
            let chosen = match (&site.pointwise, &site.low_rank, rank) {
                (Ok(()), ..) => Form::Pointwise,
                (_, Ok(()), Some(share)) => {
                    let Ok(costs) = self.meter.rows(&form(Form::LowRank { rank: 1 }), remaining) else {
                        continue;
                    };
                    let channels = costs.own.0 as f64 / site.rows.taps.max(1) as f64;
                    let even = rows as f64 * channels / (rows as f64 + channels);
                    Form::LowRank { rank: ((share * even).round() as usize).max(1) }
                }
                _ => continue,
            };
            forms.push(form(chosen));
            by_place.insert(at, chosen);
        }
        (forms, by_place)
    }
}
