//! `SimplifiedLayerNormalization`: division by the root mean square over the last axes. ONNX Runtime's, in ONNX's own domain.
//!
//! x: [a, …, c, …], scale broadcasts to it → y like x, of the scale's type, and on request 1/rms: [a, …, 1, …].

use super::shared::trailing_norm::TrailingNorm;
use crate::op::prelude::*;
use crate::shrink::Scale;

/// `SimplifiedLayerNormalization`.
#[derive(Clone, Debug)]
pub struct SimplifiedLayerNormalization {
    norm: TrailingNorm,
}

impl Register for SimplifiedLayerNormalization {
    const NAME: &'static str = "SimplifiedLayerNormalization";
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(SimplifiedLayerNormalization { norm: TrailingNorm::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(17).float([2, 3, 5]);
        vec![
            case().param([5]),
            case().param([3, 5]).attr("axis", 1i64).attr("epsilon", 0.01f32).outputs(2).without_runtime(),
        ]
    }
}

impl Op for SimplifiedLayerNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.norm.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let y = Fact { element_type: inputs.element_type(1)?, ..self.norm.infer(inputs)? };
        let shape = inputs.shape(0)?;
        let first = self.norm.first(shape.len())?;
        let reduced = shape.iter().enumerate().map(|(i, d)| if i < first { d.clone() } else { 1.into() });
        let statistic = Fact::of(self.norm.stash_type(), reduced.collect());
        Ok([y, statistic].into_iter().take(inputs.outputs).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        // What is given out besides depends on how many indices there are.
        let role = if is_wanted(outputs, 1) { Role::Mixed("a root mean square that is read") } else { Role::Averaged };
        self.norm.axis_map(inputs, outputs, role)
    }

    /// With m of n indices kept, x / √(Σx²/n + ε) is √(n/m) · x / √(Σx²/m + ε·n/m).
    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        if is_wanted(kept.outputs, 1) {
            return Ok(Shrunk::default());
        }
        let growth = 1.0 / kept.averaged_share().factor();
        let norm = self.norm.with_epsilon(self.norm.epsilon() * growth);
        let scale = Scale { times: growth.sqrt(), over: 1.0, into: Some(1) };
        Ok(Shrunk::op(SimplifiedLayerNormalization { norm }).scaled(scale))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        if input == 1 { Initial::Constant(1.0) } else { Initial::Keep }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, scale) = (args.tensor(0)?, args.tensor(1)?);
        let axes: Vec<i64> = (self.norm.first(x.dim())?..x.dim()).map(|axis| axis as i64).collect();
        let square = x.f_to_kind(args.floats.single)?.f_square()?.f_mean_dim(&axes[..], true, None)?;
        let inverse = square.f_add_scalar(self.norm.epsilon())?.f_rsqrt()?;
        let y = x.f_mul(&inverse)?.f_mul(scale)?;
        let all = [y, inverse].into_iter().take(args.outputs.len()).enumerate();
        all.map(|(i, tensor)| super::shared::promote(args, i, tensor)).collect()
    }
}
