//! `RMSNormalization`: division by the root mean square over the last axes. ONNX opset 23.
//!
//! x: [a, …, c, …], scale broadcasts to it → y like x, of the scale's type.

use super::shared::trailing_norm::TrailingNorm;
use crate::op::prelude::*;
use crate::shrink::Scale;

/// `RMSNormalization`.
#[derive(Clone, Debug)]
pub struct RMSNormalization {
    norm: TrailingNorm,
}

impl Register for RMSNormalization {
    const NAME: &'static str = "RMSNormalization";
    const SINCE: &'static [i64] = &[23];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(RMSNormalization { norm: TrailingNorm::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(23).float([2, 3, 5]);
        vec![
            case().param([5]),
            case().param([3, 5]).attr("axis", 1i64).attr("epsilon", 0.01f32),
            case().param([3, 1]).attr("axis", -2i64),
            case().param([]).attr("axis", 0i64).attr("stash_type", 1i64),
        ]
    }
}

impl Op for RMSNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.norm.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact { element_type: inputs.element_type(1)?, ..self.norm.infer(inputs)? }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.norm.axis_map(inputs, outputs, Role::Averaged)
    }

    /// With m of n indices kept, x / √(Σx²/n + ε) is √(n/m) · x / √(Σx²/m + ε·n/m).
    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let growth = 1.0 / kept.averaged_share().factor();
        let norm = self.norm.with_epsilon(self.norm.epsilon() * growth);
        let scale = Scale { times: growth.sqrt(), over: 1.0, into: Some(1) };
        Ok(Shrunk::op(RMSNormalization { norm }).scaled(scale))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            1 => Initial::Constant(1.0),
            2 => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, scale) = (args.tensor(0)?, args.tensor(1)?);
        let shape = x.size().split_off(self.norm.first(x.dim())?);
        let epsilon = self.norm.epsilon();
        // libtorch's kernel takes a scale of exactly the normalized shape and the input's kind.
        let y = if scale.size() == shape && scale.f_kind()? == x.f_kind()? {
            x.f_rms_norm(&shape, Some(scale), epsilon)?
        } else {
            x.f_rms_norm(&shape, None::<&Tensor>, epsilon)?.f_to_kind(scale.f_kind()?)?.f_mul(scale)?
        };
        Ok(vec![y])
    }
}
