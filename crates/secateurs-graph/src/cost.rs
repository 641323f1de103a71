//! What a model costs: parameters, stored bytes, multiply–accumulates.

use std::collections::{BTreeMap, HashSet};

use crate::attribute::Attribute;
use crate::dim::Dim;
use crate::fact::Fact;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::infer::Facts;
use crate::op::Inputs;

/// The cost of a model or of a part of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Cost {
    /// Trained floating-point numbers, also those that only subgraphs read; shared ones once; running statistics are not counted.
    pub params: usize,
    /// Running statistics.
    pub statistics: usize,
    /// Bytes of all constants: parameters, statistics, index tables.
    pub bytes: usize,
    /// Multiply–accumulates of one run at the bound shapes; symbolic where the model is.
    pub macs: Dim,
}

/// Constants that the subgraphs of a node hold or alone read. They count, and are neither pruned nor trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enclosed {
    /// The node.
    pub node: NodeId,
    /// Floating-point numbers that would be parameters elsewhere.
    pub params: usize,
    /// Running statistics.
    pub statistics: usize,
    /// Bytes of the constants that the subgraphs hold.
    pub bytes: usize,
}

impl Graph {
    /// The cost of the whole model.
    pub fn cost(&self) -> Cost {
        let parameters = self.parameters();
        let enclosed = self.enclosed();
        let sum = |statistic: bool| {
            parameters.iter().filter(|p| p.statistic == statistic).map(|p| p.elements).sum::<usize>()
        };
        let constants = self.values.iter().filter_map(|(id, _)| self.stored(id));
        Cost {
            params: sum(false) + enclosed.iter().map(|e| e.params).sum::<usize>(),
            statistics: sum(true) + enclosed.iter().map(|e| e.statistics).sum::<usize>(),
            bytes: constants.map(|t| t.bytes().len()).chain(enclosed.iter().map(|e| e.bytes)).sum(),
            macs: self.order.iter().fold(Dim::from(0), |sum, &id| sum + self.macs(id)),
        }
    }

    /// Multiply–accumulates of one node.
    pub fn macs(&self, id: NodeId) -> Dim {
        self.macs_of(id, |value| Some(&self.values[value].fact))
    }

    /// Multiply–accumulates of all nodes, given these facts.
    pub(crate) fn macs_at(&self, facts: &Facts) -> Dim {
        self.order.iter().fold(Dim::from(0), |sum, &id| sum + self.macs_of(id, |value| facts.get(value)))
    }

    fn macs_of<'f>(&'f self, id: NodeId, fact: impl Fn(ValueId) -> Option<&'f Fact>) -> Dim {
        let node = &self.nodes[id];
        let inputs: Vec<Option<&Fact>> = node.inputs.iter().map(|v| v.and_then(&fact)).collect();
        let captures = node.captures.iter().filter_map(|&v| Some((self.values[v].name.as_str(), fact(v)?)));
        let captures: Vec<(&str, &Fact)> = captures.collect();
        let output = |v: &Option<ValueId>| v.and_then(&fact).cloned().unwrap_or_else(Fact::unknown);
        let outputs: Vec<Fact> = node.outputs.iter().map(output).collect();
        node.op.macs(&Inputs { captures: &captures, ..node.op_inputs(&inputs) }, &outputs)
    }

    /// Trained numbers of every node that has any, and of its subgraphs.
    pub fn params_by_node(&self) -> BTreeMap<NodeId, usize> {
        let own = self.parameters().into_iter().filter(|p| !p.statistic).map(|p| (p.node, p.elements));
        let enclosed = self.enclosed().into_iter().filter(|e| e.params > 0).map(|e| (e.node, e.params));
        let mut params = BTreeMap::new();
        for (node, count) in own.chain(enclosed) {
            *params.entry(node).or_default() += count;
        }
        params
    }

    /// What the subgraphs of nodes hold, or alone read, in the order of the nodes.
    pub fn enclosed(&self) -> Vec<Enclosed> {
        let mut seen: HashSet<ValueId> = self.parameters().into_iter().map(|p| p.value).collect();
        let of_node = |&node: &NodeId| {
            let mut enclosed = Enclosed { node, params: 0, statistics: 0, bytes: 0 };
            for (_, attribute) in self.nodes[node].op.attributes() {
                let Attribute::Graph(body) = attribute else { continue };
                let Ok(cost) = body.graph().map(|graph| graph.cost()) else { continue };
                enclosed.params += cost.params;
                enclosed.statistics += cost.statistics;
                enclosed.bytes += cost.bytes;
            }
            for &value in &self.nodes[node].captures {
                let numbers = self.tensor(value).filter(|t| t.element_type().is_float() && t.len() > 1);
                enclosed.params += numbers.filter(|_| seen.insert(value)).map_or(0, |t| t.len());
            }
            (enclosed.params + enclosed.statistics + enclosed.bytes > 0).then_some(enclosed)
        };
        self.order.iter().filter_map(of_node).collect()
    }

    fn stored(&self, value: ValueId) -> Option<&secateurs_onnx::Tensor> {
        match &self.values[value].source {
            Source::Tensor(tensor) => Some(tensor),
            Source::Node(node, 0) => self.nodes[*node].op.constant(),
            _ => None,
        }
    }
}
