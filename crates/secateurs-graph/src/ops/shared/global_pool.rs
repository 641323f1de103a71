//! Pools over all spatial axes: `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`. x: [N, C, D1, …] → y: [N, C, 1, …].

use crate::attribute::Attributes;
use crate::axes::{Axis, AxisMap, Role, unit_axis};
use crate::fact::{Fact, Shape};
use crate::op::{Inputs, OpError};

/// Defines a pool over all spatial axes without attributes. `eval` is given the tensor and the axes.
macro_rules! global_pool {
    ($(#[$doc:meta])* $op:ident, spatial: $role:expr, eval: $eval:expr $(,)?) => {
        use super::shared::global_pool;
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op;

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &[1, 22];

            fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op)
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                global_pool::cases()
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
                Ok(vec![global_pool::infer(inputs)?])
            }

            fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
                global_pool::axes(inputs, $role)
            }

            fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
                Ok(Shrunk::default().scaled(kept.averaged_share()))
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let eval: fn(&Tensor, Vec<i64>) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                let x = args.tensor(0)?;
                Ok(vec![eval(x, (2..x.dim() as i64).collect())?])
            }
        }
    };
}

#[cfg(any(test, feature = "harness"))]
pub(in crate::ops) fn cases() -> Vec<crate::harness::Case> {
    use crate::harness::Case;
    vec![
        Case::new(9).float([2, 3, 4, 5]),
        Case::new(17).float([1, 2, 6]),
        Case::new(11).float([2, 1, 3, 1, 4]),
    ]
}

/// Reads the order of a norm.
pub(in crate::ops) fn parse_p(attributes: &mut Attributes) -> Result<i64, OpError> {
    match attributes.int_or("p", 2)? {
        p if p < 1 => Err(OpError::Invalid(format!("p is {p}; it must be at least 1"))),
        p => Ok(p),
    }
}

pub(in crate::ops) fn infer(inputs: &Inputs) -> Result<Fact, OpError> {
    let x = inputs.shape(0)?;
    if x.len() < 3 {
        return Err(OpError::Invalid(format!("the input has {} axes; there must be 3 or more", x.len())));
    }
    let mut shape: Shape = x[..2].to_vec();
    shape.resize(x.len(), 1.into());
    Ok(Fact::of(inputs.element_type(0)?, shape))
}

/// `x: [n, c, …] → y: [n, c, 1, …]`.
pub(in crate::ops) fn axes(inputs: &Inputs, spatial: Role) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), 1);
    let Ok(x) = inputs.shape(0) else { return map };
    let role = |i: usize| if i < 2 { Role::Free } else { spatial.clone() };
    let axes: Vec<Axis> = x.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
    let pooled = |(i, axis): (usize, &Axis)| if i < 2 { axis.clone() } else { unit_axis() };
    map.outputs[0] = Some(axes.iter().enumerate().map(pooled).collect());
    map.inputs[0] = Some(axes);
    map
}
