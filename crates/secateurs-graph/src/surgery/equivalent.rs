//! The weights that compute in a node's own form what an implant computes: a kernel that is zero but at its centre, the product of
//! two matrices.

use secateurs_onnx::Tensor;

use super::constants::floats;
use super::implant::{Form, Implant};
use super::numbers::Numbers;
use super::place::{Place, RowBias};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops;
use crate::patch::{Feed, Patch};

/// An implant in a graph that may have more channels than it knows.
pub struct Equivalent {
    /// The implant, its rows in the graph's numbers.
    pub implant: Implant,
    /// For each channel that its weights have, the graph's channel of a group. The others get zeros.
    pub channels: Vec<usize>,
}

/// The change that gives rows the weights that compute what the implants would. What nothing reads any more stays.
pub fn equivalent(graph: &Graph, implants: &[Equivalent]) -> Result<Patch, GraphError> {
    let mut patch = Patch::new();
    for Equivalent { implant, channels } in implants {
        let place = Place::of(graph, implant.node)?;
        let numbers = Numbers::of(graph, &place, implant, channels.len())?;
        let count = channels.len();
        let product: Vec<f64> = match implant.form {
            Form::Pointwise => numbers.weights[0].clone(),
            Form::LowRank { rank } => {
                let (first, second) = (&numbers.weights[0], &numbers.weights[1]);
                let at = |i: usize| {
                    let (row, channel) = (i / count, i % count);
                    (0..rank).map(|k| second[row * rank + k] * first[k * count + channel]).sum()
                };
                (0..implant.rows.len() * count).map(at).collect()
            }
        };
        let tensor = place.weight.tensor;
        let shape = tensor.shape();
        let strides: Vec<usize> = (0..shape.len()).map(|k| shape[k + 1..].iter().product()).collect();
        let odd =
            || GraphError::Inconsistent("the axes of a weight are not those that its node reads".into());
        let mut centre = 0;
        for &(axis, index) in &place.rows.centre {
            centre += strides[place.weight.axis(graph, axis).ok_or_else(odd)?] * index;
        }
        let [row_axis, channel_axis] = place.axes;
        let mut values = to_f64(tensor)?;
        for (i, value) in values.iter_mut().enumerate() {
            let row = i / strides[row_axis] % shape[row_axis];
            if implant.rows.binary_search(&row).is_ok() {
                *value = 0.0;
            }
        }
        for (i, value) in product.iter().enumerate() {
            let (row, channel) = (implant.rows[i / count], channels[i % count]);
            values[row * strides[row_axis] + channel * strides[channel_axis] + centre] =
                value / place.rows.factor;
        }
        // In the type of the implants: rounded to fewer bits, rows would not be what these compute.
        let replaced = floats(place.weight.element_type, shape.to_vec(), &values)?;
        let node = &graph.nodes[implant.node];
        let mut inputs: Vec<Feed> = node.inputs.iter().map(|value| Feed::Value(*value)).collect();
        inputs[place.rows.weight] = place.weight.replaced(graph, &mut patch, replaced);
        if let Some(own) = &numbers.bias {
            bias(graph, &mut patch, &place, implant, own, &mut inputs)?;
        }
        patch.set_inputs(implant.node, inputs);
    }
    Ok(patch)
}

/// Gives rows the bias of an implant.
fn bias(
    graph: &Graph,
    patch: &mut Patch,
    place: &Place,
    implant: &Implant,
    own: &[f64],
    inputs: &mut Vec<Feed>,
) -> Result<(), GraphError> {
    let rows = place.rows.rows;
    let element_type = place.weight.element_type;
    let name = format!("{}_bias", graph.values[place.weight.value].name);
    let with = |old: &[f64], factor: f64| -> Vec<f64> {
        let value = |(i, old): (usize, &f64)| match implant.rows.binary_search(&(i % rows)) {
            Ok(at) => own[at] / factor,
            Err(_) => *old,
        };
        old.iter().enumerate().map(value).collect()
    };
    let node = &graph.nodes[implant.node];
    let factor = node.op.affine().map_or(1.0, |affine| affine.bias_factor);
    // A bias that counts for nothing cannot be made to count.
    let Some(input) = place.rows.bias.filter(|_| factor != 0.0) else {
        let rank = graph.values[place.output].fact.rank().unwrap_or(2);
        let mut shape = vec![rows];
        shape.resize(rank - place.rows.output_axis, 1);
        let tensor = floats(element_type, shape, &with(&vec![0.0; rows], 1.0))?;
        patch.insert_after(place.output, name.clone(), Box::new(ops::Add), vec![(name, tensor)]);
        return Ok(());
    };
    if let Some(RowBias::Known(known, element_type)) = &place.bias {
        inputs[input] = Feed::Constant(name, floats(*element_type, vec![rows], &with(known, factor))?);
        return Ok(());
    }
    let (element_type, mut shape, old) = match node.inputs.get(input).copied().flatten() {
        None => (element_type, vec![rows], vec![0.0; rows]),
        Some(value) => {
            // What has a number for all rows gets one for each.
            let read = super::weights::Constant::behind(graph, value)
                .map_err(|op| GraphError::Inconsistent(format!("a bias is computed, by {op}")))?;
            let old = to_f64(read.tensor)?;
            let mut shape = read.tensor.shape().to_vec();
            let times = if shape.last() == Some(&rows) { 1 } else { rows };
            if times > 1 {
                shape.pop();
                shape.push(rows);
            }
            let repeated = old.iter().flat_map(|value| std::iter::repeat_n(*value, times)).collect();
            (read.element_type, shape, repeated)
        }
    };
    if shape.is_empty() {
        shape.push(rows);
    }
    inputs.resize_with(inputs.len().max(input + 1), || Feed::Value(None));
    inputs[input] = Feed::Constant(name, floats(element_type, shape, &with(&old, factor))?);
    Ok(())
}

fn to_f64(tensor: &Tensor) -> Result<Vec<f64>, GraphError> {
    tensor.to_f64_vec().map_err(|e| GraphError::Inconsistent(e.to_string()))
}
