//! `Pow`: x to the power y, with broadcasting; the result has the type of x. ONNX opset 1, 7, 12, 13, 15.

use super::shared::elementwise_content::{broadcast_content, broadcast_inputs};
use super::shared::known;
use crate::op::prelude::*;

/// `Pow`.
#[derive(Clone, Debug)]
pub struct Pow;

impl Register for Pow {
    const NAME: &'static str = "Pow";
    const SINCE: &'static [i64] = &[7, 12, 13, 15];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Pow)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let positive = |opset| Case::new(opset).float_in([2, 3, 4], 0.1, 2.0);
        vec![
            Case::new(15).float([2, 3, 4]).float_values(&[2.0]),
            Case::new(7).float([2, 3]).float_values(&[3.0, 2.0, 1.0]),
            positive(13).float([3, 1]),
            positive(13).float_values(&[0.5]),
            Case::new(15).float([2, 3, 4]).int_values(&[3]),
            Case::new(12).ints([4], -5..5).int_values(&[3]),
            Case::new(12).ints([4], 0..9).float_values(&[0.5]),
            Case::new(12).int_values(&[3, -2, 7]).int_values(&[2]),
            Case::new(12).float_values(&[3.0, 0.5]).float_values(&[2.0, 0.5]),
        ]
    }
}

fn int_power(x: &Dim, y: &Dim) -> Option<Dim> {
    match y.known()? {
        2 => Some(x.clone() * x.clone()),
        _ => known(x, y, |x, y| x.checked_pow(u32::try_from(y).ok()?)),
    }
}

/// Only the powers that every implementation rounds alike.
fn float_power(x: f64, y: f64) -> Option<f64> {
    match y {
        0.5 => Some(x.sqrt()),
        1.0 => Some(x),
        2.0 => Some(x * x),
        _ => None,
    }
}

impl Op for Pow {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, y) = (inputs.fact(0)?, inputs.fact(1)?);
        let shape = broadcast_inputs(inputs)?;
        let contents = shape.as_ref().and_then(|s| broadcast_content(x, s).zip(broadcast_content(y, s)));
        let content = contents.and_then(|contents| match contents {
            (Content::Ints(x), Content::Ints(y)) => {
                let powers = x.iter().zip(&*y).map(|(x, y)| int_power(x, y));
                powers.collect::<Option<Vec<Dim>>>().map(Content::from)
            }
            (Content::Floats(x), Content::Floats(y)) => {
                let powers = x.iter().zip(&*y).map(|(x, y)| float_power(*x, *y));
                powers.collect::<Option<Vec<f64>>>().map(Content::from)
            }
            _ => None,
        });
        Ok(vec![Fact { element_type: x.element_type, shape, content: None }.with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, y) = (args.tensor(0)?, args.tensor(1)?);
        let power = match (x.f_is_floating_point()?, y.f_is_floating_point()?) {
            (true, _) => match scalar_exponent(args) {
                Some(exponent) if y.dim() <= x.dim() && !y.requires_grad() => x.f_pow_tensor_scalar(exponent)?,
                _ => x.f_pow(&y.f_to_kind(x.f_kind()?)?)?,
            },
            (false, true) => x.f_to_kind(Kind::Double)?.f_pow(&y.f_to_kind(Kind::Double)?)?,
            (false, false) => x.f_pow(y)?,
        };
        Ok(vec![super::shared::promote(args, 0, power)?])
    }
}

/// The exponent, if it is one known number: libtorch then squares instead of taking a power.
#[cfg(feature = "torch")]
fn scalar_exponent(args: &Args) -> Option<f64> {
    match args.inputs.get(1)?.content.as_ref()? {
        Content::Floats(v) if v.len() == 1 => v.first().copied(),
        Content::Ints(v) if v.len() == 1 => v.first()?.known().map(|n| n as f64),
        _ => None,
    }
}
