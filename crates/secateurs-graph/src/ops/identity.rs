//! `Identity`: the input as it is. ONNX opset 1, 13, 14, 16, 19, 21, 23, 24, 25.

use crate::op::prelude::*;

/// `Identity`.
#[derive(Clone, Debug)]
pub struct Identity;

impl Register for Identity {
    const NAME: &'static str = "Identity";
    const SINCE: &'static [i64] = &[1, 13, 14, 16, 19, 21, 23, 24, 25];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Identity)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![Case::new(13).float([2, 3]), Case::new(16).ints([4], 0..9)]
    }
}

impl Op for Identity {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![inputs.fact(0)?.clone()])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn is_view(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![args.tensor(0)?.f_alias()?])
    }
}
