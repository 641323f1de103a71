//! `CastLike`: the elements as the type of another value. ONNX opset 15, 19, 21, 23, 24, 25.

use super::shared::cast::{Rounding, cast};
use super::shared::elementwise_content::first_only;
use crate::op::prelude::*;

/// `CastLike`.
#[derive(Clone, Debug)]
pub struct CastLike {
    rounding: Rounding,
}

impl Register for CastLike {
    const NAME: &'static str = "CastLike";
    const SINCE: &'static [i64] = &[15, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(CastLike { rounding: Rounding::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(15).float([2, 3, 4]).int_values(&[1]),
            Case::new(19).ints([5], -9..9).float_values(&[1.0, 2.0]),
            Case::new(15).int_values(&[5, 0]).flag_values(&[true]),
        ]
    }
}

impl Op for CastLike {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.rounding.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![cast(inputs.fact(0)?, inputs.element_type(1)?)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(&first_only(inputs), &outputs[0])
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Sizes }
    }

    fn is_view(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![match args.inputs.element_type(1)? {
            Some(element_type) => self.rounding.cast(args, element_type)?,
            None => args.tensor(0)?.f_to_kind(args.tensor(1)?.f_kind()?)?,
        }])
    }
}
