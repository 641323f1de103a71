//! What a choice of units costs, without building the smaller model.

use super::groups::{Coupling, Remaining};
use super::spaces::Port;
use crate::dim::{Bindings, Dim};
use crate::fact::Fact;
use crate::graph::{Graph, NodeId, ValueId};
use crate::op::Inputs;

/// The cost of any selection of a graph's units.
pub struct Costs<'g> {
    graph: &'g Graph,
    coupling: &'g Coupling,
    parameters: Vec<Sized>,
    /// Nodes that compute, with the spaces of their ports.
    nodes: Vec<(NodeId, Vec<Option<Sized>>, Vec<Option<Sized>>)>,
    /// What is bound for MACs.
    facts: slotmap::SecondaryMap<ValueId, Fact>,
}

/// A value with the space of each axis.
struct Sized {
    value: ValueId,
    spaces: Vec<Option<u32>>,
}

impl<'g> Costs<'g> {
    /// Prepares a graph whose MACs are counted at these sizes; symbols that are not bound stay.
    pub fn new(graph: &'g Graph, coupling: &'g Coupling, bindings: &Bindings) -> Costs<'g> {
        let uses = graph.uses();
        let spaces = &coupling.spaces;
        let parameters = graph.parameters().into_iter().filter(|p| !p.statistic).map(|p| {
            let rank = graph.values[p.value].fact.rank().unwrap_or(0);
            // Uses of one vector may shrink apart; the first one counts, as the others are its copies.
            let at = uses[p.value].iter().find_map(|at| Some((at.node, at.input?)));
            let space = |axis| at.and_then(|(node, i)| spaces.axis(graph, node, Port::Input(i), axis));
            Sized { value: p.value, spaces: (0..rank).map(space).collect() }
        });
        let port = |node: NodeId, port: Port, value: Option<ValueId>| {
            let value = value?;
            let rank = graph.values[value].fact.rank()?;
            Some(Sized { value, spaces: (0..rank).map(|k| spaces.axis(graph, node, port, k)).collect() })
        };
        let nodes = graph.order.iter().filter(|&&id| !graph.macs(id).is(0)).map(|&id| {
            let node = &graph.nodes[id];
            let inputs = (0..node.inputs.len()).map(|i| port(id, Port::Input(i), node.inputs[i])).collect();
            let outputs = (0..node.outputs.len()).map(|i| port(id, Port::Output(i), node.outputs[i])).collect();
            (id, inputs, outputs)
        });
        let nodes: Vec<_> = nodes.collect();
        let mut facts = slotmap::SecondaryMap::new();
        for (id, value) in &graph.values {
            facts.insert(id, value.fact.bind(bindings));
        }
        Costs { graph, coupling, parameters: parameters.collect(), nodes, facts }
    }

    /// Parameters of the smaller model.
    pub fn params(&self, remaining: &Remaining) -> usize {
        let elements = |p| self.shape(p, remaining).iter().filter_map(Dim::known).product::<i64>() as usize;
        self.parameters.iter().map(elements).sum()
    }

    /// Multiply–accumulates of the smaller model.
    pub fn macs(&self, remaining: &Remaining) -> Dim {
        let fact = |port: &Option<Sized>| {
            port.as_ref().map(|s| Fact { shape: Some(self.shape(s, remaining)), ..self.facts[s.value].clone() })
        };
        self.nodes.iter().fold(Dim::from(0), |sum, (id, inputs, outputs)| {
            let inputs: Vec<Option<Fact>> = inputs.iter().map(fact).collect();
            let inputs: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
            let outputs: Vec<Fact> = outputs.iter().map(|o| fact(o).unwrap_or_else(Fact::unknown)).collect();
            let op = &self.graph.nodes[*id].op;
            sum + op.macs(&Inputs { facts: &inputs, outputs: outputs.len() }, &outputs)
        })
    }

    fn shape(&self, sized: &Sized, remaining: &Remaining) -> Vec<Dim> {
        let shape = self.facts[sized.value].shape.iter().flatten();
        let new = shape.zip(&sized.spaces).map(|(dim, space)| {
            let Some(space) = space else { return dim.clone() };
            let (all, kept) = (self.coupling.spaces.spaces[*space as usize].cells, remaining.of(*space));
            match kept == all {
                true => dim.clone(),
                // The known factor of a symbolic size shrinks.
                false => (dim.clone() * kept.into()).floor_div(&all.into()),
            }
        });
        new.collect()
    }
}
