//! `Mod`: the remainder of a division, with broadcasting. ONNX opset 10, 13, 28.
//!
//! The quotient is rounded down (the result has the sign of the divisor), or towards zero with `fmod`.

use super::shared::{binary_content, binary_infer, known};
use crate::op::prelude::*;

/// `Mod`.
#[derive(Clone, Debug)]
pub struct Mod {
    fmod: bool,
}

impl Register for Mod {
    const NAME: &'static str = "Mod";
    const SINCE: &'static [i64] = &[10, 13, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Mod { fmod: attributes.flag("fmod", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).ints([2, 3, 4], -9..9).ints([3, 1], 1..9),
            Case::new(10).ints([4], -9..9).int_values(&[-4]),
            Case::new(13).ints([4], -9..9).int_values(&[-4]).attr("fmod", 1i64),
            Case::new(13).float([2, 3, 4]).float_in([4], 0.5, 2.0).attr("fmod", 1i64),
            Case::new(28).float([2, 3]).float_in([3], 0.5, 2.0),
            Case::new(13).int_values(&[7, -7, 7, -7]).int_values(&[3, 3, -3, -3]),
            Case::new(13).int_values(&[7, -7, 7, -7]).int_values(&[3, 3, -3, -3]).attr("fmod", 1i64),
        ]
    }
}

fn floored(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (_, Some(0)) => None,
        (Some(a), Some(b)) => {
            let rest = a.checked_rem(b)?;
            Some(Dim::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        _ => Some(a.clone() - a.floor_div(b) * b.clone()),
    }
}

fn truncated(a: &Dim, b: &Dim) -> Option<Dim> {
    known(a, b, i64::checked_rem)
}

impl Op for Mod {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.fmod { vec![("fmod", true.into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = binary_infer(inputs)?;
        let content = binary_content(inputs, &fact, Fact::ints, if self.fmod { truncated } else { floored });
        Ok(vec![fact.with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (a, b) = (args.tensor(0)?, args.tensor(1)?);
        let rest = if self.fmod { a.f_fmod_tensor(b)? } else { a.f_remainder_tensor(b)? };
        Ok(vec![super::shared::promote(args, 0, rest)?])
    }
}
