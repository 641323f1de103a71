//! `DynamicQuantizeLinear`: quantization to uint8 by the range of the input itself. ONNX opset 11.
//!
//! x: any shape → y like x, scale and zero point: scalars.

use crate::op::prelude::*;

/// `DynamicQuantizeLinear`.
#[derive(Clone, Debug)]
pub struct DynamicQuantizeLinear;

impl Register for DynamicQuantizeLinear {
    const NAME: &'static str = "DynamicQuantizeLinear";
    const SINCE: &'static [i64] = &[11];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(DynamicQuantizeLinear)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(11).outputs(3);
        vec![
            case().float([2, 3, 4]),
            case().float_in([5], 0.5, 2.0),
            case().float_in([5], -3.0, -1.0),
            case().float_values(&[0.0, 0.0]),
        ]
    }
}

impl Op for DynamicQuantizeLinear {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, number) = (inputs.fact(0)?, |element_type| Fact::new(element_type, Vec::new()));
        let y = Fact { element_type: Some(ElementType::Uint8), shape: x.shape.clone(), content: None };
        Ok(vec![y, number(ElementType::Float32), number(ElementType::Uint8)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a scale that follows the range of all elements")
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::quantize::quantized;
        let x = args.tensor(0)?;
        let (low, high) = (x.f_min()?.f_clamp_max(0.0)?, x.f_max()?.f_clamp_min(0.0)?);
        let scale = high.f_sub(&low)?.f_div_scalar(255.0)?;
        // As ONNX Runtime has it where all elements are zero.
        let scale = scale.f_masked_fill(&scale.f_eq(0.0)?, 1.0)?;
        let zero_point = low.f_neg()?.f_div(&scale)?.f_clamp(0.0, 255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
        let y = quantized(&x.f_div(&scale)?, Some(&zero_point), ElementType::Uint8)?;
        Ok(vec![y, scale, zero_point])
    }
}
