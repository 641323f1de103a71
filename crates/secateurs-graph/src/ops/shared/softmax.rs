//! What Softmax, LogSoftmax and Hardmax have in common: an axis, which before opset 13 stood for itself and all after it.

use crate::attribute::{Attribute, Attributes};
use crate::axes::{AxisMap, Role};
use crate::fact::Fact;
use crate::op::{Inputs, OpError, ParseContext, normalize_axis};
#[cfg(feature = "torch")]
use secateurs_torch::tch::{TchError, Tensor};

/// The axis that is normalized.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Softened {
    axis: i64,
    /// All axes from `axis` on are normalized together (before opset 13).
    to_end: bool,
}

impl Softened {
    pub fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Softened, OpError> {
        let to_end = cx.opset < 13;
        Ok(Softened { axis: attributes.int_or("axis", default(to_end))?, to_end })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == default(self.to_end) { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    pub fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        if let Some(rank) = fact.rank() {
            self.first(rank)?;
        }
        Ok(vec![Fact { content: None, ..fact.clone() }])
    }

    /// The first normalized axis. Before opset 13 the axis may be the rank itself: rows of one element.
    fn first(&self, rank: usize) -> Result<usize, OpError> {
        match rank {
            _ if self.to_end && usize::try_from(self.axis) == Ok(rank) => Ok(rank),
            // A scalar counts as a list of one.
            0 => normalize_axis(self.axis, 1),
            _ => normalize_axis(self.axis, rank),
        }
    }

    pub fn axis_map(&self, inputs: &Inputs, reason: &'static str) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(first) = self.first(shape.len()) else { return map };
        let mixed = |axis: usize| axis == first || (self.to_end && axis > first);
        let axes = (0..shape.len())
            .map(|i| map.axis(&shape[i], if mixed(i) { Role::Mixed(reason) } else { Role::Free }))
            .collect::<Vec<_>>();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    /// `apply` works along one axis.
    #[cfg(feature = "torch")]
    pub fn eval(
        &self,
        x: &Tensor,
        apply: fn(&Tensor, i64) -> Result<Tensor, TchError>,
    ) -> Result<Vec<Tensor>, OpError> {
        let shape = x.size();
        let first = self.first(shape.len())?;
        let y = if self.to_end && first + 1 != shape.len() {
            let rows: i64 = shape.iter().take(first).product();
            let length: i64 = shape.iter().skip(first).product();
            apply(&x.f_reshape([rows, length])?, 1)?.f_reshape(shape)?
        } else {
            apply(x, first as i64)?
        };
        Ok(vec![y])
    }
}

fn default(to_end: bool) -> i64 {
    if to_end { 1 } else { -1 }
}

/// Defines an op that normalizes along an axis; `eval` takes a tensor and one axis.
macro_rules! softmax_op {
    ($(#[$doc:meta])* $op:ident, mixes: $reason:expr, eval: $eval:expr $(,)?) => {
        use super::shared::softmax::Softened;
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            over: Softened,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &[1, 11, 13];

            fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
                Ok($op { over: Softened::parse(attributes, cx)? })
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                let case = |opset| Case::new(opset).float([2, 3, 4]);
                vec![
                    case(13),
                    case(13).attr("axis", 1i64),
                    case(13).attr("axis", -3i64),
                    case(11),
                    case(11).attr("axis", -1i64),
                    case(9).attr("axis", 0i64),
                    Case::new(9).float([4, 5]),
                    Case::new(13).float([]).without_runtime(),
                ]
            }
        }

        impl Op for $op {
            fn name(&self) -> &str {
                Self::NAME
            }

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                self.over.attributes()
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                self.over.infer(inputs)
            }

            fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
                self.over.axis_map(inputs, $reason)
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                self.over.eval(args.tensor(0)?, $eval)
            }
        }
    };
}
