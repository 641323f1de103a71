//! `LayerNormalization`: zero mean and unit variance over the last axes. ONNX opset 17.
//!
//! x: [a, …, c, …], scale and bias broadcast to it → y like x, and on request mean and 1/σ: [a, …, 1, …].

use super::shared::trailing_norm::TrailingNorm;
use crate::op::prelude::*;

/// `LayerNormalization`.
#[derive(Clone, Debug)]
pub struct LayerNormalization {
    norm: TrailingNorm,
}

impl Register for LayerNormalization {
    const NAME: &'static str = "LayerNormalization";
    const SINCE: &'static [i64] = &[17];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(LayerNormalization { norm: TrailingNorm::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(17).float([2, 3, 5]);
        vec![
            case().param([5]).param([5]),
            case().param([5]),
            case().param([3, 5]).param([3, 5]).attr("axis", 1i64).attr("epsilon", 0.01f32).outputs(3),
            case().param([1]).param([3, 1]).attr("axis", -2i64),
            case().param([2, 1, 5]).attr("axis", 2i64),
            case().param([5]).attr("stash_type", 1i64).outputs(2),
        ]
    }
}

impl Op for LayerNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.norm.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let y = self.norm.infer(inputs)?;
        let shape = inputs.shape(0)?;
        let first = self.norm.first(shape.len())?;
        let reduced = shape.iter().enumerate().map(|(i, d)| if i < first { d.clone() } else { 1.into() });
        let statistic = Fact::of(self.norm.stash_type(), reduced.collect());
        Ok(vec![y, statistic.clone(), statistic].into_iter().take(inputs.outputs).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.norm.axis_map(inputs, outputs, Role::Mixed("layer normalization"))
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
        let (x, scale, bias) = (args.tensor(0)?, args.tensor(1)?, args.get(2));
        let first = self.norm.first(x.dim())?;
        let shape = x.size().split_off(first);
        let epsilon = self.norm.epsilon();
        // libtorch's kernel takes parameters of exactly the normalized shape.
        let (y, mean, deviation) = if scale.size() == shape && bias.is_none_or(|b| b.size() == shape) {
            x.f_native_layer_norm(&shape, Some(scale), bias, epsilon)?
        } else {
            let (y, mean, deviation) = x.f_native_layer_norm(&shape, None::<&Tensor>, None, epsilon)?;
            let scaled = y.f_mul(scale)?;
            let y = bias.map_or_else(|| Ok(scaled.shallow_clone()), |bias| scaled.f_add(bias))?;
            (y, mean, deviation)
        };
        let mut outputs = vec![y];
        for (i, statistic) in [mean, deviation].into_iter().enumerate().take(args.outputs.len().saturating_sub(1)) {
            outputs.push(super::shared::promote(args, i + 1, statistic)?);
        }
        Ok(outputs)
    }
}
