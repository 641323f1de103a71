//! `Cast`: the elements as another type. ONNX opset 1, 6, 9, 13, 19, 21, 23, 24, 25, 28.

use super::shared::cast::{Rounding, cast};
use crate::op::prelude::*;

/// `Cast`.
#[derive(Clone, Debug)]
pub struct Cast {
    to: ElementType,
    rounding: Rounding,
}

impl Register for Cast {
    const NAME: &'static str = "Cast";
    const SINCE: &'static [i64] = &[6, 9, 13, 19, 21, 23, 24, 25, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Cast { to: target(attributes)?, rounding: Rounding::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let to = |opset, to: ElementType| Case::new(opset).attr("to", i64::from(to.to_onnx()));
        vec![
            to(13, ElementType::Int64).float([2, 3, 4]),
            to(9, ElementType::Bool).ints([5], 0..3),
            to(13, ElementType::Float32).ints([5], -9..9),
            to(13, ElementType::Float32).bools([5]),
            to(13, ElementType::Float64).float([5]),
            to(19, ElementType::Float16).float([5]).tolerance(1e-3),
            to(13, ElementType::Int32).int_values(&[3, -7]),
            to(13, ElementType::Int8).int_values(&[3, 200]),
            to(13, ElementType::Float32).int_values(&[3, (1 << 24) + 1]),
            to(13, ElementType::Int64).float_values(&[2.9, -2.9]),
            to(13, ElementType::Bool).float_values(&[0.0, -0.5]),
            to(13, ElementType::Bool).int_values(&[0, 2]),
            to(13, ElementType::Int64).flag_values(&[true, false]),
            to(19, ElementType::Float8E4M3Fn).float_values(&[0.3, -17.9, 500.0, 0.001]),
            to(19, ElementType::Float8E5M2).float_values(&[0.3, -17.9, 1e6, 1e-5]).attr("saturate", 0i64),
        ]
    }
}

/// The required attribute `to`, an element type by its ONNX number.
pub(super) fn target(attributes: &mut Attributes) -> Result<ElementType, OpError> {
    let to = attributes.int("to")?.ok_or_else(|| OpError::invalid("the attribute 'to' is missing"))?;
    let element_type = i32::try_from(to).ok().and_then(ElementType::from_onnx);
    element_type.ok_or_else(|| OpError::Invalid(format!("to is {to}, which is no element type of ONNX")))
}

impl Op for Cast {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = vec![("to", i64::from(self.to.to_onnx()).into())];
        list.extend(self.rounding.attributes());
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![cast(inputs.fact(0)?, Some(self.to))])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn is_view(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![self.rounding.cast(args, self.to)?])
    }
}
