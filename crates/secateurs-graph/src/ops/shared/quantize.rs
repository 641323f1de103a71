//! Integers that stand for real numbers: real = (integer − zero point) · scale.

use crate::axes::{AxisMap, Role, unit_axis};
use crate::fact::Fact;
use crate::op::{Inputs, OpError, normalize_axis};
#[cfg(feature = "torch")]
use secateurs_onnx::ElementType;
#[cfg(feature = "torch")]
use secateurs_torch::tch::{Kind, Tensor};

use crate::attribute::{Attribute, Attributes};

/// Along which axis scales differ, and how many neighbours share one (0: all of an index).
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Granularity {
    axis: i64,
    block_size: i64,
}

impl Granularity {
    pub fn parse(attributes: &mut Attributes) -> Result<Granularity, OpError> {
        let block_size = attributes.int_or("block_size", 0)?;
        if block_size < 0 {
            return Err(OpError::Invalid(format!("block_size is {block_size}; it must be 0 or more")));
        }
        Ok(Granularity { axis: attributes.int_or("axis", 1)?, block_size })
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let all = [("axis", self.axis, 1), ("block_size", self.block_size, 0)];
        all.into_iter().filter(|(_, n, default)| n != default).map(|(name, n, _)| (name, n.into())).collect()
    }

    /// Element by element, with scales and zero points (inputs 1 and 2) along their axis.
    pub fn axis_map(&self, inputs: &Inputs) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let axis = normalize_axis(self.axis, shape.len()).ok();
        let blocked = self.block_size > 0;
        let role = |i| match blocked && Some(i) == axis {
            true => Role::Blocked("blocks that share a scale"),
            false => Role::Free,
        };
        let axes: Vec<_> = shape.iter().enumerate().map(|(i, size)| map.axis(size, role(i))).collect();
        for i in 1..inputs.len().min(3) {
            let Some(own) = inputs.get(i).and_then(|fact| fact.shape.as_deref()) else { continue };
            map.inputs[i] = match (own, axis) {
                ([], _) => Some(Vec::new()),
                ([one], _) if one.is(1) => Some(vec![unit_axis()]),
                ([_], Some(axis)) if !blocked => Some(vec![axes[axis].clone()]),
                _ if own.len() == axes.len() => {
                    let mut own_axes = axes.clone();
                    if let (Some(at), true) = (axis, blocked) {
                        own_axes[at] = map.axis(&own[at], Role::Blocked("blocks that share a scale"));
                    }
                    Some(own_axes)
                }
                _ => inputs.get(i).and_then(|fact| map.blocked_axes(fact, "scales of another rank")),
            };
        }
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    /// Scales or zero points, broadcast to x.
    #[cfg(feature = "torch")]
    pub fn spread(&self, parameter: &Tensor, x: &Tensor) -> Result<Tensor, OpError> {
        if parameter.numel() == 1 {
            return Ok(parameter.f_reshape([0i64; 0])?);
        }
        let axis = normalize_axis(self.axis, x.dim())?;
        if self.block_size > 0 {
            let repeated = parameter.f_repeat_interleave_self_int(self.block_size, axis as i64, None)?;
            return Ok(repeated.f_narrow(axis as i64, 0, x.size()[axis])?);
        }
        Ok(along(parameter, axis, x.dim())?)
    }
}

/// A vector along one axis of `rank`.
#[cfg(feature = "torch")]
pub(in crate::ops) fn along(
    vector: &Tensor,
    axis: usize,
    rank: usize,
) -> Result<Tensor, secateurs_torch::tch::TchError> {
    let shape: Vec<i64> = (0..rank).map(|i| if i == axis { -1 } else { 1 }).collect();
    vector.f_reshape(shape)
}

/// Numbers rounded to integers, ties to even, moved by the zero point, and limited to what an element type holds.
///
/// Where a gradient is wanted the integers stay floating-point numbers, and it passes straight through the rounding, as in training
/// that is aware of quantization; beyond the limits it is zero.
#[cfg(feature = "torch")]
pub(in crate::ops) fn quantized(
    steps: &Tensor,
    zero_point: Option<&Tensor>,
    element_type: ElementType,
) -> Result<Tensor, OpError> {
    let unsupported = || OpError::Unsupported(format!("quantization to {element_type}"));
    let kind = crate::session::kind_of(element_type).filter(|_| element_type.is_integer());
    let (kind, bits) = kind.zip(element_type.bits().filter(|bits| *bits <= 16)).ok_or_else(unsupported)?;
    let signed = matches!(
        element_type,
        ElementType::Int2 | ElementType::Int4 | ElementType::Int8 | ElementType::Int16
    );
    let low = if signed { -(1i64 << (bits - 1)) } else { 0 };
    let high = low + (1i64 << bits) - 1;
    let limited = |steps: &Tensor| match zero_point {
        Some(zero_point) => steps.f_add(&zero_point.f_to_kind(steps.f_kind()?)?)?.f_clamp(low, high),
        None => steps.f_clamp(low, high),
    };
    let integers = limited(&steps.f_detach()?.f_round()?)?;
    if !steps.requires_grad() {
        return Ok(integers.f_to_kind(kind)?);
    }
    let smooth = limited(steps)?;
    Ok(smooth.f_add(&integers.f_sub(&smooth.f_detach()?)?)?)
}

/// Numbers as uint8 by their own range, with their scale and zero point.
#[cfg(feature = "torch")]
pub(in crate::ops) fn by_range(x: &Tensor) -> Result<[Tensor; 3], OpError> {
    let (low, high) = (x.f_min()?.f_clamp_max(0.0)?, x.f_max()?.f_clamp_min(0.0)?);
    let scale = high.f_sub(&low)?.f_div_scalar(255.0)?;
    // As ONNX Runtime has it where all elements are zero.
    let scale = scale.f_masked_fill(&scale.f_eq(0.0)?, 1.0)?;
    let zero_point = low.f_neg()?.f_div(&scale)?.f_clamp(0.0, 255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
    let y = quantized(&x.f_div(&scale)?, Some(&zero_point), ElementType::Uint8)?;
    Ok([y, scale, zero_point])
}

/// Integers less their zero point, in 64-bit floats, where sums of products of 8-bit numbers are exact.
#[cfg(feature = "torch")]
pub(in crate::ops) fn centred(x: &Tensor, zero_point: Option<&Tensor>) -> Result<Tensor, OpError> {
    let x = x.f_to_kind(Kind::Double)?;
    match zero_point {
        Some(zero_point) => Ok(x.f_sub(&zero_point.f_to_kind(Kind::Double)?)?),
        None => Ok(x),
    }
}

/// A parameter of a matrix that belongs to its rows: a vector gets an axis of one column.
#[cfg(feature = "torch")]
pub(in crate::ops) fn per_row(parameter: &Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> {
    match parameter.dim() {
        1 if parameter.numel() > 1 => parameter.f_unsqueeze(-1),
        1 => parameter.f_reshape([0i64; 0]),
        _ => Ok(parameter.shallow_clone()),
    }
}

/// What quantized convolutions and matrix products say of pruning.
pub(in crate::ops) fn blocked(inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
    AxisMap::blocked(inputs.facts, outputs, "arithmetic on quantized numbers")
}
