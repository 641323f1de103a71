//! `ScatterElements`: along one axis, updates take the place of (or combine with) the elements that `indices` name.
//! ONNX opset 11, 13, 16, 18.

use super::shared::scatter::Reduction;
use super::shared::scatter_elements;
use crate::op::prelude::*;

/// `ScatterElements`.
#[derive(Clone, Debug)]
pub struct ScatterElements {
    axis: i64,
    reduction: Reduction,
}

impl Register for ScatterElements {
    const NAME: &'static str = "ScatterElements";
    const SINCE: &'static [i64] = &[11, 13, 16, 18];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(ScatterElements { axis: attributes.int_or("axis", 0)?, reduction: Reduction::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let at = |v: &[i64]| secateurs_onnx::Tensor::from_slice(vec![v.len() / 2, 2], v).unwrap();
        let case = |v: &[i64]| Case::new(18).float([4, 3]).constant(at(v)).float([v.len() as i64 / 2, 2]);
        vec![
            case(&[0, -1, 2, 1]),
            case(&[0, 1, 0, 1]).attr("reduction", "add"),
            case(&[0, 1, 0, 1]).attr("reduction", "mul"),
            case(&[3, 1, 3, -2]).attr("reduction", "max"),
            case(&[3, 1, 3, -2]).attr("reduction", "min"),
            Case::new(11).float([2, 3]).constant(at(&[1, 0])).float([1, 2]).attr("axis", -1i64),
        ]
    }
}

impl Op for ScatterElements {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let axis = (self.axis != 0).then(|| ("axis", self.axis.into()));
        axis.into_iter().chain(self.reduction.attribute()).collect()
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
        scatter_elements::eval(self.axis, self.reduction, args)
    }
}
