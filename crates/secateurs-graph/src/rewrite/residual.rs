//! Where a model adds a branch of layers to what went around it, and how many layers lie before a place.

use std::collections::HashMap;

use slotmap::SecondaryMap;

use super::constant;
use crate::graph::{Graph, NodeId, Source, Use, ValueId};
use crate::ops::{Add, Dropout};

/// A sum of a branch of layers and of what it was computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Residual {
    /// The sum.
    pub sum: ValueId,
    /// The edge on which the branch arrives.
    pub branch: Use,
    /// Whether a `Dropout` lies at the end of the branch already.
    pub drops: bool,
}

/// How many layers, that is nodes that multiply by a matrix or kernel, lie on the longest way to each value, its own node's included.
pub fn depths(graph: &Graph) -> SecondaryMap<ValueId, usize> {
    let mut depths = SecondaryMap::new();
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let before = node.inputs.iter().flatten().filter_map(|value| depths.get(*value)).max().copied();
        let depth = before.unwrap_or(0) + usize::from(is_layer(graph, id));
        depths.extend(node.outputs.iter().flatten().map(|value| (*value, depth)));
    }
    depths
}

/// For every parameter the depth of the last node that computes with it; see [`depths`].
pub fn parameter_depths(graph: &Graph) -> HashMap<ValueId, usize> {
    let (uses, depths) = (graph.uses(), depths(graph));
    let of = |parameter: ValueId| {
        let (mut deepest, mut left) = (0, vec![parameter]);
        while let Some(value) = left.pop() {
            for at in &uses[value] {
                let node = &graph.nodes[at.node];
                let outputs = || node.outputs.iter().flatten();
                let own = outputs().filter_map(|value| depths.get(*value)).max();
                deepest = deepest.max(own.copied().unwrap_or(0));
                if node.op.is_view() {
                    left.extend(outputs());
                }
            }
        }
        deepest
    };
    graph.parameters().into_iter().map(|p| (p.value, of(p.value))).collect()
}

/// The sums of a branch and of what went around it, in the order in which they are computed. Of two operands the branch is the one with
/// more layers on its longest way, and it ends in a layer, or in what has no other operand that varies.
pub fn residuals(graph: &Graph) -> Vec<Residual> {
    let depths = depths(graph);
    let found = graph.order.iter().filter_map(|&id| {
        let node = &graph.nodes[id];
        node.op.downcast::<Add>()?;
        let (a, b, sum) = (node.inputs[0]?, node.inputs[1]?, node.outputs[0]?);
        if !varies(graph, a) || !varies(graph, b) {
            return None;
        }
        let shape = |value: ValueId| graph.values[value].fact.shape.as_deref();
        if shape(a).is_none() || shape(a) != shape(b) {
            return None;
        }
        let depth = |value: ValueId| depths.get(value).copied().unwrap_or(0);
        let input = match depth(a).cmp(&depth(b)) {
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => 0,
        };
        let drops = ends_in_layer(graph, node.inputs[input]?)?;
        Some(Residual { sum, branch: Use { node: id, input: Some(input) }, drops })
    });
    found.collect()
}

/// Whether a node multiplies what varies by a constant.
fn is_layer(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let operand = |input: usize| node.inputs.get(input).copied().flatten();
    let (Some(a), Some(b)) = (operand(0), operand(1)) else { return false };
    node.op.affine().is_some() && varies(graph, a) != varies(graph, b)
}

/// Whether a value is not a constant, or a view of one.
fn varies(graph: &Graph, mut value: ValueId) -> bool {
    while let Source::Node(node, _) = graph.values[value].source
        && graph.nodes[node].op.is_view()
        && let Some(Some(from)) = graph.nodes[node].inputs.first()
    {
        value = *from;
    }
    graph.tensor(value).is_none() && constant(graph, value).is_none()
}

/// Whether a value comes from a layer through nodes that have no other operand that varies, and then whether one of these drops.
fn ends_in_layer(graph: &Graph, mut value: ValueId) -> Option<bool> {
    let mut drops = false;
    while let Source::Node(id, _) = graph.values[value].source {
        if is_layer(graph, id) {
            return Some(drops);
        }
        let node = &graph.nodes[id];
        drops |= node.op.downcast::<Dropout>().is_some();
        let mut operands = node.inputs.iter().flatten().copied().filter(|operand| varies(graph, *operand));
        let operand = operands.next()?;
        // The size that a reshape reads is computed from, and is none of what varies.
        if operands.next().is_some() && !node.op.is_view() {
            return None;
        }
        value = operand;
    }
    None
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

    use super::*;

    fn matrix(rows: usize, columns: usize) -> Tensor {
        Tensor::from_slice(vec![rows, columns], &vec![0.5f32; rows * columns]).unwrap()
    }

    /// x + W·relu(V·x), and that plus its own product with a constant behind a transpose.
    fn net() -> Graph {
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "4"])
            .constant("v", &matrix(4, 8))
            .constant("w", &matrix(8, 4))
            .constant("bias", &Tensor::from_slice(vec![4], &[0.1f32; 4]).unwrap())
            .constant("u", &matrix(4, 4))
            .node("MatMul", &["x", "v"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("MatMul", &["r", "w"], &["m"])
            .node("Add", &["bias", "m"], &["branch"])
            .node("Add", &["x", "branch"], &["first"])
            .node("Transpose", &["u"], &["turned"])
            .node("MatMul", &["first", "turned"], &["n"])
            .node("Dropout", &["n"], &["dropped"])
            .node("Add", &["dropped", "first"], &["second"])
            .node("Sigmoid", &["second"], &["gate"])
            .node("Add", &["gate", "second"], &["y"]);
        Graph::from_model(model.output("y").build().unwrap()).unwrap()
    }

    fn named(graph: &Graph, name: &str) -> ValueId {
        graph.values.iter().find(|(_, value)| value.name == name).unwrap().0
    }

    #[test]
    fn branches_end_in_layers_and_are_added_to_what_went_around_them() {
        let graph = net();
        let found: Vec<(String, String, bool)> = residuals(&graph)
            .iter()
            .map(|residual| {
                let edge = graph.nodes[residual.branch.node].inputs[residual.branch.input.unwrap()].unwrap();
                (graph.values[residual.sum].name.clone(), graph.values[edge].name.clone(), residual.drops)
            })
            .collect();
        let expected = [("first", "branch", false), ("second", "dropped", true)];
        assert_eq!(found, expected.map(|(sum, branch, drops)| (sum.to_owned(), branch.to_owned(), drops)));
    }

    #[test]
    fn parameters_lie_as_deep_as_the_last_layer_that_reads_them() {
        let graph = net();
        let depths = parameter_depths(&graph);
        let depth = |name: &str| depths[&named(&graph, name)];
        assert_eq!([depth("v"), depth("w"), depth("bias"), depth("u")], [1, 2, 2, 3]);
    }
}
