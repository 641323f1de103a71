//! Where a node has rows of its own: its constant weight, and the numbers that it adds.

use secateurs_onnx::ElementType;

use super::weights::Constant;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Gemm;
use crate::rows::{RowOps, Rows, Way};

/// A node with rows of its own in a constant weight.
pub(crate) struct Place<'g> {
    pub node: NodeId,
    pub rows: Rows,
    pub weight: Constant<'g>,
    /// The weight's axis of rows in the constant, and that of channels.
    pub axes: [usize; 2],
    /// What is added and has a number for each row.
    pub bias: Option<RowBias<'g>>,
    /// The node's output.
    pub output: ValueId,
}

/// A number for each row, along the last axis.
pub(crate) enum RowBias<'g> {
    Constant(Constant<'g>),
    /// Nodes compute it, as exporters write zeros, and what they give is known: a value of one axis.
    Known(Vec<f64>, ElementType),
}

impl<'g> Place<'g> {
    /// Whether the first of two matrices that take the node's place must add something: `Gemm` must before opset 11.
    pub fn adds_nothing(&self, graph: &Graph) -> bool {
        graph.nodes[self.node].op.downcast::<Gemm>().is_some() && !Gemm::adds_at_will(graph.opset(""))
    }

    pub fn of(graph: &'g Graph, id: NodeId) -> Result<Place<'g>, GraphError> {
        let node = &graph.nodes[id];
        let facts = graph.input_facts(node);
        let inputs = node.op_inputs(&facts);
        let refused = |reason: &str| refused(graph, id, reason);
        let (mut found, mut reason) = (None, None);
        for weight in 0..node.inputs.len().min(2) {
            let Some(value) = node.inputs[weight] else { continue };
            match (node.op.rows(weight, &inputs), Constant::behind(graph, value)) {
                (Ok(rows), Ok(constant)) => {
                    found = Some((rows, constant));
                    break;
                }
                (Ok(_), Err(op)) => reason = Some(format!("its weight is computed, by {op}")),
                (Err(why), _) => reason = reason.or(Some(why.to_owned())),
            }
        }
        let Some((rows, weight)) = found else {
            return Err(refused(reason.as_deref().unwrap_or("it has no weight")));
        };
        if !weight.element_type.is_float() {
            return Err(refused("its weight holds no floating-point numbers"));
        }
        let axes = [rows.weight_axis, rows.channel_axis].map(|axis| weight.axis(graph, axis));
        let [Some(row_axis), Some(channel_axis)] = axes else {
            return Err(refused("its weight is viewed in a way that mixes rows"));
        };
        let bias = match rows.bias.and_then(|i| node.inputs.get(i).copied().flatten()) {
            Some(value) => match Constant::behind(graph, value) {
                Ok(bias) => {
                    let last = graph.values[value].fact.rank().and_then(|rank| rank.checked_sub(1));
                    let last = last.and_then(|last| bias.axis(graph, last));
                    match bias.tensor.shape().last() {
                        Some(n) if *n != rows.rows => None,
                        Some(_) if last.map(|last| last + 1) == Some(bias.tensor.shape().len()) => {
                            Some(RowBias::Constant(bias))
                        }
                        Some(_) => return Err(refused("its bias is viewed in a way that mixes rows")),
                        None => None,
                    }
                }
                Err(op) => {
                    let fact = &graph.values[value].fact;
                    match (fact.known_shape().as_deref(), fact.floats(), fact.element_type) {
                        (Some([n]), Some(known), Some(element_type)) if *n as usize == rows.rows => {
                            Some(RowBias::Known(known.to_vec(), element_type))
                        }
                        (Some([] | [1]), ..) => None,
                        _ => return Err(refused(&format!("its bias is computed, by {op}"))),
                    }
                }
            },
            None => None,
        };
        let Some(Some(output)) = node.outputs.first().copied() else {
            return Err(refused("nothing reads its output"));
        };
        Ok(Place { node: id, rows, weight, axes: [row_axis, channel_axis], bias, output })
    }

    /// The ops that compute rows of so many groups.
    pub(super) fn ops(&self, graph: &Graph, way: Way, groups: usize) -> Result<RowOps, &'static str> {
        let node = &graph.nodes[self.node];
        let facts = graph.input_facts(node);
        node.op.rows_by(way, groups, &node.op_inputs(&facts))
    }
}

/// Rows of a node that cannot be computed otherwise, and why.
pub(super) fn refused(graph: &Graph, node: NodeId, reason: impl Into<String>) -> GraphError {
    GraphError::Rows {
        node: graph.node_label(node),
        op: graph.nodes[node].op.name().into(),
        reason: reason.into(),
    }
}
