//! Inputs that a model can be tried on without data.

use secateurs_graph::attribute::Attribute;
use secateurs_graph::{Bindings, Graph, ValueId};
use secateurs_onnx::{ElementType, Tensor};

use crate::data::from_f32;
use crate::rng::Rng;

/// What inputs are filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// Normal floats; integers that every table they index has; ones for masks.
    Random,
    /// Zeros; ones for masks.
    Zeros,
}

/// The largest integer drawn, where nothing limits it.
const UNLIMITED: usize = 2;
/// More rows of a table need not be met.
const MOST_ROWS: usize = 1 << 16;

/// A tensor for every input, at these sizes.
pub(super) fn example_inputs(
    graph: &Graph,
    sizes: &Bindings,
    filling: Filling,
) -> Result<Vec<Tensor>, String> {
    let inputs = graph.inputs.iter().enumerate();
    inputs.map(|(number, &input)| example(graph, input, number as u64, sizes, filling)).collect()
}

fn example(
    graph: &Graph,
    input: ValueId,
    number: u64,
    sizes: &Bindings,
    filling: Filling,
) -> Result<Tensor, String> {
    let value = &graph.values[input];
    let shape = value.fact.bind(sizes).known_shape();
    let shape =
        shape.ok_or_else(|| format!("the input '{}' has no known shape ({})", value.name, value.fact))?;
    let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
    let element_type = value.fact.element_type.unwrap_or(ElementType::Float32);
    let mask = value.name.to_ascii_lowercase().contains("mask");
    let mut rng = Rng::new(0, "check inputs", number, 0);
    let rows = index_limit(graph, input);
    let mut draw = || match (filling, element_type) {
        _ if mask => 1.0,
        (Filling::Zeros, _) => 0.0,
        (_, t) if t.is_float() => rng.normal() as f32,
        (_, ElementType::Bool) => rng.below(2) as f32,
        _ => rng.below(rows) as f32,
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    from_f32(values, shape, element_type).map_err(|e| format!("the input '{}': {e}", value.name))
}

/// How many rows the smallest table has that an input indexes, seen through ops that only change its shape or type.
fn index_limit(graph: &Graph, input: ValueId) -> usize {
    let (mut limit, mut behind) = (None::<usize>, vec![input]);
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let reads = |i: usize| node.inputs.get(i).copied().flatten().is_some_and(|v| behind.contains(&v));
        let indexes = node.op.name() == "Gather" && reads(1);
        if node.op.is_view() && reads(0) {
            behind.extend(node.outputs.iter().flatten());
        }
        if !indexes {
            continue;
        }
        let attributes = node.op.attributes();
        let axis = attributes.iter().find_map(|(name, a)| match a {
            Attribute::Int(axis) if *name == "axis" => Some(*axis),
            _ => None,
        });
        let shape = node.inputs[0].and_then(|table| graph.values[table].fact.shape.as_ref());
        let rows = shape.and_then(|shape| {
            let axis = axis.unwrap_or(0);
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            shape.get(usize::try_from(axis).ok()?)?.known()
        });
        if let Some(rows) = rows.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) {
            limit = Some(limit.map_or(rows, |limit| limit.min(rows)));
        }
    }
    limit.unwrap_or(UNLIMITED).min(MOST_ROWS)
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::ModelBuilder;

    use super::*;

    #[test]
    fn indices_are_below_the_smallest_table_that_they_index() {
        let table = |rows: usize| Tensor::from_slice(vec![rows, 2], &vec![0f32; rows * 2]).unwrap();
        let model = ModelBuilder::new(17)
            .input("ids", ElementType::Int64, &["batch", "5"])
            .input("attention_mask", ElementType::Int64, &["batch", "5"])
            .input("scale", ElementType::Float32, &["batch", "1"])
            .constant("large", &table(100))
            .constant("small", &table(7))
            .node("Gather", &["large", "ids"], &["a"])
            .node("Identity", &["ids"], &["same"])
            .node("Gather", &["small", "same"], &["b"])
            .node("Add", &["a", "b"], &["y"]);
        let graph = Graph::from_model(model.output("y").build().unwrap()).unwrap();
        let sizes = Bindings::from([("batch".into(), 40)]);
        let inputs = example_inputs(&graph, &sizes, Filling::Random).unwrap();
        let ids = inputs[0].to_i64_vec().unwrap();
        assert_eq!((ids.iter().min(), ids.iter().max()), (Some(&0), Some(&6)));
        assert!(inputs[1].to_i64_vec().unwrap().iter().all(|v| *v == 1));
        assert_eq!(inputs[2].shape(), [40, 1]);
        assert!(example_inputs(&graph, &Bindings::new(), Filling::Random).unwrap_err().contains("'ids'"));
        let zeros = example_inputs(&graph, &sizes, Filling::Zeros).unwrap();
        assert!(zeros[2].to_f64_vec().unwrap().iter().all(|v| *v == 0.0));
    }
}
