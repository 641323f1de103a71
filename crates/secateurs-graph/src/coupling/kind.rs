//! What kind of unit a group is made of, told from the roles its spaces play.

use std::collections::HashMap;
use std::fmt;

use slotmap::SecondaryMap;

use super::spaces::{Part, Spaces};
use crate::axes::{Axis, AxisMap, Role, Segment, unit_axis};
use crate::graph::{Graph, ValueId};
use crate::op::InputRole;

/// What a unit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum UnitKind {
    /// A channel of convolutions, or a dimension of embeddings.
    Channel,
    /// A neuron between dense layers.
    Neuron,
    /// An attention head; with grouped queries a key-value head and its queries.
    AttentionHead,
    /// A dimension of all heads of an attention.
    HeadDim,
    /// A group of a grouped convolution.
    ConvGroup,
    /// A row of a table that the model never reads.
    UnusedRow,
}

impl UnitKind {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            UnitKind::Channel => "channel",
            UnitKind::Neuron => "neuron",
            UnitKind::AttentionHead => "attention head",
            UnitKind::HeadDim => "head_dim",
            UnitKind::ConvGroup => "conv group",
            UnitKind::UnusedRow => "unused row",
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles that each space plays in the graph.
pub(super) struct Features {
    spaces: Vec<Feature>,
    makers: HashMap<(ValueId, usize), bool>,
}

#[derive(Clone, Copy, Default)]
struct Feature {
    /// A contraction of two computed values runs over these indices separately.
    head: bool,
    /// A factor beside such an axis in a product.
    head_dim: bool,
    /// A weight has these indices as blocks.
    conv_group: bool,
    /// How many weights are contracted over it.
    consumers: usize,
    /// Whether a weight of three axes or more has it, other than those of recurrent layers.
    spatial: bool,
    /// Whether a node drops these indices.
    dropped: bool,
    /// Whether a node does anything else with them.
    used: bool,
    /// Whether a value that depends on the model's inputs has them.
    computed: bool,
}

/// Whether an input of one index meets this axis of the output, as the one key head of multi-query attention meets all heads of queries.
fn is_broadcast(map: &AxisMap, computed: &[bool], atom: usize) -> bool {
    let is_it = |axis: &Axis| matches!(&axis[..], [Segment::Product(atoms)] if matches!(&atoms[..], [a] if a.0 == atom));
    let from_end = |axes: &[Axis]| axes.iter().rev().position(is_it);
    let places = map.outputs.iter().flatten().filter_map(|axes| from_end(axes));
    let of_one = |place: usize| {
        let own = map.inputs.iter().zip(computed).filter(|(_, computed)| **computed);
        own.filter_map(|(axes, _)| axes.as_ref()?.iter().rev().nth(place)).any(|axis| *axis == unit_axis())
    };
    places.into_iter().any(of_one)
}

/// Heads may be merged with the batch, or key-value heads with their queries, or an axis may hold the heads of both: what an axis of heads
/// consists of or is picked from are heads, and so is a product of which nothing but heads can go. Returns whether that made more.
fn spread_heads(features: &mut [Feature], spaces: &Spaces) -> bool {
    let mut found = Vec::new();
    for composite in &spaces.composites {
        let head = |space: &u32| features[*space as usize].head;
        for part in &composite.parts {
            let factors = match part {
                Part::Product(factors) => factors,
                Part::Pick(space, _) => {
                    found.extend(Some(space).filter(|space| head(&composite.total) && !head(space)));
                    continue;
                }
            };
            let mut open = factors.iter().filter(|space| spaces.spaces[**space as usize].barred.is_none());
            let alone = matches!((open.next(), open.next()), (Some(one), None) if head(one));
            match head(&composite.total) {
                true => found.extend(factors.iter().filter(|space| !head(space))),
                false if alone && composite.parts.len() == 1 => found.push(composite.total),
                false => {}
            }
        }
    }
    found.iter().for_each(|space| features[*space as usize].head = true);
    !found.is_empty()
}

/// What is behind a node that only changes layout or type makes what the node's readers say. Where a parameter is also read as it is,
/// that reader says it.
fn carry_makers_back(graph: &Graph, spaces: &Spaces, makers: &mut HashMap<(ValueId, usize), bool>) {
    let mut behind = HashMap::new();
    for &id in graph.order.iter().rev().filter(|id| graph.nodes[**id].op.is_view()) {
        let (node, map) = (&graph.nodes[id], &spaces.maps[id]);
        let (Some(Some(input)), Some(Some(output))) = (node.inputs.first(), node.outputs.first()) else {
            continue;
        };
        let (Some(Some(from)), Some(Some(to))) = (map.inputs.first(), map.outputs.first()) else { continue };
        for (k, axis) in from.iter().enumerate() {
            let seen = (0..to.len()).filter(|&place| share_an_atom(axis, &to[place]));
            let seen = seen.map(|place| (*output, place));
            if let Some(&made) = seen.filter_map(|at| makers.get(&at).or_else(|| behind.get(&at))).next() {
                behind.insert((*input, k), made);
            }
        }
    }
    behind.into_iter().for_each(|(at, made)| {
        makers.entry(at).or_insert(made);
    });
}

fn share_an_atom(a: &Axis, b: &Axis) -> bool {
    a.iter().flat_map(Segment::atoms).any(|atom| b.iter().flat_map(Segment::atoms).any(|other| other == atom))
}

impl Features {
    pub fn new(graph: &Graph, spaces: &Spaces) -> Features {
        let mut features = vec![Feature::default(); spaces.spaces.len()];
        let mut makers = HashMap::new();
        let mut computed = SecondaryMap::<ValueId, ()>::new();
        for &input in &graph.inputs {
            computed.insert(input, ());
        }
        for &id in &graph.order {
            let node = &graph.nodes[id];
            let is_computed = |v: &Option<ValueId>| v.is_some_and(|v| computed.contains_key(v));
            let inputs: Vec<bool> = node.inputs.iter().map(is_computed).collect();
            let map = &spaces.maps[id];
            let occurs = |atom: usize, axes: &Option<Vec<Axis>>| {
                axes.iter().flatten().flatten().any(|s| match s {
                    Segment::Product(atoms) => atoms.iter().any(|a| a.0 == atom),
                    Segment::Pick { atom: a, .. } => a.0 == atom,
                })
            };
            let from = |atom: usize, wanted: bool| {
                let own = map.inputs.iter().zip(&inputs);
                own.filter(|(axes, computed)| **computed == wanted && occurs(atom, axes)).count()
            };
            let contracts =
                (0..map.atoms.len()).any(|a| map.atoms[a].role == Role::Summed && from(a, true) >= 2);
            for (a, atom) in map.atoms.iter().enumerate() {
                let feature = &mut features[spaces.atom(id, a) as usize];
                let weights = from(a, false) > 0;
                match atom.role {
                    Role::Dropped => feature.dropped = true,
                    _ => feature.used = true,
                }
                let made = inputs.contains(&true) && map.outputs.iter().any(|axes| occurs(a, axes));
                feature.computed |= made || from(a, true) > 0;
                match atom.role {
                    Role::Summed if weights && from(a, true) > 0 => feature.consumers += 1,
                    Role::Free if contracts && (from(a, true) >= 2 || is_broadcast(map, &inputs, a)) => {
                        feature.head = true
                    }
                    _ => {}
                }
            }
            for (i, axes) in map.inputs.iter().enumerate().filter(|(i, _)| !inputs[*i]) {
                let (Some(axes), Some(value)) = (axes, node.inputs[i]) else { continue };
                let weight = node.op.role(i) == InputRole::Parameter;
                for (k, axis) in axes.iter().enumerate() {
                    if let Some(space) = spaces.axis(graph, id, i, k) {
                        features[space as usize].spatial |= axes.len() > 2 && weight && map.ties.is_empty();
                    }
                    let made = axis.iter().any(|segment| match segment {
                        Segment::Product(atoms) => atoms.iter().any(|a| map.atoms[a.0].role == Role::Free),
                        Segment::Pick { atom, .. } => map.atoms[atom.0].role == Role::Free,
                    });
                    if !node.op.is_view() {
                        makers.entry((value, k)).or_insert(made);
                    }
                    if let [Segment::Product(atoms)] = &axis[..]
                        && weight
                        && atoms.len() > 1
                    {
                        features[spaces.atom(id, atoms[0].0) as usize].conv_group = true;
                    }
                }
            }
            if inputs.iter().any(|c| *c) {
                for &value in node.outputs.iter().flatten() {
                    computed.insert(value, ());
                }
            }
        }
        carry_makers_back(graph, spaces, &mut makers);
        while spread_heads(&mut features, spaces) {}
        for composite in &spaces.composites {
            for part in &composite.parts {
                let Part::Product(factors) = part else { continue };
                if factors.iter().any(|space| features[*space as usize].head) {
                    for space in factors {
                        features[*space as usize].head_dim |= !features[*space as usize].head;
                    }
                }
            }
        }
        Features { spaces: features, makers }
    }

    /// For each space whether its indices are units of their own where it is a factor: heads, groups of convolutions.
    pub fn unit_like(&self) -> Vec<bool> {
        self.spaces.iter().map(|f| f.head || f.conv_group).collect()
    }

    /// Whether the layer of a parameter makes indices of this axis rather than consumes them.
    pub fn makes(&self, value: ValueId, axis: usize) -> bool {
        self.makers.get(&(value, axis)).copied().unwrap_or(true)
    }

    /// Whether units that touch these spaces take part in what the model computes from its inputs. Statistics of constants
    /// do not; rows that are never read are worth finding all the same.
    pub fn takes_part(&self, touched: &[u32]) -> bool {
        let computed = touched.iter().any(|s| self.spaces[*s as usize].computed);
        computed || self.kind(touched) == UnitKind::UnusedRow
    }

    /// The kind of units that touch these spaces.
    pub fn kind(&self, touched: &[u32]) -> UnitKind {
        let any = |has: fn(&Feature) -> bool| touched.iter().any(|s| has(&self.spaces[*s as usize]));
        let consumers: usize = touched.iter().map(|s| self.spaces[*s as usize].consumers).sum();
        if any(|f| f.head) {
            UnitKind::AttentionHead
        } else if any(|f| f.head_dim) {
            UnitKind::HeadDim
        } else if any(|f| f.conv_group) {
            UnitKind::ConvGroup
        } else if any(|f| f.dropped) && !any(|f| f.used) {
            UnitKind::UnusedRow
        } else if !any(|f| f.spatial) && consumers == 1 {
            UnitKind::Neuron
        } else {
            UnitKind::Channel
        }
    }
}
