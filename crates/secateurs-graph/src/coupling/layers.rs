//! Nodes that compute, each as a model of its own at the widths that a choice of units leaves it: what latency is measured on.

use std::collections::HashSet;

use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor};

use super::groups::Coupling;
use super::selection::Remaining;
use crate::attribute::Attribute;
use crate::dim::Bindings;
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, NodeId};
use crate::op::InputRole;
use crate::save;
use crate::shrink::{Kept, ShrunkInput, Subset};
use crate::surgery::constants::slice;

/// A node with multiply–accumulates, and its index ranges that can lose indices.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The node.
    pub node: NodeId,
    spaces: Vec<u32>,
    full: Vec<usize>,
}

/// A [`Layer`] at some widths.
pub struct LayerModel {
    /// What it computes: op, attributes, element types and sizes. Layers that say the same take the same time.
    pub key: String,
    /// The node alone. Operands that are constants in the graph are constants here.
    pub model: Model,
}

impl Coupling {
    /// The nodes that compute, in the order in which they run. Those with subgraphs, of which nothing can go, are no models of their own.
    pub fn layers(&self, graph: &Graph) -> Vec<Layer> {
        let units = self.groups.iter().flat_map(|group| &group.units);
        let pruned: HashSet<u32> =
            units.flat_map(|unit| unit.indices.iter().map(|(space, _)| *space)).collect();
        let has_subgraphs = |id: NodeId| {
            graph.nodes[id].op.attributes().iter().any(|(_, value)| matches!(value, Attribute::Graph(_)))
        };
        let computes = graph.order.iter().copied().filter(|&id| !graph.macs(id).is(0) && !has_subgraphs(id));
        let layer = |node| {
            let atoms = 0..self.spaces.maps[node].atoms.len();
            let mut spaces: Vec<u32> = Vec::new();
            for space in atoms.map(|a| self.spaces.atom(node, a)).filter(|space| pruned.contains(space)) {
                if !spaces.contains(&space) {
                    spaces.push(space);
                }
            }
            let full = spaces.iter().map(|&s| self.spaces.spaces[s as usize].cells).collect();
            Layer { node, spaces, full }
        };
        computes.map(layer).collect()
    }
}

impl Layer {
    /// How many indices its index ranges have before anything goes.
    pub fn full(&self) -> &[usize] {
        &self.full
    }

    /// How many are left, in whatever form they are computed.
    pub fn widths(&self, remaining: &Remaining) -> Vec<usize> {
        self.spaces.iter().map(|&space| remaining.of(space)).collect()
    }

    /// The layer with so many indices in each index range, at these sizes of the model; `None` where a size is not known before the
    /// model runs, or the op cannot have these widths.
    pub fn model(
        &self,
        graph: &Graph,
        coupling: &Coupling,
        widths: &[usize],
        sizes: &Bindings,
    ) -> Result<Option<LayerModel>, GraphError> {
        let node = &graph.nodes[self.node];
        let map = &coupling.spaces.maps[self.node];
        let atoms: Vec<Option<Subset>> = (0..map.atoms.len())
            .map(|a| {
                let at = self.spaces.iter().position(|&s| s == coupling.spaces.atom(self.node, a))?;
                let (of, kept) = (self.full[at], widths[at]);
                (kept != of).then(|| Subset { indices: (0..kept).collect(), of })
            })
            .collect();
        let facts = graph.input_facts(node);
        let outputs = graph.output_facts(node);
        let kept = Kept::new(map, node.op_inputs(&facts), &outputs, &atoms);
        let cut = atoms.iter().any(Option::is_some);
        let Ok(shrunk) = (if cut { node.op.shrink(&kept) } else { Ok(Default::default()) }) else {
            return Ok(None);
        };
        let op = shrunk.op.as_deref().unwrap_or(node.op.as_ref());
        let old: Vec<ShrunkInput> = (0..node.inputs.len()).map(ShrunkInput::Old).collect();
        let inputs = shrunk.inputs.as_ref().unwrap_or(&old);
        let mut builder = ModelBuilder::new(graph.opset(""));
        if !op.domain().is_empty() {
            builder = builder.domain(op.domain(), graph.opset(op.domain()));
        }
        let mut key = format!("{}:{}:{:?}", op.domain(), graph.opset(op.domain()), op);
        let mut names = Vec::new();
        for (i, input) in inputs.iter().enumerate() {
            let name = format!("x{i}");
            let (constant, element_type, shape) = match input {
                ShrunkInput::New(tensor) => {
                    (Some(tensor.clone()), tensor.element_type(), tensor.shape().to_vec())
                }
                ShrunkInput::Old(old) => {
                    let Some(value) = node.inputs[*old] else {
                        names.push(String::new());
                        continue;
                    };
                    let Some((element_type, shape)) = at_sizes(facts[*old], kept.input_shape(*old), sizes)
                    else {
                        return Ok(None);
                    };
                    let control = shrunk.controls.iter().find(|(at, _)| at == old).map(|(_, fact)| fact);
                    let constant = match (graph.tensor(value), control) {
                        // Times do not depend on which indices stay, nor on what a list of them says.
                        (Some(tensor), None) => Some(first(tensor, &shape)?),
                        (_, Some(fact)) => match integers(fact, sizes, element_type) {
                            Some(tensor) => Some(tensor),
                            None => return Ok(None),
                        },
                        (None, None) if node.op.role(*old) == InputRole::Control => {
                            facts[*old].and_then(|fact| integers(fact, sizes, element_type))
                        }
                        (None, None) => None,
                    };
                    let shape = constant.as_ref().map_or(shape, |tensor| tensor.shape().to_vec());
                    (constant, element_type, shape)
                }
            };
            key += &format!(" {element_type}{shape:?}{}", if constant.is_some() { "c" } else { "" });
            let texts: Vec<String> = shape.iter().map(usize::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            builder = match constant {
                Some(tensor) => builder.constant(&name, &tensor),
                None => builder.input(&name, element_type, &texts),
            };
            names.push(name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let made: Vec<String> = (0..node.outputs.len())
            .map(|i| node.outputs[i].map_or_else(String::new, |_| format!("y{i}")))
            .collect();
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        let attributes = op.attributes().iter().map(|(name, value)| save::attribute(name, value)).collect();
        let kind = match op.domain() {
            "" => op.name().to_owned(),
            domain => format!("{domain}::{}", op.name()),
        };
        builder = builder.node_with(&kind, &names, &made, attributes);
        for output in made.iter().filter(|name| !name.is_empty()) {
            builder = builder.output(output);
        }
        Ok(Some(LayerModel { key, model: builder.build()? }))
    }
}

/// An element type and numbers for all sizes.
fn at_sizes(
    fact: Option<&Fact>,
    shape: Option<crate::fact::Shape>,
    sizes: &Bindings,
) -> Option<(ElementType, Vec<usize>)> {
    let known = |dim: &crate::dim::Dim| dim.bind(sizes).known().and_then(|n| usize::try_from(n).ok());
    Some((fact?.element_type?, shape?.iter().map(known).collect::<Option<_>>()?))
}

/// The first indices of every axis that is longer than in `shape`.
fn first(tensor: &Tensor, shape: &[usize]) -> Result<Tensor, GraphError> {
    let kept = tensor.shape().iter().zip(shape);
    slice(tensor, &kept.map(|(of, n)| (n < of).then(|| (0..*n).collect())).collect())
}

/// A tensor of known integers.
fn integers(fact: &Fact, sizes: &Bindings, element_type: ElementType) -> Option<Tensor> {
    let values: Vec<i64> = fact.ints()?.iter().map(|dim| dim.bind(sizes).known()).collect::<Option<_>>()?;
    let shape = fact.known_shape()?.into_iter().map(|n| n as usize).collect();
    match element_type {
        ElementType::Int64 => Tensor::from_slice(shape, &values).ok(),
        ElementType::Int32 => {
            let values: Vec<i32> = values.into_iter().map(|n| n as i32).collect();
            Tensor::from_slice(shape, &values).ok()
        }
        _ => None,
    }
}
