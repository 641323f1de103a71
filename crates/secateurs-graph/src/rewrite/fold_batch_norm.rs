//! Batch norms folded into the layers before them.
//!
//! With s = γ / √(σ² + ε), channel by channel: s · (w x + b − μ) + β = (s · w) x + s · (b − μ) + β.

use secateurs_onnx::Tensor;
use slotmap::SecondaryMap;

use super::{constant, numbers};
use crate::axes::{AxisMap, Role, Segment};
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, Use, ValueId};
use crate::op::Affine;
use crate::ops::{Add, BatchNormalization};
use crate::patch::{Feed, Patch};
use crate::surgery::constants::floats;

/// A batch norm that was folded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folded {
    /// The name that its node had.
    pub batch_norm: String,
    /// The node that it was folded into.
    pub into: NodeId,
    /// The output of the batch norm, made by `into` from now on; by an `Add` behind it where it can add no bias (`MatMul`).
    pub output: ValueId,
}

/// Folds every batch norm that can be.
///
/// It must use given statistics, and these, its scale and its bias must be constants. It must alone read what a product with a
/// constant weight makes (`Conv`, `ConvTranspose`, `Gemm`, `MatMul`), no output of the graph, with a constant bias or none. A weight
/// that others read too is copied. Whatever cannot be folded is left alone; of two batch norms in a row that is the second.
pub fn fold_batch_norms(graph: &mut Graph) -> Result<Vec<Folded>, GraphError> {
    let nodes = graph.order.clone();
    fold_batch_norms_among(graph, &nodes)
}

/// Folds the batch norms among these nodes, as [`fold_batch_norms`] does.
pub fn fold_batch_norms_among(graph: &mut Graph, nodes: &[NodeId]) -> Result<Vec<Folded>, GraphError> {
    let uses = graph.uses();
    let (mut patch, mut folded) = (Patch::new(), Vec::new());
    for site in nodes.iter().filter_map(|&id| Site::find(graph, &uses, id)) {
        if site.fold(graph, &uses, &mut patch)? {
            let batch_norm = graph.nodes[site.batch_norm].name.clone();
            folded.push(Folded { batch_norm, into: site.into, output: site.output });
        }
    }
    if !folded.is_empty() {
        patch.remove_dead();
        patch.apply(graph)?;
    }
    Ok(folded)
}

/// A batch norm and the layer that it can be folded into.
pub(super) struct Site<'g> {
    batch_norm: NodeId,
    pub into: NodeId,
    raw: ValueId,
    output: ValueId,
    affine: Affine,
    /// The constant operand of `into`, and for every element of it the channel that it contributes to.
    weight: usize,
    channels: Vec<usize>,
    bias: Option<&'g Tensor>,
    /// Scale, bias, mean and variance.
    parameters: [&'g Tensor; 4],
    epsilon: f64,
}

impl<'g> Site<'g> {
    pub fn find(graph: &'g Graph, uses: &SecondaryMap<ValueId, Vec<Use>>, id: NodeId) -> Option<Site<'g>> {
        let node = graph.nodes.get(id)?;
        let op = node.op.downcast::<BatchNormalization>().filter(|op| op.is_inference())?;
        let (&[Some(raw), ref parameters @ ..], &[Some(output)]) = (&node.inputs[..], &node.outputs[..])
        else {
            return None;
        };
        let Source::Node(into, 0) = graph.values[raw].source else { return None };
        if uses[raw].len() != 1 || graph.outputs.contains(&raw) {
            return None;
        }
        let layer = &graph.nodes[into];
        let affine = layer.op.affine().filter(|affine| affine.bias_factor != 0.0)?;
        let count = usize::try_from(graph.values[raw].fact.shape.as_ref()?.get(1)?.known()?).ok()?;
        let bias = match affine.bias.and_then(|i| layer.inputs.get(i).copied().flatten()) {
            // One number for all channels, or one for each, along the last axis.
            Some(bias) => Some(constant(graph, bias).filter(|bias| {
                [1, count].contains(&bias.len()) && bias.shape().last().is_none_or(|n| *n == bias.len())
            })?),
            None => None,
        };
        let parameters: Vec<&Tensor> = parameters
            .iter()
            .map(|v| constant(graph, (*v)?).filter(|t| t.shape() == [count]))
            .collect::<Option<_>>()?;
        let map = graph.axis_map(layer);
        let (weight, channels) = [1, 0].into_iter().find_map(|i| {
            let tensor = constant(graph, layer.inputs.get(i).copied().flatten()?)?;
            Some((i, channels(&map, i, tensor.shape())?))
        })?;
        Some(Site {
            batch_norm: id,
            into,
            raw,
            output,
            affine,
            weight,
            channels,
            bias,
            parameters: parameters.try_into().ok()?,
            epsilon: op.epsilon().into(),
        })
    }

    /// Adds the edits; `false`, and none, if a number would be too large for its type.
    fn fold(
        &self,
        graph: &Graph,
        uses: &SecondaryMap<ValueId, Vec<Use>>,
        patch: &mut Patch,
    ) -> Result<bool, GraphError> {
        let [scale, shift, mean, variance] = self.parameters;
        let [scale, shift, mean, variance] =
            [numbers(scale)?, numbers(shift)?, numbers(mean)?, numbers(variance)?];
        let factors: Vec<f64> =
            scale.iter().zip(&variance).map(|(scale, var)| scale / (var + self.epsilon).sqrt()).collect();
        let layer = &graph.nodes[self.into];
        let Some((weight, old)) =
            layer.inputs[self.weight].and_then(|value| Some((value, constant(graph, value)?)))
        else {
            return Ok(false);
        };
        let element_type = old.element_type();
        let scaled: Vec<f64> =
            numbers(old)?.into_iter().zip(&self.channels).map(|(w, &channel)| w * factors[channel]).collect();
        let scaled = floats(element_type, old.shape().to_vec(), &scaled)?;
        let bias = self.bias.map(numbers).transpose()?.unwrap_or_else(|| vec![0.0]);
        let shifted: Vec<f64> = (0..factors.len())
            .map(|i| {
                let bias = bias[if bias.len() == 1 { 0 } else { i }] * self.affine.bias_factor;
                (factors[i] * (bias - mean[i]) + shift[i]) / self.affine.bias_factor
            })
            .collect();
        let element_type = self.bias.map_or(element_type, Tensor::element_type);
        let rank = graph.values[self.raw].fact.rank().unwrap_or(2);
        let mut shape = vec![shifted.len()];
        if self.affine.bias.is_none() {
            shape.resize(rank - 1, 1);
        }
        let shifted = floats(element_type, shape, &shifted)?;
        if !is_finite(&scaled)? || !is_finite(&shifted)? {
            return Ok(false);
        }
        let feed = |value: Option<ValueId>, name: &str, tensor: Tensor, patch: &mut Patch| match value {
            Some(value)
                if uses[value].len() == 1
                    && !graph.outputs.contains(&value)
                    && graph.tensor(value).is_some() =>
            {
                patch.set_tensor(value, tensor);
                Feed::Value(Some(value))
            }
            Some(value) => Feed::Constant(graph.values[value].name.clone(), tensor),
            None => Feed::Constant(name.to_owned(), tensor),
        };
        let name = format!("{}_bias", graph.values[weight].name);
        let mut inputs: Vec<Feed> = layer.inputs.iter().map(|value| Feed::Value(*value)).collect();
        inputs[self.weight] = feed(Some(weight), &name, scaled, patch);
        match self.affine.bias {
            Some(i) => {
                let old = layer.inputs.get(i).copied().flatten();
                inputs.resize_with(inputs.len().max(i + 1), || Feed::Value(None));
                inputs[i] = feed(old, &name, shifted, patch);
                patch.absorb(self.batch_norm);
            }
            None => {
                patch.set_op(self.batch_norm, Box::new(Add));
                let sum = vec![Feed::Value(Some(self.raw)), Feed::Constant(name, shifted)];
                patch.set_inputs(self.batch_norm, sum);
            }
        }
        patch.set_inputs(self.into, inputs);
        Ok(true)
    }
}

/// For every element of an operand, in row-major order, the index of axis 1 of output 0 that it contributes to; `None` where an
/// element contributes to several.
fn channels(map: &AxisMap, operand: usize, shape: &[usize]) -> Option<Vec<usize>> {
    let size = |atom: usize| usize::try_from(map.atoms[atom].size.known()?).ok();
    // The atoms of an axis with the distance of two neighbouring indices.
    let strides = |segments: &[Segment]| match segments {
        [Segment::Product(atoms)] => {
            let mut stride = 1;
            let inner_first = atoms.iter().rev().map(|atom| {
                let own = (atom.0, stride);
                stride *= size(atom.0)?;
                Some(own)
            });
            inner_first.collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    let wanted = strides(map.outputs[0].as_ref()?.get(1)?)?;
    if wanted.iter().any(|(atom, _)| map.atoms[*atom].role != Role::Free) {
        return None;
    }
    let mut missing: Vec<usize> = wanted.iter().map(|(atom, _)| *atom).collect();
    let mut channels = vec![0];
    for (axis, &length) in map.inputs.get(operand)?.as_ref()?.iter().zip(shape) {
        let own = strides(axis)?;
        let mut along = vec![0; length];
        for &(atom, stride) in &wanted {
            let Some(&(_, own)) = own.iter().find(|(a, _)| *a == atom) else { continue };
            let at = missing.iter().position(|a| *a == atom)?;
            missing.swap_remove(at);
            let size = size(atom)?;
            along.iter_mut().enumerate().for_each(|(i, sum)| *sum += i / own % size * stride);
        }
        channels = channels.iter().flat_map(|base| along.iter().map(move |index| base + index)).collect();
    }
    missing.is_empty().then_some(channels)
}

fn is_finite(tensor: &Tensor) -> Result<bool, GraphError> {
    Ok(numbers(tensor)?.iter().all(|x| x.is_finite()))
}
