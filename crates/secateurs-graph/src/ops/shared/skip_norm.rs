//! Normalization of a sum along the last axis: `SkipLayerNormalization` and its simplified form.

use crate::axes::{AxisMap, Role, unit_axis};
use crate::fact::Fact;
use crate::op::Inputs;

/// x: [n, h], others broadcast to it → y and the sum like x, statistics [n, 1]; `h` is mixed, for this reason.
pub(in crate::ops) fn axis_map(inputs: &Inputs, outputs: &[Fact], reason: &'static str) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), outputs.len());
    let Ok(shape) = inputs.shape(0) else { return map };
    let last = shape.len().saturating_sub(1);
    let role = |i| if i == last { Role::Mixed(reason) } else { Role::Free };
    let axes: Vec<_> = shape.iter().enumerate().map(|(i, size)| map.axis(size, role(i))).collect();
    for (i, fact) in inputs.facts.iter().enumerate() {
        let Some(own) = fact.and_then(|fact| fact.shape.as_deref()) else { continue };
        let aligned = axes[shape.len().saturating_sub(own.len())..].iter().zip(own);
        map.inputs[i] =
            Some(aligned.map(|(axis, size)| if size.is(1) { unit_axis() } else { axis.clone() }).collect());
    }
    let mut statistic = axes.clone();
    statistic[last] = unit_axis();
    for (i, output) in map.outputs.iter_mut().enumerate() {
        *output = Some(if matches!(i, 1 | 2) { statistic.clone() } else { axes.clone() });
    }
    map
}

/// Defines one of the two ops. `norm` gives y, mean and 1/σ of the sum.
macro_rules! skip_norm_op {
    (
        $(#[$doc:meta])* $op:ident, bias: $bias:expr, reason: $reason:expr,
        norm: |$x:ident, $args:ident, $epsilon:ident| $norm:expr,
        cases: $cases:expr $(,)?
    ) => {
        use super::shared::{MICROSOFT, skip_norm};
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            epsilon: f32,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const DOMAIN: &'static str = MICROSOFT;
            const SINCE: &'static [i64] = &[1];

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op { epsilon: attributes.float_or("epsilon", 1e-12)? })
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                $cases
            }
        }

        impl Op for $op {
            fn name(&self) -> &str {
                Self::NAME
            }

            fn domain(&self) -> &str {
                Self::DOMAIN
            }

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                if self.epsilon == 1e-12 { Vec::new() } else { vec![("epsilon", self.epsilon.into())] }
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                let (x, shape) = (Fact { content: None, ..inputs.fact(0)?.clone() }, inputs.shape(0)?);
                let Some((_, rows)) = shape.split_last() else {
                    return Err(OpError::invalid("the input is a scalar; it needs an axis to normalize"));
                };
                let statistic = Fact::new(ElementType::Float32, [rows, &[1.into()]].concat());
                let all = [x.clone(), statistic.clone(), statistic, x];
                Ok(all.into_iter().take(inputs.outputs).collect())
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                skip_norm::axis_map(inputs, outputs, $reason)
            }

            fn role(&self, input: usize) -> InputRole {
                if input < 2 { InputRole::Data } else { InputRole::Parameter }
            }

            fn initial(&self, input: usize, _: &Inputs) -> Initial {
                match input {
                    0 | 1 => Initial::Keep,
                    2 => Initial::Constant(1.0),
                    _ => Initial::Constant(0.0),
                }
            }

            #[cfg(feature = "torch")]
            fn eval(&self, $args: &Args) -> Result<Vec<Tensor>, OpError> {
                let $x = $args.tensor(0)?.f_add($args.tensor(1)?)?;
                let $x = super::shared::plus(&$x, $args.get($bias))?;
                let $epsilon = f64::from(self.epsilon);
                let (y, mean, deviation) = $norm;
                let all = [y, mean, deviation, $x].into_iter().take($args.outputs.len()).enumerate();
                all.map(|(i, tensor)| super::shared::promote($args, i, tensor)).collect()
            }
        }
    };
}
