//! The units of groups in another order: producers, consumers and all between follow, and the model computes the same.
//!
//! Only constants change. A permutation of the index spaces is right if every op treats the indices alike, which its axis map says,
//! and if sums and products of spaces are permuted as their parts are, which is checked here, class by class of units that could
//! take each other's place. What fails stays as it is: units that other spaces hold in another order, as behind a shuffle of
//! channels, and filters of a convolution's groups.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::constants::sliced;
use crate::axes::Role;
use crate::coupling::{Coupling, Part};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::patch::Patch;

/// Units in another order.
#[derive(Debug)]
pub struct Permuted {
    /// The change.
    pub patch: Patch,
    /// For each group and each place the unit that is there now.
    pub units: Vec<Vec<usize>>,
    /// For each space the old index at each new one; `None` where nothing moved.
    pub(super) spaces: HashMap<u32, Arc<[usize]>>,
}

/// For each space that changes, the old index at each new one.
type Sources = BTreeMap<u32, Vec<usize>>;

impl Coupling {
    /// The change that puts the units of each group in an order as near to the wanted one (the unit for each place) as it can:
    /// places change only among units that lie alike in all spaces. Afterwards the coupling holds for the new graph too, with the unit
    /// at each place numbered by the place.
    pub fn permute(&self, graph: &Graph, wanted: &[Vec<usize>]) -> Result<Permuted, GraphError> {
        let fixed = self.fixed_spaces(graph);
        let mut all = Sources::new();
        let mut units = Vec::with_capacity(self.groups.len());
        for (group, wanted) in self.groups.iter().zip(wanted) {
            let mut order: Vec<usize> = (0..group.units.len()).collect();
            let mut classes: BTreeMap<Vec<(u32, usize)>, Vec<usize>> = BTreeMap::new();
            for &unit in wanted {
                let signature = group.units[unit].indices.iter().map(|(space, own)| (*space, own.len()));
                classes.entry(signature.collect()).or_default().push(unit);
            }
            for (signature, sources) in classes {
                let mut places = sources.clone();
                places.sort_unstable();
                if places == sources || signature.iter().any(|(space, _)| fixed[*space as usize]) {
                    continue;
                }
                let mut own = Sources::new();
                for (&place, &source) in places.iter().zip(&sources) {
                    let (to, from) = (&group.units[place].indices, &group.units[source].indices);
                    for ((space, to), (_, from)) in to.iter().zip(from) {
                        let cells = self.spaces.spaces[*space as usize].cells;
                        let moved = own.entry(*space).or_insert_with(|| (0..cells).collect());
                        to.iter().zip(from).for_each(|(&to, &from)| moved[to] = from);
                    }
                }
                if !self.consistent(&own) {
                    continue;
                }
                places.iter().zip(&sources).for_each(|(&place, &source)| order[place] = source);
                for (space, moved) in own {
                    let joint = all.entry(space).or_insert_with(|| (0..moved.len()).collect());
                    // Classes own different indices.
                    moved
                        .iter()
                        .enumerate()
                        .filter(|(i, from)| i != *from)
                        .for_each(|(i, &from)| joint[i] = from);
                }
            }
            units.push(order);
        }
        let spaces: HashMap<u32, Arc<[usize]>> = all.into_iter().map(|(s, own)| (s, own.into())).collect();
        let mut patch = Patch::new();
        let sources = |node, input, axis| spaces.get(&self.spaces.axis(graph, node, input, axis)?).cloned();
        for moved in sliced(graph, &graph.uses(), sources)? {
            // What is the same for all units need not move.
            if graph.tensor(moved.value).is_some_and(|old| old.bytes() != moved.tensor.bytes()) {
                moved.put(graph, &mut patch);
            }
        }
        Ok(Permuted { patch, units, spaces })
    }

    /// Spaces whose indices count by their place somewhere.
    fn fixed_spaces(&self, graph: &Graph) -> Vec<bool> {
        let mut fixed = vec![false; self.spaces.spaces.len()];
        // Who fills an input or reads an output counts on the order.
        for &port in graph.inputs.iter().chain(&graph.outputs) {
            for axis in 0..graph.values[port].fact.rank().unwrap_or(0) {
                if let Some(space) = self.spaces.value_axis(port, axis) {
                    fixed[space as usize] = true;
                }
            }
        }
        for &id in graph.order.iter().filter(|id| graph.nodes[**id].op.constant().is_none()) {
            for (a, atom) in self.spaces.maps[id].atoms.iter().enumerate() {
                fixed[self.spaces.atom(id, a) as usize] |= match atom.role {
                    Role::Free | Role::Summed | Role::Averaged | Role::Dropped | Role::Made => false,
                    Role::Mixed(_) => graph.nodes[id].op.is_ordered(),
                    Role::Blocked(_) => true,
                };
            }
        }
        fixed
    }

    /// Whether sums and products of spaces are permuted as their parts are.
    fn consistent(&self, sources: &Sources) -> bool {
        let moved = |space: &u32, i: usize| sources.get(space).map_or(i, |own| own[i]);
        self.spaces.composites.iter().all(|composite| {
            let touched = |part: &Part| match part {
                Part::Product(factors) => factors.iter().any(|f| sources.contains_key(f)),
                Part::Pick(space, _) => sources.contains_key(space),
            };
            if !sources.contains_key(&composite.total) && !composite.parts.iter().any(touched) {
                return true;
            }
            let cells = self.spaces.spaces[composite.total as usize].cells;
            let mut offset = 0;
            composite.parts.iter().all(|part| {
                let start = offset;
                match part {
                    Part::Pick(space, indices) => {
                        offset += indices.len();
                        (0..indices.len()).all(|j| {
                            // A sum that is barred has no cells, and stays.
                            let from =
                                if cells == 0 { start + j } else { moved(&composite.total, start + j) };
                            let from = from.checked_sub(start).and_then(|from| indices.get(from));
                            from.is_some_and(|from| *from == moved(space, indices[j]))
                        })
                    }
                    Part::Product(factors) => {
                        let size = |space: &u32| self.spaces.spaces[*space as usize].cells.max(1);
                        let len: usize = factors.iter().map(size).product();
                        offset += len;
                        if offset > cells {
                            return false;
                        }
                        (0..len).all(|flat| {
                            let (mut rest, mut stride, mut from) = (flat, 1, start);
                            for factor in factors.iter().rev() {
                                let size = size(factor);
                                from += stride * if size > 1 { moved(factor, rest % size) } else { 0 };
                                rest /= size;
                                stride *= size;
                            }
                            from == moved(&composite.total, start + flat)
                        })
                    }
                }
            })
        })
    }
}
