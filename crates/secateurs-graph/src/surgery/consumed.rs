//! Where units are consumed: the places at which a mask on a unit acts, as multiplications of the edges into nodes.

use std::collections::{BTreeMap, HashMap};

use super::mask::holders;
use crate::axes::{Axis, AxisMap, Segment, has_atom};
use crate::coupling::Coupling;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId};
use crate::op::OpError;

/// An axis of an edge into a node whose indices belong to units that the node consumes.
#[derive(Clone, PartialEq, Debug)]
pub struct Consumed {
    /// The node.
    pub node: NodeId,
    /// Which of its inputs. A computed one where there is one, as constants are the same for all samples.
    pub input: usize,
    /// The axis.
    pub axis: usize,
    /// Which of its indices belong to which units, by index.
    pub indices: Vec<UnitIndex>,
    /// How many edges into the node are multiplied by the same mask, such as both operands of a product: each of them alone removes
    /// the unit.
    pub operands: usize,
}

/// An index that goes with a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnitIndex {
    /// The index on the axis.
    pub index: usize,
    /// The group.
    pub group: usize,
    /// The unit in the group.
    pub unit: usize,
}

impl Consumed {
    /// The indices that go with some units.
    pub fn removed(&self, goes: impl Fn(usize, usize) -> bool) -> Vec<i64> {
        let mut gone: Vec<i64> =
            self.indices.iter().filter(|i| goes(i.group, i.unit)).map(|i| i.index as i64).collect();
        gone.dedup();
        gone
    }
}

impl Coupling {
    /// Where all units are consumed, in the order in which nodes run. What is never read, as the last rows of a table may be, is
    /// consumed nowhere. The graph is the coupling's, or that of a session of it. Fails where an axis of symbolic size would have to be masked.
    pub fn consumed(&self, graph: &Graph) -> Result<Vec<Consumed>, GraphError> {
        let owners = owners(self);
        let mut found = Vec::new();
        for &id in &graph.order {
            // The graph of a session may have nodes of its own.
            let Some(map) = self.spaces.maps.get(id) else { continue };
            let mut here: BTreeMap<(usize, usize, usize), Vec<UnitIndex>> = BTreeMap::new();
            for (a, atom) in map.atoms.iter().enumerate() {
                if !atom.role.consumes() {
                    continue;
                }
                let Some(own) = owners.get(&self.spaces.atom(id, a)) else { continue };
                let (mut constants, computed) = holders(graph, id, self, a);
                constants.truncate(1);
                let inputs = if computed.is_empty() { constants } else { computed };
                for &input in &inputs {
                    for (k, axis) in map.inputs[input].iter().flatten().enumerate() {
                        let positions = positions(axis, map, a)
                            .map_err(|reason| graph.node_error(id, OpError::Unsupported(reason.into())))?;
                        if positions.is_empty() {
                            continue;
                        }
                        let list = here.entry((input, k, inputs.len())).or_default();
                        for owner in own {
                            let at = positions.get(owner.index).into_iter().flatten();
                            list.extend(at.map(|&index| UnitIndex { index, ..*owner }));
                        }
                    }
                }
            }
            found.extend(here.into_iter().filter(|(_, indices)| !indices.is_empty()).map(
                |((input, axis, operands), mut indices)| {
                    indices.sort_unstable();
                    indices.dedup();
                    Consumed { node: id, input, axis, indices, operands }
                },
            ));
        }
        Ok(found)
    }
}

/// The units that indices of each space go with.
pub(super) fn owners(coupling: &Coupling) -> HashMap<u32, Vec<UnitIndex>> {
    let mut owners: HashMap<u32, Vec<UnitIndex>> = HashMap::new();
    for (g, group) in coupling.groups.iter().enumerate() {
        for (u, unit) in group.units.iter().enumerate() {
            for (space, indices) in &unit.indices {
                let own = indices.iter().map(|&index| UnitIndex { index, group: g, unit: u });
                owners.entry(*space).or_default().extend(own);
            }
        }
    }
    owners
}

/// For each index of an atom where it is on an axis; empty where the axis does not have the atom.
pub(super) fn positions(axis: &Axis, map: &AxisMap, atom: usize) -> Result<Vec<Vec<usize>>, &'static str> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut put = |index: usize, at: usize| {
        if found.len() <= index {
            found.resize(index + 1, Vec::new());
        }
        found[index].push(at);
    };
    if !has_atom(axis, atom) {
        return Ok(found);
    }
    let mut offset = 0;
    for segment in axis {
        match segment {
            Segment::Product(atoms) => {
                let sizes: Option<Vec<usize>> =
                    atoms.iter().map(|a| Some(map.atoms[a.0].size.known()? as usize)).collect();
                let sizes = sizes.ok_or("an axis of symbolic size cannot be masked")?;
                let total: usize = sizes.iter().product();
                for place in (0..atoms.len()).filter(|&place| atoms[place].0 == atom) {
                    let (stride, size) = (sizes[place + 1..].iter().product::<usize>(), sizes[place]);
                    (0..total).for_each(|flat| put(flat / stride % size, offset + flat));
                }
                offset += total;
            }
            Segment::Pick { atom: picked, indices } => {
                if picked.0 == atom {
                    indices.iter().enumerate().for_each(|(place, &index)| put(index, offset + place));
                }
                offset += indices.len();
            }
        }
    }
    Ok(found)
}
