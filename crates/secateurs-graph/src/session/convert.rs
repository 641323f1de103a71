//! Between host tensors and torch tensors.

use secateurs_onnx::{ElementType, Tensor as HostTensor};
use secateurs_torch::tch::{Device, Kind, Tensor};

use crate::op::OpError;

/// The libtorch kind of an element type; `None` for those that `tch` has no name for.
pub fn kind_of(element_type: ElementType) -> Option<Kind> {
    Some(match element_type {
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
        _ => return None,
    })
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
    let copy = Tensor::f_from_data_size(tensor.bytes(), &shape, kind)?;
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
    let tensor = tensor.f_detach()?.f_to_kind(kind)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let count = tensor.numel();
    let mut bytes = vec![0u8; count * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, count)?;
    let shape = tensor.size().into_iter().map(|n| n as usize).collect();
    HostTensor::new(wanted, shape, bytes.into()).map_err(|e| OpError::Invalid(e.to_string()))
}

/// The same [N, C, H, W] tensor with the channels innermost in memory. `tch` has no `memory_format`.
pub(super) fn channels_last(tensor: &Tensor) -> Result<Tensor, OpError> {
    Ok(tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}
