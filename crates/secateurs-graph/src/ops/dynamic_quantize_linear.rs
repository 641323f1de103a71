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
        let [y, scale, zero_point] = super::shared::quantize::by_range(args.tensor(0)?)?;
        Ok(vec![y, scale, zero_point])
    }
}
