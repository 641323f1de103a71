//! Normalization over the axes from one to the last: LayerNormalization and RMSNormalization.

use crate::attribute::{Attribute, Attributes};
use crate::axes::{AxisMap, Role, unit_axis};
use crate::dim::Dim;
use crate::fact::{DisplayShape, Fact};
use crate::op::{Inputs, OpError, broadcast, normalize_axis};
use secateurs_onnx::ElementType;

/// From which axis on, and with what guard against a zero divisor.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct TrailingNorm {
    axis: i64,
    epsilon: f32,
    /// The element type of the statistics, in ONNX's numbering.
    stash_type: i64,
}

impl TrailingNorm {
    pub fn parse(attributes: &mut Attributes) -> Result<TrailingNorm, OpError> {
        Ok(TrailingNorm {
            axis: attributes.int_or("axis", -1)?,
            epsilon: attributes.float_or("epsilon", 1e-5)?,
            stash_type: attributes.int_or("stash_type", 1)?,
        })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.axis != -1 {
            list.push(("axis", self.axis.into()));
        }
        if self.epsilon != 1e-5 {
            list.push(("epsilon", self.epsilon.into()));
        }
        if self.stash_type != 1 {
            list.push(("stash_type", self.stash_type.into()));
        }
        list
    }

    /// The first normalized axis.
    pub fn first(&self, rank: usize) -> Result<usize, OpError> {
        normalize_axis(self.axis, rank)
    }

    pub fn epsilon(&self) -> f64 {
        self.epsilon.into()
    }

    pub fn stash_type(&self) -> Option<ElementType> {
        ElementType::from_onnx(i32::try_from(self.stash_type).ok()?)
    }

    /// The output, after checking that the parameters (inputs from 1 on) broadcast to the input.
    pub fn infer(&self, inputs: &Inputs) -> Result<Fact, OpError> {
        let (x, shape) = (inputs.fact(0)?, inputs.shape(0)?);
        self.first(shape.len())?;
        let parameters = inputs.facts.iter().skip(1).flatten().filter_map(|f| f.shape.as_deref());
        for parameter in parameters {
            let both = broadcast(&[shape, parameter])?;
            let grows = |(a, b): (&Dim, &Dim)| a.is(1) && b.known().is_some_and(|n| n != 1);
            if both.len() != shape.len() || shape.iter().zip(&both).any(grows) {
                let text = format!("a parameter {} does not broadcast to the input", DisplayShape(parameter));
                return Err(OpError::Invalid(text));
            }
        }
        Ok(Fact { content: None, ..x.clone() })
    }

    /// The same norm with another guard.
    pub fn with_epsilon(&self, epsilon: f64) -> TrailingNorm {
        TrailingNorm { epsilon: epsilon as f32, ..self.clone() }
    }

    /// `x: [n, c], scale: [c] → y: [n, c], statistics: [n, 1]`, where `c` has the role `role`.
    pub fn axis_map(&self, inputs: &Inputs, outputs: &[Fact], role: Role) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(first) = self.first(shape.len()) else { return map };
        let axes: Vec<_> = (0..shape.len())
            .map(|i| map.axis(&shape[i], if i < first { Role::Free } else { role.clone() }))
            .collect();
        for (i, fact) in inputs.facts.iter().enumerate().skip(1) {
            let Some(parameter) = fact.and_then(|f| f.shape.as_deref()) else { continue };
            let aligned = &axes[shape.len().saturating_sub(parameter.len())..];
            map.inputs[i] = Some(
                aligned
                    .iter()
                    .zip(parameter)
                    .map(|(axis, dim)| if dim.is(1) { unit_axis() } else { axis.clone() })
                    .collect(),
            );
        }
        let statistics: Vec<_> =
            axes.iter().enumerate().map(|(i, a)| if i < first { a.clone() } else { unit_axis() }).collect();
        map.outputs.iter_mut().skip(1).for_each(|output| *output = Some(statistics.clone()));
        if let Some(y) = map.outputs.first_mut() {
            *y = Some(axes.clone());
        }
        map.inputs[0] = Some(axes);
        map
    }
}
