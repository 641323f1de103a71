//! Reductions over axes: what the ten `Reduce…` ops have in common.
//!
//! The axes are an attribute in older opsets and an input since 18 (`ReduceSum`: 13). No axes means all of them, or with
//! `noop_with_empty_axes` none.

use crate::attribute::{Attribute, Attributes};
use crate::axes::{AxisMap, Role, unit_axis};
use crate::dim::Dim;
use crate::fact::{Content, Fact, Shape};
use crate::op::{Inputs, OpError, normalize_axes};
use secateurs_onnx::ElementType;
#[cfg(feature = "torch")]
use secateurs_torch::tch::{Kind, TchError, Tensor};

/// Which axes are reduced, and whether they stay with size 1.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Reduction {
    axes: Option<Vec<i64>>,
    keepdims: bool,
    noop_with_empty_axes: bool,
}

impl Reduction {
    pub fn parse(attributes: &mut Attributes) -> Result<Reduction, OpError> {
        Ok(Reduction {
            axes: attributes.ints("axes")?,
            keepdims: attributes.flag("keepdims", true)?,
            noop_with_empty_axes: attributes.flag("noop_with_empty_axes", false)?,
        })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if let Some(axes) = &self.axes {
            list.push(("axes", axes.clone().into()));
        }
        if !self.keepdims {
            list.push(("keepdims", false.into()));
        }
        if self.noop_with_empty_axes {
            list.push(("noop_with_empty_axes", true.into()));
        }
        list
    }

    /// The reduced axes, ascending.
    fn axes(&self, inputs: &Inputs, rank: usize) -> Result<Vec<usize>, OpError> {
        let given = match inputs.get(1) {
            Some(_) => Some(inputs.ints(1)?),
            None => self.axes.clone(),
        };
        self.resolve(given, rank)
    }

    fn resolve(&self, given: Option<Vec<i64>>, rank: usize) -> Result<Vec<usize>, OpError> {
        match given {
            Some(axes) if !axes.is_empty() => normalize_axes(&axes, rank),
            _ if self.noop_with_empty_axes => Ok(Vec::new()),
            _ => Ok((0..rank).collect()),
        }
    }

    /// `fold`, if given, combines known integers.
    pub fn infer(&self, inputs: &Inputs, fold: Option<fn(&Dim, &Dim) -> Dim>) -> Result<Vec<Fact>, OpError> {
        let (input, shape) = (inputs.fact(0)?, inputs.shape(0)?);
        let axes = self.axes(inputs, shape.len())?;
        let mut reduced = Shape::new();
        for (axis, dim) in shape.iter().enumerate() {
            match axes.contains(&axis) {
                false => reduced.push(dim.clone()),
                true if self.keepdims => reduced.push(1.into()),
                true => {}
            }
        }
        // Narrower integers wrap around.
        let wide =
            matches!(input.element_type, Some(ElementType::Int32 | ElementType::Int64 | ElementType::Bool));
        let content = fold.filter(|_| wide).and_then(|fold| content(input, &axes, fold));
        Ok(vec![Fact::of(input.element_type, reduced).with_content(content)])
    }

    /// `x: [a, b, c] → [a, 1, c]`, where `b` has the role `role`.
    pub fn axis_map(&self, inputs: &Inputs, outputs: &[Fact], role: Role) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(reduced) = self.axes(inputs, shape.len()) else {
            return AxisMap::blocked(inputs.facts, outputs, "a reduction over axes only a run can tell");
        };
        // The quotient of integers is rounded, so that no factor makes up for another divisor.
        let floating = inputs.get(0).and_then(|f| f.element_type).is_some_and(|t| t.is_float());
        let role = match role {
            Role::Averaged if !floating => Role::Blocked("a mean of integers"),
            role => role,
        };
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for (axis, dim) in shape.iter().enumerate() {
            let over = reduced.contains(&axis);
            let mapped = map.axis(dim, if over { role.clone() } else { Role::Free });
            match over {
                false => output.push(mapped.clone()),
                true if self.keepdims => output.push(unit_axis()),
                true => {}
            }
            input.push(mapped);
        }
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    /// `reduce` is given the tensor, the axes and whether they stay.
    #[cfg(feature = "torch")]
    pub fn eval(
        &self,
        args: &crate::op::Args,
        reduce: fn(&Tensor, &[i64], bool) -> Result<Tensor, TchError>,
    ) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let given = match args.get(1) {
            Some(_) => Some(args.ints(1)?),
            None => self.axes.clone(),
        };
        let axes: Vec<i64> = self.resolve(given, x.dim())?.into_iter().map(|a| a as i64).collect();
        // libtorch takes no axes for all of them.
        let y = match axes.is_empty() {
            true => reduce(&x.f_unsqueeze(0)?, &[0], false)?,
            false => reduce(x, &axes, self.keepdims)?,
        };
        Ok(vec![super::promote(args, 0, y)?])
    }
}

fn content(input: &Fact, axes: &[usize], fold: fn(&Dim, &Dim) -> Dim) -> Option<Content> {
    let (ints, shape) = (input.ints()?, input.known_shape()?);
    if ints.is_empty() {
        return None;
    }
    let kept: i64 = (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).product();
    let mut reduced: Vec<Option<Dim>> = vec![None; usize::try_from(kept).ok()?];
    for (flat, value) in (0i64..).zip(ints) {
        let (mut rest, mut at, mut stride) = (flat, 0, 1);
        for axis in (0..shape.len()).rev() {
            if !axes.contains(&axis) {
                at += stride * (rest % shape[axis]);
                stride *= shape[axis];
            }
            rest /= shape[axis];
        }
        let slot = &mut reduced[at as usize];
        *slot = Some(slot.as_ref().map_or_else(|| value.clone(), |so_far| fold(so_far, value)));
    }
    reduced.into_iter().collect::<Option<Vec<Dim>>>().map(Content::from)
}

/// Integers as 64-bit floats, for reductions that leave the integers on their way.
#[cfg(feature = "torch")]
pub(in crate::ops) fn as_float(x: &Tensor) -> Result<Tensor, TchError> {
    match x.f_kind()? {
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => Ok(x.shallow_clone()),
        _ => x.f_to_kind(Kind::Double),
    }
}

/// The largest or smallest elements; over no elements the least, or greatest, value of the kind.
#[cfg(feature = "torch")]
pub(in crate::ops) fn extremum(
    x: &Tensor,
    axes: &[i64],
    keepdims: bool,
    largest: bool,
) -> Result<Tensor, TchError> {
    use secateurs_torch::tch::Scalar;
    let mut shape = x.size();
    if axes.iter().all(|&a| shape[a as usize] > 0) {
        return if largest { x.f_amax(axes, keepdims) } else { x.f_amin(axes, keepdims) };
    }
    for &axis in axes.iter().rev() {
        match keepdims {
            true => shape[axis as usize] = 1,
            false => drop(shape.remove(axis as usize)),
        }
    }
    let kind = x.f_kind()?;
    let (least, greatest) = match kind {
        Kind::Bool => (0, 1),
        Kind::Uint8 => (0, u8::MAX.into()),
        Kind::Int8 => (i8::MIN.into(), i8::MAX.into()),
        Kind::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Kind::Int => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let identity = match kind {
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => {
            Scalar::float(if largest { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        _ => Scalar::int(if largest { least } else { greatest }),
    };
    Tensor::f_full(shape, identity, (kind, x.device()))
}

/// Defines a reduction.
///
/// `over` is the role of the reduced axes, `ints` combines two known integers, `eval` takes the tensor, the axes and
/// whether they stay.
macro_rules! reduce_op {
    (
        $(#[$doc:meta])* $op:ident, since: $since:expr, over: $role:expr, eval: $eval:expr
        $(, ints: $ints:expr)?, cases: $cases:expr $(,)?
    ) => {
        use super::shared::reduce::Reduction;
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            reduction: Reduction,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &$since;

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op { reduction: Reduction::parse(attributes)? })
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
                self.reduction.attributes()
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                #[allow(unused_mut, unused_assignments)]
                let mut fold: Option<fn(&Dim, &Dim) -> Dim> = None;
                $(fold = Some($ints);)?
                self.reduction.infer(inputs, fold)
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                self.reduction.axis_map(inputs, outputs, $role)
            }

            fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
                Ok(Shrunk::default().scaled(kept.averaged_share()))
            }

            fn role(&self, input: usize) -> InputRole {
                if input == 0 { InputRole::Data } else { InputRole::Control }
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                self.reduction.eval(args, $eval)
            }
        }
    };
}

/// Cases that every reduction since opset 18 is tried with.
#[cfg(any(test, feature = "harness"))]
pub(in crate::ops) fn cases(low: f32, high: f32) -> Vec<crate::harness::Case> {
    let case = |opset: i64| crate::harness::Case::new(opset).float_in([2, 3, 4], low, high);
    vec![
        case(11).attr("axes", vec![1i64]),
        case(11).attr("axes", vec![-1i64, 0]).attr("keepdims", 0i64),
        case(13),
        case(18).int_values(&[1, -1]),
        case(18).int_values(&[0]).attr("keepdims", 0i64),
        case(18).attr("noop_with_empty_axes", 1i64),
        case(18).int_values(&[]),
    ]
}
