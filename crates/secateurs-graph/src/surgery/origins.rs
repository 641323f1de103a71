//! Which units of a model the units of a smaller one were.

use std::collections::HashMap;

use super::consumed::{UnitIndex, owners};
use crate::coupling::{Coupling, ParameterAxis, Selection, Unit};
use crate::graph::{Graph, NodeId};
use crate::shrink::Subset;

/// A unit by the numbers of its group and of itself.
pub type UnitNumber = (usize, usize);

/// A model in two states.
struct States<'a> {
    graph: &'a Graph,
    coupling: &'a Coupling,
    /// For each space the indices that are left, `None` where all are.
    kept: Vec<Option<Subset>>,
    smaller: &'a Graph,
    smaller_coupling: &'a Coupling,
    /// Nodes of the original by what they make.
    makers: HashMap<&'a str, NodeId>,
}

impl Coupling {
    /// For each unit of a smaller model the unit that it was here; `None` where that cannot be told, as where an axis of heads has become
    /// one head and its dimensions are units.
    ///
    /// `smaller` is what surgery made of `graph` for this `selection`, with whatever weights, and may have been in a file since: nodes are
    /// found by the names of what they make.
    pub fn origins(
        &self,
        graph: &Graph,
        selection: &Selection,
        smaller: &Graph,
        smaller_coupling: &Coupling,
    ) -> Vec<Vec<Option<UnitNumber>>> {
        let maker = |&id: &NodeId| Some((first_output(graph, id)?, id));
        let states = States {
            graph,
            coupling: self,
            kept: self.kept(selection),
            smaller,
            smaller_coupling,
            makers: graph.order.iter().filter_map(maker).collect(),
        };
        let owners = owners(self);
        let groups = smaller_coupling.groups.iter().map(|group| {
            // Spaces of the original by parameter, looked up once for all units.
            let found: Vec<(&ParameterAxis, u32)> = group
                .parameters
                .iter()
                .flat_map(|p| states.spaces(p).into_iter().map(move |s| (p, s)))
                .collect();
            group.units.iter().map(|unit| states.origin(&found, unit, &owners)).collect()
        });
        groups.collect()
    }
}

fn first_output(graph: &Graph, node: NodeId) -> Option<&str> {
    let value = graph.nodes[node].outputs.iter().flatten().next()?;
    Some(graph.values[*value].name.as_str())
}

impl States<'_> {
    /// The spaces that a parameter's axis had in the original, at the nodes that read it.
    fn spaces(&self, parameter: &ParameterAxis) -> Vec<u32> {
        let mut spaces = Vec::new();
        for &id in &self.smaller.order {
            for (input, value) in self.smaller.nodes[id].inputs.iter().enumerate() {
                let own = || self.smaller_coupling.spaces.axis(self.smaller, id, input, parameter.axis);
                if *value != Some(parameter.value) || own() != Some(parameter.space) {
                    continue;
                }
                let before = first_output(self.smaller, id).and_then(|name| self.makers.get(name));
                let Some(&before) = before else { continue };
                let same = self.graph.nodes[before].op.name() == self.smaller.nodes[id].op.name()
                    && self.graph.nodes[before].inputs.get(input).is_some_and(Option::is_some);
                if !same {
                    continue;
                }
                let Some(space) = self.coupling.spaces.axis(self.graph, before, input, parameter.axis) else {
                    continue;
                };
                if self.left(space) == self.smaller_coupling.spaces.spaces[parameter.space as usize].cells
                    && !spaces.contains(&space)
                {
                    spaces.push(space);
                }
            }
        }
        spaces
    }

    /// How many indices of a space are left.
    fn left(&self, space: u32) -> usize {
        let all = self.coupling.spaces.spaces[space as usize].cells;
        self.kept[space as usize].as_ref().map_or(all, |subset| subset.indices.len())
    }

    /// The one unit whose indices that are left are those of `unit`, on every axis that is known.
    fn origin(
        &self,
        found: &[(&ParameterAxis, u32)],
        unit: &Unit,
        owners: &HashMap<u32, Vec<UnitIndex>>,
    ) -> Option<UnitNumber> {
        let mut origin: Option<Vec<UnitNumber>> = None;
        for (parameter, space) in found {
            let kept = self.kept[*space as usize].as_ref().map(|subset| &subset.indices);
            let before = |index: &usize| kept.map_or(Some(*index), |kept| kept.get(*index).copied());
            let indices: Vec<usize> = unit.of(parameter.space).iter().filter_map(before).collect();
            let is_left = |index: &&usize| kept.is_none_or(|kept| kept.binary_search(index).is_ok());
            let mut same: Vec<UnitNumber> = owners
                .get(space)
                .into_iter()
                .flatten()
                .filter(|owner| Some(&owner.index) == indices.first())
                .map(|owner| (owner.group, owner.unit))
                .filter(|(group, unit)| {
                    let own = self.coupling.groups[*group].units[*unit].of(*space);
                    own.iter().filter(is_left).eq(indices.iter())
                })
                .collect();
            if let Some(others) = &origin {
                same.retain(|unit| others.contains(unit));
            }
            origin = Some(same);
        }
        match origin?[..] {
            [unit] => Some(unit),
            _ => None,
        }
    }
}
