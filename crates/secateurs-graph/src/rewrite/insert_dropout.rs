//! Dropout where transformers are trained with it, for models that were exported without.

use super::residual::residuals;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, Use, ValueId};
use crate::ops::{Dropout, Softmax};
use crate::patch::Patch;

/// Nodes between a softmax and the product that reads it, as exporters write them for rows that are masked as a whole.
const BETWEEN: usize = 4;

/// Inserts dropout with a ratio on the branches of residual sums and on attention's probabilities, unless dropout is there (Vaswani et
/// al. 2017, section 5.4; Devlin et al. 2018). It does nothing but in training. Gives the number of places.
pub fn insert_dropout(graph: &mut Graph, ratio: f32) -> Result<usize, GraphError> {
    let branches =
        residuals(graph).into_iter().filter(|residual| !residual.drops).map(|residual| residual.branch);
    let places: Vec<Use> = branches.chain(probabilities(graph)).collect();
    let mut patch = Patch::new();
    for &place in &places {
        let name = format!("{}_dropout", graph.node_label(place.node));
        let (op, extra) = Dropout::with_ratio(graph.opset(""), ratio, &name);
        patch.insert_before(place, name, Box::new(op), extra);
    }
    patch.apply(graph)?;
    Ok(places.len())
}

/// The edges on which a softmax arrives at a product of two values that vary.
fn probabilities(graph: &Graph) -> Vec<Use> {
    let edge = |&id: &NodeId| {
        let node = &graph.nodes[id];
        let product = node.op.affine().is_some_and(|affine| affine.bias.is_none()) && node.inputs.len() == 2;
        let read = node.inputs.first().copied().flatten().filter(|_| product)?;
        comes_from_softmax(graph, read, BETWEEN).then_some(Use { node: id, input: Some(0) })
    };
    graph.order.iter().filter_map(edge).collect()
}

fn comes_from_softmax(graph: &Graph, value: ValueId, left: usize) -> bool {
    let Source::Node(id, _) = graph.values[value].source else { return false };
    let node = &graph.nodes[id];
    if node.op.downcast::<Softmax>().is_some() {
        return true;
    }
    // A choice between the softmax and a constant is one of these; what drops already ends the search.
    left > 0
        && (node.op.is_view() || matches!(node.op.name(), "Where" | "IsNaN"))
        && node.inputs.iter().flatten().any(|input| comes_from_softmax(graph, *input, left - 1))
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

    use super::*;

    /// Attention of a sequence to itself, added to it.
    fn net(opset: i64) -> Graph {
        let w = Tensor::from_slice(vec![4, 4], &[0.25f32; 16]).unwrap();
        let model = ModelBuilder::new(opset)
            .input("x", ElementType::Float32, &["3", "4"])
            .constant("w", &w)
            .node("Transpose", &["x"], &["keys"])
            .node("MatMul", &["x", "keys"], &["scores"])
            .node("Softmax", &["scores"], &["probabilities"])
            .node("MatMul", &["probabilities", "x"], &["mixed"])
            .node("MatMul", &["mixed", "w"], &["made"])
            .node("Add", &["made", "x"], &["y"]);
        Graph::from_model(model.output("y").build().unwrap()).unwrap()
    }

    #[test]
    fn branches_and_probabilities_drop_once() {
        for opset in [10, 17] {
            let mut graph = net(opset);
            assert_eq!(insert_dropout(&mut graph, 0.1).unwrap(), 2);
            let reads = |output: &str| {
                let node = graph.nodes.values().find(|node| {
                    node.outputs.iter().flatten().any(|value| graph.values[*value].name == output)
                });
                let Source::Node(before, _) = graph.values[node.unwrap().inputs[0].unwrap()].source else {
                    panic!()
                };
                graph.nodes[before].op.name().to_owned()
            };
            assert_eq!([reads("mixed"), reads("y")], ["Dropout", "Dropout"], "opset {opset}");
            assert_eq!(insert_dropout(&mut graph, 0.1).unwrap(), 0, "opset {opset}");
        }
    }
}
