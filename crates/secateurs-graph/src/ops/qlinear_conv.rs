//! `QLinearConv`: convolution of quantized numbers, quantized anew. ONNX opset 10.
//!
//! x: [N, C, D1, …] and its scale and zero point, w: [M, C / group, k1, …] and its own (scalars or [M]), scale and zero point
//! of y, b: [M] of int32 in steps of x's scale times w's → y: [N, M, D1', …].

use super::conv::Conv;
use super::shared::quantize;
use crate::op::prelude::*;

/// `QLinearConv`.
#[derive(Clone, Debug)]
pub struct QLinearConv {
    conv: Conv,
}

const W: usize = 3;
const Y_SCALE: usize = 6;
const BIAS: usize = 8;

impl Register for QLinearConv {
    const NAME: &'static str = "QLinearConv";
    const SINCE: &'static [i64] = &[10];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(QLinearConv { conv: Conv::parse(attributes, cx)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let x: Vec<u8> = (0..60).map(|i| (i * 37 % 256) as u8).collect();
        let w: Vec<i8> = (0..54).map(|i| (i * 29 % 256 - 128) as i8).collect();
        let case = || {
            Case::new(10)
                .fed(Tensor::from_slice(vec![1, 3, 5, 4], &x).unwrap())
                .constant(Tensor::scalar(0.0037f32))
                .constant(Tensor::scalar(132u8))
                .constant(Tensor::from_slice(vec![2, 3, 3, 3], &w).unwrap())
        };
        let output = |case: Case| case.constant(Tensor::scalar(0.016f32)).constant(Tensor::scalar(123u8));
        let zeros = || Tensor::from_slice(vec![2], &[0i8, 0]).unwrap();
        vec![
            output(case().constant(Tensor::scalar(0.0017f32)).constant(Tensor::scalar(0i8))),
            output(case().float_values(&[0.0017, 0.002]).constant(zeros()))
                .constant(Tensor::from_slice(vec![2], &[700i32, -30]).unwrap())
                .attr("pads", vec![1i64, 0, 1, 1]),
        ]
    }
}

impl QLinearConv {
    fn operands<'a>(inputs: &Inputs<'a>) -> [Option<&'a Fact>; 3] {
        [inputs.get(0), inputs.get(W), inputs.get(BIAS)]
    }
}

impl Op for QLinearConv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.conv.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let y = self.conv.infer(&Inputs { facts: &Self::operands(inputs), ..*inputs })?;
        let element_type = inputs.element_type(Y_SCALE + 1)?;
        Ok(y.into_iter().map(|fact| Fact { element_type, ..fact }).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        quantize::blocked(inputs, outputs)
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        self.conv.macs(&Inputs { facts: &Self::operands(inputs), ..*inputs }, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0 => InputRole::Data,
            W | BIAS => InputRole::Parameter,
            _ => InputRole::Control,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let single = |i: usize| Ok::<_, OpError>(args.tensor(i)?.f_to_kind(args.floats.single)?);
        let (x, w) = (args.tensor(0)?, args.tensor(W)?);
        let by_filter = |t: &Tensor, axis: usize| match t.numel() {
            1 => t.f_reshape([0i64; 0]),
            _ => quantize::along(t, axis, x.dim()),
        };
        let bias = args.get(BIAS).map(|bias| bias.f_to_kind(Kind::Double)).transpose()?;
        let x = quantize::centred(x, args.get(2))?;
        let w = quantize::centred(w, Some(&by_filter(args.tensor(W + 2)?, 0)?))?;
        let sums = self.conv.convolve(&x, &w, bias.as_ref())?.f_to_kind(args.floats.single)?;
        let scale = single(1)?.f_mul(&by_filter(&single(W + 1)?, 1)?)?.f_div(&single(Y_SCALE)?)?;
        let element_type = args.inputs.element_type(Y_SCALE + 1)?.unwrap_or(ElementType::Uint8);
        Ok(vec![quantize::quantized(&sums.f_mul(&scale)?, args.get(Y_SCALE + 1), element_type)?])
    }
}
