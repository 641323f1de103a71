//! Between host tensors and torch tensors.

use secateurs_onnx::{ElementType, PowerRounding, SmallRounding, Tensor as HostTensor};
use secateurs_torch::tch::{Device, Kind, Tensor};

use crate::op::OpError;

/// The libtorch kind that holds an element type; `None` for those that we do not evaluate. Integers that libtorch has no arithmetic
/// for are held in a wider kind, and wrapped to their own width behind every op (`wrapped`). So are floats of 8 bits and fewer, which are
/// rounded where they are made (`rounded`).
pub fn kind_of(element_type: ElementType) -> Option<Kind> {
    Some(match element_type {
        ElementType::Int4 | ElementType::Int2 => Kind::Int8,
        ElementType::Uint4 | ElementType::Uint2 => Kind::Uint8,
        ElementType::Uint16 => Kind::Int,
        ElementType::Uint32 | ElementType::Uint64 => Kind::Int64,
        ElementType::Float32 => Kind::Float,
        ElementType::Float64 => Kind::Double,
        ElementType::Float16 => Kind::Half,
        ElementType::Bfloat16 => Kind::BFloat16,
        ElementType::Int8 => Kind::Int8,
        ElementType::Uint8 => Kind::Uint8,
        ElementType::Int16 => Kind::Int16,
        ElementType::Int32 => Kind::Int,
        ElementType::Int64 => Kind::Int64,
        ElementType::Bool => Kind::Bool,
        small if small.is_small_float() => Kind::Float,
        _ => return None,
    })
}

/// Whether an element type is held in a kind of another width or sign.
pub fn is_widened(element_type: ElementType) -> bool {
    use ElementType::*;
    matches!(element_type, Int4 | Int2 | Uint4 | Uint2 | Uint16 | Uint32 | Uint64)
}

/// A tensor of a widened type with what flowed over its width taken off, as the type's own arithmetic would. An unsigned 64-bit number
/// of 2⁶³ or more has no kind that holds it.
pub(super) fn wrapped(tensor: Tensor, element_type: Option<ElementType>) -> Result<Tensor, OpError> {
    let Some(element_type) = element_type.filter(|t| is_widened(*t)) else { return Ok(tensor) };
    let bits = element_type.bits().unwrap_or(64);
    if bits >= 64 {
        let large = tensor.f_lt(0i64)?.f_any()?.f_int64_value(&[])? != 0;
        return if large { Err(too_large()) } else { Ok(tensor) };
    }
    let low = tensor.f_bitwise_and((1i64 << bits) - 1)?;
    if !matches!(element_type, ElementType::Int4 | ElementType::Int2) {
        return Ok(low);
    }
    let sign = 1i64 << (bits - 1);
    Ok(low.f_bitwise_xor(sign)?.f_sub_scalar(sign)?)
}

fn too_large() -> OpError {
    OpError::Unsupported("evaluation of uint64 numbers of 2^63 and more".into())
}

/// The kinds that a session computes floats in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Floats {
    /// What stands for 32-bit floats: `Float` or `Double`.
    pub single: Kind,
    /// What stands for 16-bit floats, if not they themselves.
    pub half: Option<Kind>,
    /// Whether values of 32 bits may flow in bfloat16, as each op's [`Mixed`](crate::op::Mixed) says.
    pub mixed: bool,
}

impl Floats {
    /// The kind in which a tensor of this kind is held.
    pub fn kind(self, kind: Kind) -> Kind {
        match kind {
            Kind::Float => self.single,
            Kind::Half | Kind::BFloat16 => self.half.unwrap_or(kind),
            other => other,
        }
    }
}

/// A copy of a host tensor on a device; floats become the kind that `floats` says.
pub fn to_device(tensor: &HostTensor, device: Device, floats: Floats) -> Result<Tensor, OpError> {
    let element_type = tensor.element_type();
    let unsupported = || OpError::Unsupported(format!("evaluation of {element_type} tensors"));
    let kind = kind_of(element_type).ok_or_else(unsupported)?;
    let shape: Vec<i64> = tensor.shape().iter().map(|&n| n as i64).collect();
    let copy = if is_widened(element_type) {
        let wide = tensor.to_i64_vec().map_err(|_| too_large())?;
        Tensor::f_from_slice(&wide)?.f_reshape(&shape)?.f_to_kind(kind)?
    } else if element_type.is_small_float() {
        let values = tensor.to_f64_vec().map_err(|e| OpError::Invalid(e.to_string()))?;
        Tensor::f_from_slice(&values)?.f_reshape(&shape)?.f_to_kind(kind)?
    } else {
        Tensor::f_from_data_size(tensor.bytes(), &shape, kind)?
    };
    let held = floats.kind(kind);
    let copy = if held != kind { copy.f_to_kind(held)? } else { copy };
    Ok(copy.f_to_device(device)?)
}

/// A copy of a torch tensor on the host, as the element type that the graph gives it.
pub fn to_host(tensor: &Tensor, element_type: Option<ElementType>) -> Result<HostTensor, OpError> {
    let native = |kind: Kind| {
        [
            ElementType::Float32,
            ElementType::Float64,
            ElementType::Float16,
            ElementType::Bfloat16,
            ElementType::Int8,
            ElementType::Uint8,
            ElementType::Int16,
            ElementType::Int32,
            ElementType::Int64,
            ElementType::Bool,
        ]
        .into_iter()
        .find(|t| kind_of(*t) == Some(kind))
    };
    let kind = tensor.f_kind()?;
    let own = native(kind).ok_or_else(|| OpError::Unsupported(format!("tensors of kind {kind:?}")))?;
    // A 64-bit session keeps its precision.
    let wanted = match element_type {
        Some(ElementType::Float32) if own == ElementType::Float64 => own,
        Some(wanted) => wanted,
        None => own,
    };
    let kind = kind_of(wanted).ok_or_else(|| OpError::Unsupported(format!("{wanted} outputs")))?;
    if is_widened(wanted) {
        return narrow(tensor, wanted);
    }
    if wanted.is_small_float() {
        return small(tensor, wanted, SmallRounding { saturate: false, powers: PowerRounding::Nearest });
    }
    let tensor = tensor.f_detach()?.f_to_kind(kind)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let count = tensor.numel();
    let mut bytes = vec![0u8; count * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, count)?;
    let shape = tensor.size().into_iter().map(|n| n as usize).collect();
    HostTensor::new(wanted, shape, bytes.into()).map_err(|e| OpError::Invalid(e.to_string()))
}

/// Numbers rounded to a float type of 8 bits or fewer, in the kind that holds it.
pub(crate) fn rounded(
    x: &Tensor,
    element_type: ElementType,
    rounding: SmallRounding,
    floats: Floats,
) -> Result<Tensor, OpError> {
    if x.requires_grad() {
        return Err(OpError::Unsupported(format!("gradients through {element_type} numbers")));
    }
    to_device(&small(x, element_type, rounding)?, x.device(), floats)
}

fn small(tensor: &Tensor, element_type: ElementType, rounding: SmallRounding) -> Result<HostTensor, OpError> {
    let shape = tensor.size().into_iter().map(|n| n as usize).collect();
    let flat = tensor.f_detach()?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?.f_reshape([-1])?;
    let values = Vec::<f64>::try_from(flat)?;
    HostTensor::rounded(element_type, shape, &values, rounding).map_err(|e| OpError::Invalid(e.to_string()))
}

/// A tensor that is held in a wider kind, in its own width; numbers of less than a byte lie packed, the first in the lowest bits.
fn narrow(tensor: &Tensor, element_type: ElementType) -> Result<HostTensor, OpError> {
    let shape = tensor.size().into_iter().map(|n| n as usize).collect();
    let flat = tensor.f_to_kind(Kind::Int64)?.f_to_device(Device::Cpu)?.f_reshape([-1])?;
    let values = Vec::<i64>::try_from(flat)?;
    let bits = element_type.bits().unwrap_or(64);
    let bytes: Vec<u8> = match 8 / bits {
        0 | 1 => values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(bits / 8)).collect(),
        each => {
            let low = |v: i64| (v & ((1 << bits) - 1)) as u8;
            let pack = |chunk: &[i64]| chunk.iter().rev().fold(0u8, |byte, &v| byte << bits | low(v));
            values.chunks(each).map(pack).collect()
        }
    };
    HostTensor::new(element_type, shape, bytes.into()).map_err(|e| OpError::Invalid(e.to_string()))
}

/// The same [N, C, H, W] tensor with the channels innermost in memory. `tch` has no `memory_format`.
pub(super) fn channels_last(tensor: &Tensor) -> Result<Tensor, OpError> {
    Ok(tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}
