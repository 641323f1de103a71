//! `Scatter`: ScatterElements under its first name. ONNX opset 9, 11 (deprecated there).

use super::shared::scatter_elements;
use crate::op::prelude::*;

/// `Scatter`.
#[derive(Clone, Debug)]
pub struct Scatter {
    axis: i64,
}

impl Register for Scatter {
    const NAME: &'static str = "Scatter";
    const SINCE: &'static [i64] = &[9, 11];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Scatter { axis: attributes.int_or("axis", 0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let at = secateurs_onnx::Tensor::from_slice(vec![1, 2], &[1i64, 3]).unwrap();
        vec![Case::new(9).float([2, 5]).constant(at).float([1, 2]).attr("axis", 1i64)]
    }
}

impl Op for Scatter {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == 0 { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        scatter_elements::infer(self.axis, inputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        scatter_elements::axes(self.axis, inputs, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 1 { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        scatter_elements::eval(self.axis, super::shared::scatter::Reduction::Replace, args)
    }
}
