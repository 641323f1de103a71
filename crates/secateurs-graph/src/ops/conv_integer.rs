//! `ConvInteger`: convolution of 8-bit integers less their zero points. ONNX opset 10.
//!
//! x: [N, C, D1, …], w: [M, C / group, k1, …], zero points: scalars, of w also [M] → y: [N, M, D1', …] of int32.

use super::conv::Conv;
use super::shared::quantize;
use crate::op::prelude::*;

/// `ConvInteger`.
#[derive(Clone, Debug)]
pub struct ConvInteger {
    conv: Conv,
}

impl Register for ConvInteger {
    const NAME: &'static str = "ConvInteger";
    const SINCE: &'static [i64] = &[10];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(ConvInteger { conv: Conv::parse(attributes, cx)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let x: Vec<u8> = (0..60).map(|i| (i * 37 % 256) as u8).collect();
        let w: Vec<u8> = (0..54).map(|i| (i * 29 % 256) as u8).collect();
        let case = |w_shape: &[usize]| {
            Case::new(10)
                .fed(Tensor::from_slice(vec![1, 3, 5, 4], &x).unwrap())
                .constant(Tensor::from_slice(w_shape.to_vec(), &w[..w_shape.iter().product()]).unwrap())
        };
        vec![
            case(&[2, 3, 3, 3]),
            case(&[2, 3, 3, 3])
                .constant(Tensor::scalar(12u8))
                .constant(Tensor::scalar(99u8))
                .attr("pads", vec![1i64, 0, 1, 1]),
            case(&[3, 1, 2, 2]).constant(Tensor::scalar(12u8)).attr("group", 3i64).attr("strides", vec![2i64, 1]),
        ]
    }
}

impl Op for ConvInteger {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.conv.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let operands = [inputs.get(0), inputs.get(1)];
        let y = self.conv.infer(&Inputs { facts: &operands, ..*inputs })?.into_iter();
        Ok(y.map(|fact| Fact { element_type: Some(ElementType::Int32), ..fact }).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        quantize::blocked(inputs, outputs)
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        self.conv.macs(inputs, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0 => InputRole::Data,
            1 => InputRole::Parameter,
            _ => InputRole::Control,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = quantize::centred(args.tensor(0)?, args.get(2))?;
        let w = args.tensor(1)?;
        let zero_point = args.get(3).map(|z| if z.dim() == 1 { quantize::along(z, 0, w.dim()) } else { Ok(z.shallow_clone()) });
        let w = quantize::centred(w, zero_point.transpose()?.as_ref())?;
        Ok(vec![self.conv.convolve(&x, &w, None)?.f_to_kind(Kind::Int)?])
    }
}
