//! `Gelu`: x · Φ(x), Φ the standard normal distribution. ONNX Runtime, version 1.
//!
//! x: any shape → y like x.

use super::shared::MICROSOFT;
use crate::op::prelude::*;

/// `Gelu`.
#[derive(Clone, Debug)]
pub struct MicrosoftGelu;

impl Register for MicrosoftGelu {
    const NAME: &'static str = "Gelu";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(MicrosoftGelu)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![Case::new(17).float([2, 3, 4])]
    }
}

impl Op for MicrosoftGelu {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact { content: None, ..inputs.fact(0)?.clone() }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        Ok(vec![super::shared::promote(args, 0, x.f_gelu("none")?)?])
    }
}
