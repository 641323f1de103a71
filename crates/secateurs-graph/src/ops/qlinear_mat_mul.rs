//! `QLinearMatMul`: matrix product of quantized numbers, quantized anew. ONNX opset 10, 21.
//!
//! a: […, M, K] and its scale and zero point, b: […, K, N] and its own, scale and zero point of y → y: […, M, N].

use super::mat_mul::MatMul;
use super::shared::quantize;
use crate::op::prelude::*;

/// `QLinearMatMul`.
#[derive(Clone, Debug)]
pub struct QLinearMatMul;

const B: usize = 3;
const Y_SCALE: usize = 6;

impl Register for QLinearMatMul {
    const NAME: &'static str = "QLinearMatMul";
    const SINCE: &'static [i64] = &[10, 21];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(QLinearMatMul)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let a: Vec<u8> = (0..24).map(|i| (i * 37 % 256) as u8).collect();
        let b: Vec<u8> = (0..20).map(|i| (i * 29 % 256) as u8).collect();
        let case = || {
            Case::new(10)
                .fed(Tensor::from_slice(vec![2, 3, 4], &a).unwrap())
                .constant(Tensor::scalar(0.0066f32))
                .constant(Tensor::scalar(113u8))
                .constant(Tensor::from_slice(vec![4, 5], &b).unwrap())
        };
        let output = |case: Case| case.constant(Tensor::scalar(0.0107f32)).constant(Tensor::scalar(118u8));
        vec![
            output(case().constant(Tensor::scalar(0.00705f32)).constant(Tensor::scalar(114u8))),
            output(
                case()
                    .float_values(&[0.01, 0.007, 0.002, 0.0073, 0.05])
                    .constant(Tensor::from_slice(vec![5], &[114u8; 5]).unwrap()),
            ),
        ]
    }
}

impl QLinearMatMul {
    fn operands<'a>(inputs: &Inputs<'a>) -> [Option<&'a Fact>; 2] {
        [inputs.get(0), inputs.get(B)]
    }
}

impl Op for QLinearMatMul {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let product = MatMul.infer(&Inputs { facts: &Self::operands(inputs), ..*inputs })?;
        let element_type = inputs.element_type(Y_SCALE + 1)?;
        Ok(product.into_iter().map(|fact| Fact { element_type, ..fact }).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        quantize::blocked(inputs, outputs)
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        MatMul.macs(&Inputs { facts: &Self::operands(inputs), ..*inputs }, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if matches!(input, 0 | B) { InputRole::Parameter } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let single = |i: usize| Ok::<_, OpError>(args.tensor(i)?.f_to_kind(args.floats.single)?);
        let a = quantize::centred(args.tensor(0)?, Some(&quantize::per_row(args.tensor(2)?)?))?;
        let b = quantize::centred(args.tensor(B)?, args.get(B + 2))?;
        let scale = quantize::per_row(&single(1)?)?.f_mul(&single(B + 1)?)?.f_div(&single(Y_SCALE)?)?;
        let steps = a.f_matmul(&b)?.f_to_kind(args.floats.single)?.f_mul(&scale)?;
        let element_type = args.inputs.element_type(Y_SCALE + 1)?.unwrap_or(ElementType::Uint8);
        Ok(vec![quantize::quantized(&steps, args.get(Y_SCALE + 1), element_type)?])
    }
}
