//! `SwiGLU`: a gated activation, gate · sigmoid(alpha · gate) · value. ONNX opset 28.
//!
//! gate, value and output have one shape.

use super::shared::binary_infer;
use crate::op::prelude::*;

/// `SwiGLU`.
#[derive(Clone, Debug)]
pub struct SwiGLU {
    alpha: f32,
}

impl Register for SwiGLU {
    const NAME: &'static str = "SwiGLU";
    const SINCE: &'static [i64] = &[28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(SwiGLU { alpha: attributes.float_or("alpha", 1.0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |shape: &[i64]| {
            Case::new(28).float(shape.to_vec()).float(shape.to_vec()).without_runtime()
        };
        vec![case(&[2, 3, 4]), case(&[5]).attr("alpha", 1.702f32)]
    }
}

impl Op for SwiGLU {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.alpha == 1.0 { Vec::new() } else { vec![("alpha", self.alpha.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        if let (Some(gate), Some(value)) = (&inputs.fact(0)?.shape, &inputs.fact(1)?.shape) {
            if gate.len() != value.len() {
                return Err(OpError::invalid("its inputs must have the same shape"));
            }
            for (a, b) in gate.iter().zip(value) {
                expect_same(a, b, "sizes of the gate and the value")?;
            }
        }
        Ok(vec![binary_infer(inputs)?])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let gate = super::shared::activation::swish(args.tensor(0)?, self.alpha)?;
        Ok(vec![gate.f_mul(args.tensor(1)?)?])
    }
}
