//! Layers whose weights can be fitted anew: those that multiply by a constant of their own, and where what they add can be changed.

use slotmap::SecondaryMap;

use super::weights::Constant;
use crate::graph::{Graph, NodeId, Use, ValueId};
use crate::op::InputRole;
use crate::ops::{Add, BatchNormalization, Concat};
use crate::rows::Rows;

/// A layer whose output is linear in a constant that nothing else reads.
#[derive(Clone, PartialEq, Debug)]
pub struct Refit {
    /// The layer.
    pub node: NodeId,
    /// Where its rows lie.
    pub rows: Rows,
    /// Whether the weights can be others. Integers that the model casts to floats cannot.
    pub weights: bool,
    /// What the bias is multiplied by, where the op has one.
    pub bias_factor: f64,
    /// Where a number a row can be added; `None` where the model adds none behind the layer.
    pub shift: Option<Shift>,
}

/// A constant of one number a row that moves what a layer makes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shift {
    /// The node that reads it: the layer, a sum or a batch norm behind it.
    pub node: NodeId,
    /// Which of its inputs.
    pub input: usize,
    /// By how much it changes for each unit that the layer's output is to move.
    pub factor: f64,
    /// Where its numbers for the layer's rows begin: others are of what is concatenated with them.
    pub first: usize,
}

impl Refit {
    /// The layer of a node; `None` if it is none. `uses` are those of the graph.
    pub fn of(graph: &Graph, uses: &SecondaryMap<ValueId, Vec<Use>>, id: NodeId) -> Option<Refit> {
        let node = &graph.nodes[id];
        let facts = graph.input_facts(node);
        let inputs = node.op_inputs(&facts);
        // Who only reads sizes does not mind.
        let reads =
            |at: &&Use| at.input.is_none_or(|input| graph.nodes[at.node].op.role(input) != InputRole::Sizes);
        let own =
            |value: ValueId| uses[value].iter().filter(reads).count() == 1 && !graph.outputs.contains(&value);
        let (rows, weights) = (0..node.inputs.len().min(2)).find_map(|weight| {
            let rows = node.op.rows(weight, &inputs).ok()?;
            let constant = Constant::behind(graph, node.inputs[weight]?).ok()?;
            let mut chain = constant.views.iter().filter_map(|view| graph.nodes[*view].outputs[0]);
            let alone = own(constant.value) && chain.all(own) && constant.element_type.is_float();
            alone.then_some((rows, constant.tensor.element_type().is_float()))
        })?;
        let affine = node.op.affine()?;
        let output = node.outputs.first().copied().flatten()?;
        let rank = graph.values[output].fact.rank()?;
        // One number for each of so many rows, along their axis of a value of this rank.
        let by_row = |node: NodeId, input: usize, axis: usize, rank: usize, rows: usize| {
            let value = graph.nodes[node].inputs.get(input).copied().flatten()?;
            let shape = graph.tensor(value)?.shape();
            let at = (axis + shape.len()).checked_sub(rank)?;
            let alone = own(value) && shape.get(at) == Some(&rows);
            (alone && shape.iter().product::<usize>() == rows).then_some(())
        };
        let behind = || {
            let (mut value, mut first, mut count) = (output, 0, rows.rows);
            loop {
                let [Use { node: reader, input: Some(input) }] = uses[value][..] else { return None };
                if graph.outputs.contains(&value) {
                    return None;
                }
                let op = &graph.nodes[reader].op;
                if op.downcast::<BatchNormalization>().is_some_and(BatchNormalization::is_inference) {
                    const MEAN: usize = 3;
                    let here = input == 0 && rows.output_axis == 1;
                    here.then(|| by_row(reader, MEAN, 0, 1, count)).flatten()?;
                    return Some(Shift { node: reader, input: MEAN, factor: -1.0, first });
                }
                if let Some(concat) = op.downcast::<Concat>() {
                    if concat.axis(rank) != Some(rows.output_axis) {
                        return None;
                    }
                    let node = &graph.nodes[reader];
                    let size = |i: usize| {
                        let shape = graph.values[node.inputs[i]?].fact.shape.as_ref()?;
                        Some(shape.get(rows.output_axis)?.known()? as usize)
                    };
                    let sizes: Vec<usize> = (0..node.inputs.len()).map(size).collect::<Option<_>>()?;
                    first += sizes[..input].iter().sum::<usize>();
                    count = sizes.iter().sum();
                    value = node.outputs.first().copied().flatten()?;
                    continue;
                }
                op.downcast::<Add>()?;
                let other = 1 - input;
                by_row(reader, other, rows.output_axis, rank, count)?;
                return Some(Shift { node: reader, input: other, factor: 1.0, first });
            }
        };
        let shift = affine
            .bias
            .filter(|_| affine.bias_factor != 0.0)
            .and_then(|input| {
                let count = rows.rows;
                by_row(id, input, 0, 1, count).or_else(|| by_row(id, input, rank - 1, rank, count))?;
                Some(Shift { node: id, input, factor: 1.0 / affine.bias_factor, first: 0 })
            })
            .or_else(behind);
        Some(Refit { node: id, rows, weights, bias_factor: affine.bias_factor, shift })
    }
}
