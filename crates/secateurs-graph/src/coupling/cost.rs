//! What a choice of units costs, without building the smaller model.

use std::collections::HashSet;

use super::groups::Coupling;
use super::selection::Remaining;
use crate::dim::{Bindings, Dim};
use crate::fact::Fact;
use crate::graph::{Graph, NodeId};
use crate::op::{Inputs, Op};
use crate::shrink::{Kept, Subset};

/// The cost of any selection of a graph's units.
pub struct Costs<'g> {
    graph: &'g Graph,
    coupling: &'g Coupling,
    parameters: Vec<Parameter>,
    /// Nodes that compute.
    nodes: Vec<NodeId>,
    bindings: Bindings,
}

/// A parameter's sizes, and for each use the space of each axis.
struct Parameter {
    sizes: Vec<usize>,
    uses: Vec<Vec<Option<u32>>>,
    /// Whether it still counts with a single element: a lone number among data does not.
    counts_alone: bool,
}

impl<'g> Costs<'g> {
    /// Prepares a graph whose MACs are counted at these sizes; symbols that are not bound stay.
    pub fn new(graph: &'g Graph, coupling: &'g Coupling, bindings: &Bindings) -> Costs<'g> {
        let uses = graph.uses();
        let parameters = graph.parameters().into_iter().filter(|p| !p.statistic).map(|p| {
            let shape = graph.values[p.value].fact.known_shape().unwrap_or_default();
            let sizes: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
            let mut uses: Vec<Vec<Option<u32>>> = uses[p.value]
                .iter()
                .filter_map(|at| Some((at.node, at.input?)))
                .map(|(node, i)| (0..sizes.len()).map(|k| coupling.spaces.axis(graph, node, i, k)).collect())
                .collect();
            uses.sort_unstable();
            uses.dedup();
            Parameter { sizes, uses, counts_alone: p.counts_alone }
        });
        let nodes = graph.order.iter().copied().filter(|&id| !graph.macs(id).is(0)).collect();
        Costs { graph, coupling, parameters: parameters.collect(), nodes, bindings: bindings.clone() }
    }

    /// Parameters of the smaller model. A vector whose uses shrink apart is counted for each of them, as surgery clones it.
    pub fn params(&self, remaining: &Remaining) -> usize {
        let count = |parameter: &Parameter| {
            let mut copies = HashSet::new();
            let sizes = parameter.uses.iter().filter_map(|spaces| {
                let pruned = |space: &Option<u32>| space.filter(|s| self.all(*s) != remaining.of(*s));
                let pruned: Vec<Option<u32>> = spaces.iter().map(pruned).collect();
                let sizes =
                    parameter.sizes.iter().zip(&pruned).map(|(n, s)| s.map_or(*n, |s| remaining.of(s)));
                let elements = Some(sizes.product::<usize>()).filter(|n| *n > 1 || parameter.counts_alone);
                copies.insert(pruned).then_some(elements.unwrap_or(0))
            });
            sizes.sum::<usize>()
        };
        self.parameters.iter().map(count).sum()
    }

    /// Multiply–accumulates of the smaller model.
    pub fn macs(&self, remaining: &Remaining) -> Dim {
        let sum = self.nodes.iter().fold(Dim::from(0), |sum, id| sum + self.node_macs(*id, remaining));
        sum.bind(&self.bindings)
    }

    fn node_macs(&self, id: NodeId, remaining: &Remaining) -> Dim {
        let node = &self.graph.nodes[id];
        let map = &self.coupling.spaces.maps[id];
        // Only sizes matter: any indices will do.
        let atoms: Vec<Option<Subset>> = (0..map.atoms.len())
            .map(|a| {
                let space = self.coupling.spaces.atom(id, a);
                let (of, kept) = (self.all(space), remaining.of(space));
                (kept != of).then(|| Subset { indices: (0..kept).collect(), of })
            })
            .collect();
        if atoms.iter().all(Option::is_none) {
            return self.graph.macs(id);
        }
        let facts = self.graph.input_facts(node);
        let outputs = self.graph.output_facts(node);
        let kept = Kept::new(map, node.op_inputs(&facts), &outputs, &atoms);
        let shrunk = node.op.shrink(&kept).unwrap_or_default();
        let small = |fact: &Fact, shape| Fact { shape, content: None, ..fact.clone() };
        let inputs: Vec<Option<Fact>> = facts
            .iter()
            .enumerate()
            .map(|(i, fact)| fact.map(|fact| small(fact, kept.input_shape(i))))
            .collect();
        let inputs: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
        let outputs: Vec<Fact> =
            outputs.iter().enumerate().map(|(i, fact)| small(fact, kept.output_shape(i))).collect();
        let op: &dyn Op = shrunk.op.as_deref().unwrap_or(node.op.as_ref());
        op.macs(&Inputs::new(&inputs, outputs.len()), &outputs)
    }

    fn all(&self, space: u32) -> usize {
        self.coupling.spaces.spaces[space as usize].cells
    }
}
