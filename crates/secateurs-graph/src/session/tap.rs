//! Taps: tensors caught on their way through the graph. Masks: tensors that are zeroed on their way.

use crate::graph::{NodeId, ValueId};

/// A place in the graph whose tensor a run hands out, still part of the autograd graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tap {
    /// A value: gradients with respect to it come from all its readers.
    Value(ValueId),
    /// One input of one node: gradients with respect to it come from that reader alone, as a mask there would see them.
    Edge {
        /// The reading node.
        node: NodeId,
        /// Which of its inputs.
        input: usize,
    },
}

/// Indices that one input of one node sees as zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mask {
    /// The reading node.
    pub node: NodeId,
    /// Which of its inputs.
    pub input: usize,
    /// The axis.
    pub axis: usize,
    /// The indices, at least one.
    pub indices: Vec<i64>,
}
