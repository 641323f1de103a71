//! Ops of any number of inputs that broadcast to one output.

/// Defines an op without attributes that combines its inputs in order, two at a time.
///
/// `eval` combines two tensors; `ints` and `floats` known contents. `finish`, if given, maps the combination and the
/// number of inputs to the output.
macro_rules! variadic_op {
    (
        $(#[$doc:meta])* $op:ident, since: $since:expr,
        eval: $eval:expr, ints: $ints:expr, floats: $floats:expr
        $(, finish: $finish:expr)?,
        cases: $cases:expr $(,)?
    ) => {
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op;

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &$since;

            fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op)
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

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                Vec::new()
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                Ok(vec![super::shared::variadic_infer(inputs, $ints, $floats)?])
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                AxisMap::elementwise(inputs.facts, &outputs[0])
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let eval: fn(&Tensor, &Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                let mut total = args.tensor(0)?.f_alias()?;
                for i in 1..args.tensors.len() {
                    total = eval(&total, args.tensor(i)?)?;
                }
                $(
                    let finish: fn(&Tensor, i64) -> Result<Tensor, secateurs_torch::tch::TchError> = $finish;
                    let total = finish(&total, args.tensors.len() as i64)?;
                )?
                Ok(vec![super::shared::promote(args, 0, total)?])
            }
        }
    };
}
