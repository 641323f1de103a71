//! Why an axis cannot be pruned, or not exactly.

use crate::dim::Dim;
use crate::graph::{Graph, NodeId, ValueId};

/// Why indices cannot be removed, or why removing them changes the others.
#[derive(Clone, PartialEq, Debug)]
pub enum Reason {
    /// An axis of a model input, whose shape is kept.
    Input(ValueId),
    /// An axis of a model output, whose shape is kept.
    Output(ValueId),
    /// What an op does with the axis.
    Op(NodeId, &'static str),
    /// A subgraph of this node reads the value.
    Captured(NodeId),
    /// The size is not a number before the model runs.
    Size(Dim),
    /// The size is a number so large that its indices are not told apart.
    Large(Dim),
    /// A node picks this index by its position.
    Single(NodeId),
    /// No value that depends on the model's inputs has the axis: only constants are computed from it.
    Constants,
    /// The weights are integers, and nothing of floats has the axis.
    Integers,
    /// Removing any one index would remove all of this axis.
    WholeAxis(ValueId, usize),
    /// The constraints of this axis conflict: what would have to go with an index is itself part of other units.
    Entangled(ValueId, usize),
}

impl Reason {
    /// The reason in words, with the names of node and value.
    pub fn describe(&self, graph: &Graph) -> String {
        let name = |v: &ValueId| &graph.values[*v].name;
        let node = |n: &NodeId| format!("{} ({})", graph.node_label(*n), graph.nodes[*n].op.name());
        match self {
            Reason::Input(v) => format!("tied to an axis of the model's input '{}'", name(v)),
            Reason::Output(v) => format!("tied to an axis of the model's output '{}'", name(v)),
            Reason::Op(n, why) => format!("node {}: {why}", node(n)),
            Reason::Captured(n) => format!("node {}: a subgraph reads the value", node(n)),
            Reason::Size(dim) => format!("the size {dim} is not fixed before the model runs"),
            Reason::Large(dim) => format!("its {dim} indices are too many to be told apart"),
            Reason::Single(n) => format!("node {}: an index is used by its position", node(n)),
            Reason::Constants => "only other constants are computed from it".into(),
            Reason::Integers => {
                "the weights are integers: prune the model of floats, and quantize what is left".into()
            }
            Reason::WholeAxis(v, axis) => {
                format!("removing one index would remove all of axis {axis} of '{}'", name(v))
            }
            Reason::Entangled(v, axis) => {
                format!("an index of axis {axis} of '{}' cannot go without parts of other units", name(v))
            }
        }
    }

    /// The node at fault, if it is one.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Reason::Op(n, _) | Reason::Captured(n) | Reason::Single(n) => Some(*n),
            _ => None,
        }
    }
}
