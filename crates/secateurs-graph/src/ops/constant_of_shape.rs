//! `ConstantOfShape`: a tensor of one repeated value. ONNX opset 9, 20, 21, 23, 24, 25.

use secateurs_onnx::Tensor as HostTensor;

use super::shared::content::{repeat, unknown_sizes};
use crate::op::prelude::*;

/// `ConstantOfShape`.
#[derive(Clone, Debug)]
pub struct ConstantOfShape {
    /// One element; the float 0 by default.
    value: Option<HostTensor>,
}

impl Register for ConstantOfShape {
    const NAME: &'static str = "ConstantOfShape";
    const SINCE: &'static [i64] = &[9, 20, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        match attributes.tensor("value")? {
            Some(value) if value.len() != 1 => {
                Err(OpError::Invalid(format!("the value has {} elements; it must have one", value.len())))
            }
            value => Ok(ConstantOfShape { value }),
        }
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let value = |v: i64| HostTensor::from_slice(vec![1], &[v]).unwrap();
        let half = HostTensor::from_slice(vec![1], &[0.5f32]).unwrap();
        vec![
            Case::new(9).int_values(&[2, 3]),
            Case::new(9).int_values(&[3]).attr("value", value(7)),
            Case::new(20).int_values(&[]).attr("value", half),
            Case::new(9).fed(HostTensor::from_slice(vec![2], &[2i64, 0]).unwrap()).attr("value", value(-1)).without_axes(),
        ]
    }
}

impl ConstantOfShape {
    fn fact(&self) -> Fact {
        let zero = || HostTensor::scalar(0f32);
        Fact::from_tensor(&self.value.clone().unwrap_or_else(zero))
    }
}

impl Op for ConstantOfShape {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.value.iter().map(|value| ("value", value.clone().into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let target = inputs.fact(0)?;
        let shape = match (target.ints(), target.shape.as_deref()) {
            (Some(shape), _) => shape.to_vec(),
            (None, Some([rank])) => unknown_sizes(rank)?,
            _ => return Err(OpError::Undetermined),
        };
        let fact = self.fact();
        let content = fact.content.and_then(|value| repeat(&shape, &value));
        Ok(vec![Fact::of(fact.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let shape = outputs[0].shape.as_ref();
        map.outputs[0] = shape.map(|s| s.iter().map(|dim| map.axis(dim, Role::Made)).collect());
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let shape = kept.output_shape(0).ok_or(OpError::Undetermined)?;
        Ok(Shrunk::default().control(0, kept.inputs.get(0), shape).target(0, false))
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Control
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let fact = self.fact();
        let kind = args.kind(fact.element_type.unwrap_or(ElementType::Float32))?;
        let options = (kind, args.device);
        let shape = args.ints(0)?;
        let unknown = || OpError::Unsupported("the value's element type".into());
        Ok(vec![match fact.floats() {
            Some([value]) => Tensor::f_full(shape, *value, options)?,
            _ => Tensor::f_full(shape, *fact.known_ints().ok_or_else(unknown)?.first().ok_or_else(unknown)?, options)?,
        }])
    }
}
