//! Tensors to and from ONNX Runtime, of every element type, byte by byte.

use ort::memory::Allocator;
use ort::value::{DynTensor, DynTensorValueType, DynValue, Shape, TensorElementType, ValueRef, ValueType};
use secateurs_onnx::{Bytes, ElementType, Tensor};

use crate::data::InputSpec;

/// Both libraries' names of the element types.
const TYPES: [(ElementType, TensorElementType); 26] = [
    (ElementType::Float32, TensorElementType::Float32),
    (ElementType::Float64, TensorElementType::Float64),
    (ElementType::Float16, TensorElementType::Float16),
    (ElementType::Bfloat16, TensorElementType::Bfloat16),
    (ElementType::Int8, TensorElementType::Int8),
    (ElementType::Uint8, TensorElementType::Uint8),
    (ElementType::Int16, TensorElementType::Int16),
    (ElementType::Uint16, TensorElementType::Uint16),
    (ElementType::Int32, TensorElementType::Int32),
    (ElementType::Uint32, TensorElementType::Uint32),
    (ElementType::Int64, TensorElementType::Int64),
    (ElementType::Uint64, TensorElementType::Uint64),
    (ElementType::Bool, TensorElementType::Bool),
    (ElementType::String, TensorElementType::String),
    (ElementType::Complex64, TensorElementType::Complex64),
    (ElementType::Complex128, TensorElementType::Complex128),
    (ElementType::Float8E4M3Fn, TensorElementType::Float8E4M3FN),
    (ElementType::Float8E4M3FnUz, TensorElementType::Float8E4M3FNUZ),
    (ElementType::Float8E5M2, TensorElementType::Float8E5M2),
    (ElementType::Float8E5M2FnUz, TensorElementType::Float8E5M2FNUZ),
    (ElementType::Float8E8M0, TensorElementType::Float8E8M0),
    (ElementType::Float4E2M1, TensorElementType::Float4E2M1),
    (ElementType::Int4, TensorElementType::Int4),
    (ElementType::Uint4, TensorElementType::Uint4),
    (ElementType::Int2, TensorElementType::Int2),
    (ElementType::Uint2, TensorElementType::Uint2),
];

fn to_ort_type(element_type: ElementType) -> Result<TensorElementType, String> {
    let found = TYPES.iter().find(|(ours, _)| *ours == element_type);
    found.map(|(_, theirs)| *theirs).ok_or_else(|| format!("ONNX Runtime has no element type {element_type}"))
}

fn from_ort_type(element_type: TensorElementType) -> Result<ElementType, String> {
    let found = TYPES.iter().find(|(_, theirs)| *theirs == element_type);
    found.map(|(ours, _)| *ours).ok_or_else(|| format!("element type {element_type} is not known"))
}

/// Copies a tensor into memory of ONNX Runtime.
pub(super) fn to_ort(tensor: &Tensor) -> Result<DynValue, String> {
    let shape: Vec<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
    if let Some(strings) = tensor.strings() {
        let strings: Vec<String> = strings
            .iter()
            .map(|s| String::from_utf8(s.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let value = ort::value::Tensor::from_string_array((shape, &*strings)).map_err(|e| e.to_string())?;
        return Ok(value.into_dyn());
    }
    let element_type = to_ort_type(tensor.element_type())?;
    let mut value =
        DynTensor::new(&Allocator::default(), element_type, Shape::new(shape)).map_err(|e| e.to_string())?;
    let bytes = tensor.bytes();
    if element_type.byte_size(tensor.len()) != Some(bytes.len()) {
        return Err(format!(
            "{element_type} {:?} takes another number of bytes than {}",
            tensor.shape(),
            bytes.len()
        ));
    }
    if !bytes.is_empty() {
        // SAFETY: the value owns `byte_size` bytes of CPU memory, which were just checked to be as many as are
        // copied, and nobody else has it yet.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.data_ptr_mut().cast::<u8>(), bytes.len())
        };
    }
    Ok(value.into_dyn())
}

/// Copies a tensor out of ONNX Runtime.
pub(super) fn from_ort(value: ValueRef<'_>) -> Result<Tensor, String> {
    if !matches!(value.dtype(), ValueType::Tensor { .. }) {
        return Err(format!("is a {}, not a tensor", value.dtype()));
    }
    let value = value.downcast::<DynTensorValueType>().map_err(|e| e.to_string())?;
    let shape: Vec<usize> = value.shape().iter().map(|size| *size as usize).collect();
    let element_type = *value.data_type();
    if element_type == TensorElementType::String {
        let (_, strings) = value.try_extract_strings().map_err(|e| e.to_string())?;
        let strings: Vec<Bytes> = strings.into_iter().map(Bytes::from).collect();
        return Tensor::from_strings(shape, strings).map_err(|e| e.to_string());
    }
    let ours = from_ort_type(element_type)?;
    if !value.memory_info().is_cpu_accessible() {
        return Err("is not in the CPU's memory".to_owned());
    }
    let elements = shape.iter().product();
    let length = element_type.byte_size(elements).unwrap_or(0);
    let bytes = if length == 0 {
        Bytes::new()
    } else {
        // SAFETY: ONNX Runtime keeps that many bytes there for a tensor of this type and shape, and the value
        // lives until the copy is made.
        Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(value.data_ptr().cast::<u8>(), length) })
    };
    Tensor::new(ours, shape, bytes).map_err(|e| e.to_string())
}

/// The signature of an input or output; those that are no tensors are an error.
pub(super) fn spec(name: &str, value_type: &ValueType) -> Result<InputSpec, String> {
    match value_type {
        ValueType::Tensor { ty, shape, .. } => Ok(InputSpec {
            name: name.to_owned(),
            element_type: from_ort_type(*ty)?,
            shape: shape.iter().map(|size| usize::try_from(*size).ok()).collect(),
        }),
        other => Err(format!("'{name}' is a {other}, and only tensors are supported")),
    }
}
