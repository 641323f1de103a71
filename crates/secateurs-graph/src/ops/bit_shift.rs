//! `BitShift`: bits shifted left or right, with broadcasting. ONNX opset 11, 28.

use super::shared::binary_infer;
use crate::op::prelude::*;

/// `BitShift`.
#[derive(Clone, Debug)]
pub struct BitShift {
    left: bool,
}

impl Register for BitShift {
    const NAME: &'static str = "BitShift";
    const SINCE: &'static [i64] = &[11, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        match attributes.string("direction")?.as_deref() {
            Some("LEFT") => Ok(BitShift { left: true }),
            Some("RIGHT") => Ok(BitShift { left: false }),
            Some(other) => {
                Err(OpError::Invalid(format!("direction is '{other}'; it must be 'LEFT' or 'RIGHT'")))
            }
            None => Err(OpError::invalid("the attribute 'direction' is missing")),
        }
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let shift = |direction: &str| Case::new(28).attr("direction", direction);
        let bytes = secateurs_onnx::Tensor::from_slice(vec![3], &[200u8, 7, 0]).unwrap();
        vec![
            shift("LEFT").ints([2, 3, 4], -9..9).ints([3, 1], 0..9),
            shift("RIGHT").ints([2, 3, 4], -99..99).ints([4], 0..9),
            Case::new(11).attr("direction", "RIGHT").fed(bytes.clone()).constant(bytes),
        ]
    }
}

impl Op for BitShift {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("direction", if self.left { "LEFT" } else { "RIGHT" }.into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![binary_infer(inputs)?])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, y) = (args.tensor(0)?, args.tensor(1)?);
        Ok(vec![if self.left { x.f_bitwise_left_shift(y)? } else { x.f_bitwise_right_shift(y)? }])
    }
}
