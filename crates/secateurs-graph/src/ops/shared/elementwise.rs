//! Ops that work element by element.

use crate::dim::Dim;
use crate::fact::{Content, Fact, MAX_CONTENT};
use crate::op::{Inputs, OpError, broadcast};
use secateurs_onnx::ElementType;
#[cfg(feature = "torch")]
use secateurs_torch::tch::Kind;

/// Defines an op of one input and no attributes that works element by element.
///
/// `eval` maps a tensor to a tensor. `output: Bool` makes the outputs booleans. `ints`, if given, maps a known integer;
/// `floats` a known float.
macro_rules! unary_op {
    (
        $(#[$doc:meta])* $op:ident, since: $since:expr,
        eval: $eval:expr
        $(, annihilates: $annihilates:expr)? $(, mixed: $mixed:ident)? $(, output: $output:ident)? $(, ints: $ints:expr)? $(, floats: $floats:expr)?,
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
                let fact = inputs.fact(0)?;
                #[allow(unused_mut, unused_assignments)]
                let mut element_type = fact.element_type;
                $(element_type = Some(ElementType::$output);)?
                #[allow(unused_mut)]
                let mut content: Option<Content> = None;
                $(if let Some(ints) = fact.ints() {
                    let map: fn(&Dim) -> Option<Dim> = $ints;
                    content = ints.iter().map(map).collect::<Option<Vec<_>>>().map(Content::from);
                })?
                $(if let Some(floats) = fact.floats() {
                    let map: fn(f64) -> f64 = $floats;
                    content = Some(Content::from(floats.iter().map(|&x| map(x)).collect::<Vec<_>>()));
                })?
                Ok(vec![Fact { element_type, shape: fact.shape.clone(), content: None }.with_content(content)])
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                AxisMap::elementwise(inputs.facts, &outputs[0])
            }

            $(fn mixed(&self) -> Mixed {
                Mixed::$mixed
            })?

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let eval: fn(&Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                Ok(vec![super::shared::promote(args, 0, eval(args.tensor(0)?)?)?])
            }
        }
    };
}

/// Defines an op of two inputs, broadcast to one output, without attributes.
///
/// `output: Bool` makes the outputs booleans. `ints` and `floats`, if given, compute known contents.
macro_rules! binary_op {
    (
        $(#[$doc:meta])* $op:ident, since: $since:expr,
        eval: $eval:expr
        $(, annihilates: $annihilates:expr)? $(, mixed: $mixed:ident)? $(, output: $output:ident)? $(, ints: $ints:expr)? $(, floats: $floats:expr)?,
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
                #[allow(unused_mut, unused_assignments)]
                let mut fact = super::shared::binary_infer(inputs)?;
                $(fact.element_type = Some(ElementType::$output);)?
                #[allow(unused_mut)]
                let mut content: Option<Content> = None;
                $(content = content.or_else(|| {
                    let map: fn(&Dim, &Dim) -> Option<Dim> = $ints;
                    super::shared::binary_content(inputs, &fact, Fact::ints, map)
                });)?
                $(content = content.or_else(|| {
                    let map: fn(&f64, &f64) -> Option<_> = $floats;
                    super::shared::binary_content(inputs, &fact, Fact::floats, map)
                });)?
                Ok(vec![fact.with_content(content)])
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                AxisMap::elementwise(inputs.facts, &outputs[0])
            }

            $(fn annihilates(&self) -> &'static [(usize, usize)] {
                $annihilates
            })?

            $(fn mixed(&self) -> Mixed {
                Mixed::$mixed
            })?

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let eval: fn(&Tensor, &Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                Ok(vec![super::shared::promote(args, 0, eval(args.tensor(0)?, args.tensor(1)?)?)?])
            }
        }
    };
}

/// The fact of two inputs that broadcast; their element types must agree.
pub(in crate::ops) fn binary_infer(inputs: &Inputs) -> Result<Fact, OpError> {
    let element_type = common_type(inputs)?;
    match (&inputs.fact(0)?.shape, &inputs.fact(1)?.shape) {
        (Some(a), Some(b)) => Ok(Fact::of(element_type, broadcast(&[a, b])?)),
        _ => Ok(Fact { element_type, shape: None, content: None }),
    }
}

fn common_type(inputs: &Inputs) -> Result<Option<ElementType>, OpError> {
    let (a, b) = (inputs.element_type(0)?, inputs.element_type(1)?);
    match (a, b) {
        (Some(x), Some(y)) if x != y => {
            Err(OpError::Invalid(format!("its inputs have the element types {x} and {y}; they must agree")))
        }
        _ => Ok(a.or(b)),
    }
}

/// Known contents of two broadcast inputs, combined element by element.
pub(in crate::ops) fn binary_content<T, U>(
    inputs: &Inputs,
    output: &Fact,
    read: fn(&Fact) -> Option<&[T]>,
    combine: fn(&T, &T) -> Option<U>,
) -> Option<Content>
where
    Content: From<Vec<U>>,
{
    let shape = output.known_shape()?;
    let count: i64 = shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d))?;
    if count > MAX_CONTENT as i64 {
        return None;
    }
    let (a, b) = (inputs.get(0)?, inputs.get(1)?);
    let (x, y) = (read(a)?, read(b)?);
    let (at_a, at_b) =
        (broadcast_index(&a.known_shape()?, &shape), broadcast_index(&b.known_shape()?, &shape));
    let combined = at_a.into_iter().zip(at_b).map(|(i, j)| combine(x.get(i)?, y.get(j)?));
    Some(Content::from(combined.collect::<Option<Vec<U>>>()?))
}

/// For each element of `to`, the flat index of the element of `from` that broadcasts there.
pub(in crate::ops) fn broadcast_index(from: &[i64], to: &[i64]) -> Vec<usize> {
    let count: i64 = to.iter().product();
    let skipped = to.len().saturating_sub(from.len());
    (0..count)
        .map(|flat| {
            let (mut rest, mut index, mut stride) = (flat, 0, 1);
            for axis in (0..to.len()).rev() {
                let at = rest % to[axis];
                rest /= to[axis];
                if axis >= skipped {
                    let size = from[axis - skipped];
                    if size != 1 {
                        index += at * stride;
                    }
                    stride *= size;
                }
            }
            index as usize
        })
        .collect()
}

/// libtorch promotes mixed kinds; ONNX has none, so the result gets the kind that inference says, unless the session mixes
/// precisions.
#[cfg(feature = "torch")]
pub(in crate::ops) fn promote(
    args: &crate::op::Args,
    output: usize,
    tensor: secateurs_torch::tch::Tensor,
) -> Result<secateurs_torch::tch::Tensor, OpError> {
    match args.outputs.get(output).and_then(|f| f.element_type) {
        Some(ElementType::Float32) if args.floats.mixed && tensor.f_kind()? == Kind::BFloat16 => Ok(tensor),
        Some(element_type) => Ok(tensor.f_to_kind(args.kind(element_type)?)?),
        None => Ok(tensor),
    }
}

/// The quotient of known integers as ONNX defines it: towards zero.
pub(in crate::ops) fn truncated_quotient(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (_, Some(0)) => None,
        (Some(a), Some(b)) => a.checked_div(b).map(Dim::from),
        (_, Some(negative)) if negative < 0 => a.divide_exactly(b),
        // Sizes are not negative.
        _ => Some(a.floor_div(b)),
    }
}

/// A sum with what may be absent.
#[cfg(feature = "torch")]
pub(in crate::ops) fn plus(
    x: &secateurs_torch::tch::Tensor,
    other: Option<&secateurs_torch::tch::Tensor>,
) -> Result<secateurs_torch::tch::Tensor, OpError> {
    Ok(other.map_or_else(|| Ok(x.shallow_clone()), |other| x.f_add(other))?)
}
