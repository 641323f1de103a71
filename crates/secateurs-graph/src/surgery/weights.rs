//! Constants that nodes read, directly or behind views, and slices of them.

use std::sync::Arc;

use secateurs_onnx::{ElementType, Tensor};

use super::constants::{KeptAxes, slice};
use crate::axes::Segment;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::patch::{Feed, Patch};

/// A constant behind views that keep its axes, such as a transposed weight.
pub(crate) struct Constant<'g> {
    pub value: ValueId,
    pub tensor: &'g Tensor,
    /// What stands between it and its reader, from the constant on.
    pub views: Vec<NodeId>,
    /// The type in which it is read.
    pub element_type: ElementType,
}

impl<'g> Constant<'g> {
    /// The constant behind a value, or the name of the op that computes it.
    pub fn behind(graph: &'g Graph, read: ValueId) -> Result<Constant<'g>, String> {
        let (mut value, mut views) = (read, Vec::new());
        let tensor = loop {
            if let Some(tensor) = graph.tensor(value) {
                break tensor;
            }
            let Source::Node(id, 0) = graph.values[value].source else {
                return Err("an input of the model".into());
            };
            let node = &graph.nodes[id];
            match node.inputs[..] {
                [Some(input)] if node.op.is_view() => {
                    views.push(id);
                    value = input;
                }
                _ => return Err(node.op.name().to_owned()),
            }
        };
        views.reverse();
        let element_type = graph.values[read].fact.element_type.unwrap_or(tensor.element_type());
        Ok(Constant { value, tensor, views, element_type })
    }

    /// The constant's axis that is this axis of what is read.
    pub fn axis(&self, graph: &Graph, axis: usize) -> Option<usize> {
        self.views.iter().rev().try_fold(axis, |axis, &id| {
            let node = &graph.nodes[id];
            let map = graph.axis_map(node);
            let own = map.outputs.first()?.as_ref()?.get(axis)?;
            match &own[..] {
                [Segment::Product(atoms)] if atoms.len() <= 1 => {
                    map.inputs.first()?.as_ref()?.iter().position(|axis| axis == own)
                }
                _ => None,
            }
        })
    }

    /// What a node reads that is to read only these indices of an axis of the constant. Where `in_place`, and nothing else reads it,
    /// the constant itself is cut.
    pub fn picked(
        &self,
        graph: &Graph,
        patch: &mut Patch,
        axis: usize,
        indices: &[usize],
        in_place: bool,
    ) -> Result<Feed, GraphError> {
        let mut kept: KeptAxes = vec![None; self.tensor.shape().len()];
        kept[axis] = Some(Arc::from(indices));
        let small = slice(self.tensor, &kept)?;
        if in_place && self.views.is_empty() {
            patch.set_tensor(self.value, small);
            return Ok(Feed::Value(Some(self.value)));
        }
        Ok(self.replaced(graph, patch, small))
    }

    /// What a node reads that is to read another constant in this one's place. One in the type in which this one is read is not cast.
    pub fn replaced(&self, graph: &Graph, patch: &mut Patch, tensor: Tensor) -> Feed {
        let cast = tensor.element_type() == self.tensor.element_type();
        let element_type = |value: Option<ValueId>| value.and_then(|v| graph.values[v].fact.element_type);
        let stays = |id: &&NodeId| {
            let node = &graph.nodes[**id];
            cast || element_type(node.inputs[0]) == element_type(node.outputs[0])
        };
        let constant = Feed::Constant(graph.values[self.value].name.clone(), tensor);
        self.views.iter().filter(stays).fold(constant, |feed, &id| {
            let node = &graph.nodes[id];
            Feed::New(patch.make(node.name.clone(), node.op.clone(), vec![feed]))
        })
    }
}

/// A constant that a node reads through views that keep its axes, such as a cast or a transposition.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// The constant.
    pub value: ValueId,
    /// The type in which the file has it.
    pub element_type: ElementType,
    /// For each of its axes, the axis of what the node reads.
    pub axes: Vec<usize>,
}

impl Kept {
    /// The constant behind what a node reads; `None` where there is none, or where views merge or split its axes.
    pub fn behind(graph: &Graph, read: ValueId) -> Option<Kept> {
        let constant = Constant::behind(graph, read).ok()?;
        let rank = graph.values[read].fact.rank()?;
        let mut axes = vec![None; constant.tensor.shape().len()];
        for axis in 0..rank {
            *axes.get_mut(constant.axis(graph, axis)?)? = Some(axis);
        }
        let axes = axes.into_iter().collect::<Option<_>>()?;
        Some(Kept { value: constant.value, element_type: constant.tensor.element_type(), axes })
    }
}
