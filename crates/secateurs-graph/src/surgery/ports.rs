//! What is left of the model's inputs and outputs, where they shrink with the units that they carry.

use secateurs_onnx::Tensor;

use super::constants::{KeptAxes, slice};
use crate::coupling::{Coupling, Selection};
use crate::error::GraphError;
use crate::fact::Shape;
use crate::graph::{Graph, ValueId};

/// The indices that are left of every input and output of a model: what data for the original become for the smaller model.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    inputs: Vec<KeptAxes>,
    outputs: Vec<KeptAxes>,
}

impl Coupling {
    /// What a choice of units leaves of the model's inputs and outputs.
    pub fn ports(&self, graph: &Graph, selection: &Selection) -> Ports {
        let kept = self.kept(selection);
        let port = |&value: &ValueId| -> KeptAxes {
            let rank = graph.values[value].fact.rank().unwrap_or(0);
            let axis = |axis| {
                let space = self.spaces.value_axis(value, axis)?;
                Some(kept[space as usize].as_ref()?.indices.clone())
            };
            (0..rank).map(axis).collect()
        };
        let ports = |values: &[ValueId]| values.iter().map(port).collect();
        Ports { inputs: ports(&graph.inputs), outputs: ports(&graph.outputs) }
    }

    /// Whether a unit takes indices of an input or output of the model.
    pub fn resizes(&self, graph: &Graph, value: ValueId) -> bool {
        let rank = graph.values[value].fact.rank().unwrap_or(0);
        let mut spaces = (0..rank).filter_map(|axis| self.spaces.value_axis(value, axis));
        spaces.any(|space| {
            let mut units = self.groups.iter().flat_map(|group| &group.units);
            units.any(|unit| !unit.of(space).is_empty())
        })
    }

    /// Why no unit takes any, axis by axis, where there is a reason and more than one index.
    pub fn why_fixed(&self, graph: &Graph, value: ValueId) -> Vec<(usize, String)> {
        let shape = graph.values[value].fact.shape.as_deref().unwrap_or_default();
        let axes = (0..shape.len()).filter(|&axis| shape[axis].known().is_some_and(|n| n > 1));
        let reason = |axis| {
            let space = self.spaces.value_axis(value, axis)?;
            let reason = self.spaces.spaces[space as usize].barred.as_ref()?;
            Some((axis, reason.describe(graph)))
        };
        axes.filter_map(reason).collect()
    }
}

impl Ports {
    /// Whether all keep their shape.
    pub fn is_whole(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).flatten().all(Option::is_none)
    }

    /// The shapes of the smaller model's inputs.
    pub fn input_shapes(&self, graph: &Graph) -> Vec<Option<Shape>> {
        shapes(graph, &graph.inputs, &self.inputs)
    }

    /// The shapes of the smaller model's outputs.
    pub fn output_shapes(&self, graph: &Graph) -> Vec<Option<Shape>> {
        shapes(graph, &graph.outputs, &self.outputs)
    }

    /// The smaller model's part of inputs of the original.
    pub fn inputs(&self, whole: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
        whole.iter().zip(&self.inputs).map(|(tensor, kept)| slice(tensor, kept)).collect()
    }

    /// The part of the original's outputs that the smaller model has.
    pub fn outputs(&self, whole: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
        whole.iter().zip(&self.outputs).map(|(tensor, kept)| slice(tensor, kept)).collect()
    }
}

fn shapes(graph: &Graph, values: &[ValueId], kept: &[KeptAxes]) -> Vec<Option<Shape>> {
    let shape = |(&value, kept): (&ValueId, &KeptAxes)| {
        let mut shape = graph.values[value].fact.shape.clone()?;
        for (dim, kept) in shape.iter_mut().zip(kept) {
            if let Some(kept) = kept {
                *dim = kept.len().into();
            }
        }
        Some(shape)
    };
    values.iter().zip(kept).map(shape).collect()
}
