//! Where parameters make units: the nodes whose output has an index of its own for every index of a parameter's axis.

use std::collections::{HashMap, HashSet};

use slotmap::SecondaryMap;

use super::consumed::{UnitIndex, owners, positions};
use crate::axes::{AtomId, AxisMap, Role, Segment, product};
use crate::coupling::Coupling;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::op::InputRole;
use crate::samples::fed;

/// An axis of a parameter at a node whose output is made index by index along it.
#[derive(Clone, PartialEq, Debug)]
pub struct Made {
    /// The node.
    pub node: NodeId,
    /// Which of its inputs the parameter is, maybe behind views.
    pub input: usize,
    /// The parameter.
    pub parameter: ValueId,
    /// The axis of the input.
    pub axis: usize,
    /// The axis of the node's first output that has the same indices.
    pub output_axis: usize,
    /// How many indices of the axis are those of what flows through the node too, as the groups of a convolution: the outer factor.
    pub shared: usize,
    /// How many are the parameter's alone, as the filters of a group: the inner factor. `None` where the axis has no such
    /// factor at all.
    pub own: Option<usize>,
    /// Which indices belong to which units, by index.
    pub indices: Vec<UnitIndex>,
}

impl Coupling {
    /// Where parameters make units, in the order in which nodes run. Parameters that several nodes read are left out, as are axes whose
    /// indices the output has in another order. The graph is the coupling's, or that of a session of it.
    pub fn made(&self, graph: &Graph) -> Vec<Made> {
        let owners = owners(self);
        let makes: HashSet<(ValueId, usize)> = self
            .groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| group.parameters.iter().filter(|p| p.made).map(move |p| (p.value, g)))
            .collect();
        let (readers, fed) = (readers(graph), fed(graph));
        let mut found = Vec::new();
        for &id in &graph.order {
            let node = &graph.nodes[id];
            if node.op.is_view() {
                continue;
            }
            // As in `consumed`.
            let Some(map) = self.spaces.maps.get(id) else { continue };
            for input in 0..node.inputs.len() {
                if !reads(graph, id, input) {
                    continue;
                }
                let behind = node.inputs[input].and_then(|value| graph.constant_behind(value));
                let Some(parameter) = behind else { continue };
                if readers[&parameter] != 1 {
                    continue;
                }
                for place in places(node, &fed, map, input) {
                    let mut indices = Vec::new();
                    let axis = product(&place.atoms[..]);
                    for atom in &place.atoms {
                        let own = owners.get(&self.spaces.atom(id, atom.0)).map_or(&[][..], Vec::as_slice);
                        let own = own.iter().filter(|index| makes.contains(&(parameter, index.group)));
                        let Ok(at) = positions(&axis, map, atom.0) else { continue };
                        for index in own {
                            let at = at.get(index.index).into_iter().flatten();
                            indices.extend(at.map(|&at| UnitIndex { index: at, ..*index }));
                        }
                    }
                    indices.sort_unstable();
                    indices.dedup();
                    if !indices.is_empty() {
                        let Place { axis, output_axis, shared, own, .. } = place;
                        found.push(Made {
                            node: id,
                            input,
                            parameter,
                            axis,
                            output_axis,
                            shared,
                            own,
                            indices,
                        });
                    }
                }
            }
        }
        found
    }
}

/// Whether a node computes with an input, and does not only look at its sizes.
fn reads(graph: &Graph, node: NodeId, input: usize) -> bool {
    !matches!(graph.nodes[node].op.role(input), InputRole::Sizes | InputRole::Control)
}

/// How many edges into nodes that are no views read each parameter, directly or behind views.
fn readers(graph: &Graph) -> HashMap<ValueId, usize> {
    let mut readers = HashMap::new();
    for (id, node) in graph.nodes.iter().filter(|(_, node)| !node.op.is_view()) {
        let inputs = node.inputs.iter().enumerate().filter(|(i, _)| reads(graph, id, *i));
        let values = inputs.filter_map(|(_, value)| *value).chain(node.captures.iter().copied());
        for parameter in values.filter_map(|value| graph.constant_behind(value)) {
            *readers.entry(parameter).or_default() += 1;
        }
    }
    readers
}

struct Place {
    axis: usize,
    atoms: Vec<AtomId>,
    output_axis: usize,
    shared: usize,
    own: Option<usize>,
}

/// The axes of an input that the first output has too, with the indices in the same order.
fn places(node: &Node, fed: &SecondaryMap<ValueId, ()>, map: &AxisMap, input: usize) -> Vec<Place> {
    let (Some(axes), Some(Some(outputs))) =
        (map.inputs.get(input).and_then(Option::as_ref), map.outputs.first())
    else {
        return Vec::new();
    };
    let flows = |i: usize| node.inputs[i].is_some_and(|value| fed.contains_key(value));
    // The atoms of what flows through the node.
    let elsewhere: HashSet<usize> = map
        .inputs
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != input && flows(*i))
        .flat_map(|(_, axes)| axes.iter().flatten().flatten())
        .flat_map(|segment| match segment {
            Segment::Product(atoms) => atoms.iter().map(|a| a.0).collect(),
            Segment::Pick { atom, .. } => vec![atom.0],
        })
        .collect();
    let mut found = Vec::new();
    for (axis, segments) in axes.iter().enumerate() {
        let [Segment::Product(atoms)] = &segments[..] else { continue };
        let free = atoms.iter().all(|atom| map.atoms[atom.0].role == Role::Free);
        let Some(output_axis) = outputs.iter().position(|output| output == segments).filter(|_| free) else {
            continue;
        };
        let shared = atoms.iter().take_while(|atom| elsewhere.contains(&atom.0)).count();
        let (outer, inner) = atoms.split_at(shared);
        if atoms.is_empty() || inner.iter().any(|atom| elsewhere.contains(&atom.0)) {
            continue;
        }
        let size = |atoms: &[AtomId]| -> Option<usize> {
            atoms.iter().map(|atom| map.atoms[atom.0].size.known().map(|n| n as usize)).product()
        };
        let (Some(shared), Some(own)) = (size(outer), size(inner)) else { continue };
        let own = (!inner.is_empty()).then_some(own);
        found.push(Place { axis, atoms: atoms.clone(), output_axis, shared, own });
    }
    found
}
