//! `PRelu`: x where positive, slope · x elsewhere; the slope broadcasts to x. ONNX opset 1, 6, 7, 9, 16.

use super::shared::binary_infer;
use crate::op::prelude::*;

/// `PRelu`.
#[derive(Clone, Debug)]
pub struct PRelu;

impl Register for PRelu {
    const NAME: &'static str = "PRelu";
    const SINCE: &'static [i64] = &[7, 9, 16];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(PRelu)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(16).float([2, 3, 4, 5]).param([3, 1, 1]),
            Case::new(9).float([2, 3]).param([2, 3]),
            Case::new(7).float([2, 3]).param([1]),
            Case::new(9).ints([4], -9..9).int_values(&[3]).without_runtime(),
        ]
    }
}

impl Op for PRelu {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, x) = (binary_infer(inputs)?, inputs.fact(0)?);
        if let (Some(y), Some(x)) = (&fact.shape, &x.shape) {
            let grows = |(y, x): (&Dim, &Dim)| x.is(1) && y.known().is_some_and(|n| n != 1);
            if y.len() != x.len() || y.iter().zip(x).any(grows) {
                return Err(OpError::invalid("the slope does not broadcast to the input's shape"));
            }
        }
        Ok(vec![Fact { shape: x.shape.clone(), ..fact }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    /// Where PyTorch's slopes start.
    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        if input == 1 { Initial::Constant(0.25) } else { Initial::Keep }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, slope) = (args.tensor(0)?, args.tensor(1)?);
        if x.f_is_floating_point()? {
            return Ok(vec![x.f_internal_prelu_kernel(slope)?]);
        }
        Ok(vec![x.f_where_self(&x.f_ge(0)?, &x.f_mul(slope)?)?])
    }
}
