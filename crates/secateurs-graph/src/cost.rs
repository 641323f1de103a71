//! What a model costs: parameters, stored bytes, multiply–accumulates.

use crate::dim::Dim;
use crate::graph::{Graph, NodeId, Source, ValueId};

/// The cost of a model or of a part of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Cost {
    /// Trained floating-point numbers; shared ones once; running statistics are not counted.
    pub params: usize,
    /// Running statistics.
    pub statistics: usize,
    /// Bytes of all constants: parameters, statistics, index tables.
    pub bytes: usize,
    /// Multiply–accumulates of one run at the bound shapes; symbolic where the model is.
    pub macs: Dim,
}

impl Graph {
    /// The cost of the whole model.
    pub fn cost(&self) -> Cost {
        let parameters = self.parameters();
        let sum = |statistic: bool| {
            parameters.iter().filter(|p| p.statistic == statistic).map(|p| p.elements).sum::<usize>()
        };
        let constants = self.values.iter().filter_map(|(id, _)| self.stored(id));
        Cost {
            params: sum(false),
            statistics: sum(true),
            bytes: constants.map(|t| t.bytes().len()).sum(),
            macs: self.order.iter().fold(Dim::from(0), |sum, &id| sum + self.macs(id)),
        }
    }

    /// Multiply–accumulates of one node.
    pub fn macs(&self, id: NodeId) -> Dim {
        let node = &self.nodes[id];
        let facts = self.input_facts(node);
        node.op.macs(&node.op_inputs(&facts), &self.output_facts(node))
    }

    fn stored(&self, value: ValueId) -> Option<&secateurs_onnx::Tensor> {
        match &self.values[value].source {
            Source::Tensor(tensor) => Some(tensor),
            Source::Node(node, 0) => self.nodes[*node].op.constant(),
            _ => None,
        }
    }
}
