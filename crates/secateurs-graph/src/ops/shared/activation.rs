//! Activations: ops of one input, element by element, with float attributes.

#[cfg(feature = "torch")]
use secateurs_torch::tch::{TchError, Tensor};

/// Defines an op of one input that works element by element, with float attributes and their defaults.
///
/// `eval` maps the op and a tensor to a tensor.
macro_rules! activation_op {
    (
        $(#[$doc:meta])* $op:ident { $($attribute:ident: $default:expr),+ }, since: $since:expr,
        $(domain: $domain:expr,)?
        eval: $eval:expr,
        cases: $cases:expr $(,)?
    ) => {
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            $($attribute: f32,)+
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            $(const DOMAIN: &'static str = $domain;)?
            const SINCE: &'static [i64] = &$since;

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op { $($attribute: attributes.float_or(stringify!($attribute), $default)?,)+ })
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
                let all = [$((stringify!($attribute), self.$attribute, $default),)+];
                let given = all.into_iter().filter(|(_, value, default)| value != default);
                given.map(|(name, value, _)| (name, value.into())).collect()
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
                let eval: fn(&$op, &Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                Ok(vec![super::shared::promote(args, 0, eval(self, args.tensor(0)?)?)?])
            }
        }
    };
}

/// `max(x, 0) + scale · (exp(min(x, 0) / divisor) − 1)`, whose gradient is finite for every `x`.
#[cfg(feature = "torch")]
pub(in crate::ops) fn exponential_unit(x: &Tensor, scale: f32, divisor: f32) -> Result<Tensor, TchError> {
    let below = x.f_clamp_max(0.0)?.f_div_scalar(f64::from(divisor))?.f_expm1()?;
    x.f_relu()?.f_add(&below.f_mul_scalar(f64::from(scale))?)
}

/// `x · sigmoid(alpha · x)`.
#[cfg(feature = "torch")]
pub(in crate::ops) fn swish(x: &Tensor, alpha: f32) -> Result<Tensor, TchError> {
    if alpha == 1.0 {
        return x.f_silu();
    }
    x.f_mul(&x.f_mul_scalar(f64::from(alpha))?.f_sigmoid()?)
}
