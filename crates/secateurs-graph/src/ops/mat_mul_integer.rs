//! `MatMulInteger`: matrix product of 8-bit integers less their zero points. ONNX opset 10.
//!
//! a: […, M, K], b: […, K, N], zero points: scalars, [M] for rows of a, [N] for columns of b → y: […, M, N] of int32.

use super::shared::quantize;
use super::mat_mul::MatMul;
use crate::op::prelude::*;

/// `MatMulInteger`.
#[derive(Clone, Debug)]
pub struct MatMulInteger;

impl Register for MatMulInteger {
    const NAME: &'static str = "MatMulInteger";
    const SINCE: &'static [i64] = &[10];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(MatMulInteger)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let a: Vec<u8> = (0..24).map(|i| (i * 37 % 256) as u8).collect();
        let b: Vec<i8> = (0..20).map(|i| (i * 29 % 256 - 128) as i8).collect();
        let case = || {
            Case::new(10)
                .fed(Tensor::from_slice(vec![2, 3, 4], &a).unwrap())
                .constant(Tensor::from_slice(vec![4, 5], &b).unwrap())
        };
        vec![
            case(),
            case().constant(Tensor::scalar(12u8)).constant(Tensor::scalar(-3i8)),
            case().absent().constant(Tensor::from_slice(vec![5], &[0i8, 1, -2, 3, 100]).unwrap()),
        ]
    }
}

impl Op for MatMulInteger {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let product = MatMul.infer(inputs)?.into_iter();
        Ok(product.map(|fact| Fact { element_type: Some(ElementType::Int32), ..fact }).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        quantize::blocked(inputs, outputs)
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        MatMul.macs(inputs, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if input < 2 { InputRole::Parameter } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let rows = args.get(2).map(quantize::per_row).transpose()?;
        let a = quantize::centred(args.tensor(0)?, rows.as_ref())?;
        let b = quantize::centred(args.tensor(1)?, args.get(3))?;
        Ok(vec![a.f_matmul(&b)?.f_to_kind(Kind::Int)?])
    }
}
