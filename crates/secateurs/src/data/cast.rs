//! Conversions to the element type that a model's input has, which never change a value beyond rounding.

use bytes::Bytes;
use half::{bf16, f16};
use secateurs_onnx::{ElementType, Tensor};

/// Floats as `element_type`; for an integer type they must be integers in its range.
pub(crate) fn from_f32(
    values: Vec<f32>,
    shape: Vec<usize>,
    element_type: ElementType,
) -> Result<Tensor, String> {
    let floats = match element_type {
        ElementType::Float32 => Tensor::new(element_type, shape, bytes(values)),
        ElementType::Float64 => Tensor::from_slice(shape, &collect(&values, f64::from)),
        ElementType::Float16 => Tensor::from_slice(shape, &collect(&values, f16::from_f32)),
        ElementType::Bfloat16 => Tensor::from_slice(shape, &collect(&values, bf16::from_f32)),
        _ => {
            if let Some(value) = values.iter().find(|v| v.fract() != 0.0 || v.abs() > 16_777_216.0) {
                return Err(format!("{value} is not an integer, the input takes {element_type}"));
            }
            return from_i64(&collect(&values, |v| v as i64), shape, element_type);
        }
    };
    floats.map_err(|e| e.to_string())
}

/// Any numbers as `element_type`: floats to floats, integers to whatever can hold them.
pub(super) fn cast(tensor: &Tensor, element_type: ElementType) -> Result<Tensor, String> {
    let from = tensor.element_type();
    if from == element_type {
        return Ok(tensor.clone());
    }
    let shape = tensor.shape().to_vec();
    if !from.is_float() && !element_type.is_float() {
        return from_i64(&tensor.to_i64_vec().map_err(|e| e.to_string())?, shape, element_type);
    }
    if !element_type.is_float() {
        return Err(format!("has floats ({from}), the input takes {element_type}"));
    }
    let values = tensor.to_f64_vec().map_err(|e| e.to_string())?;
    match element_type {
        ElementType::Float64 => Tensor::from_slice(shape, &values).map_err(|e| e.to_string()),
        _ => from_f32(collect(&values, |v| v as f32), shape, element_type),
    }
}

/// Integers as an integer type or boolean that can hold each of them.
pub(super) fn from_i64(
    values: &[i64],
    shape: Vec<usize>,
    element_type: ElementType,
) -> Result<Tensor, String> {
    macro_rules! convert {
        ($type:ty) => {{
            let converted: Result<Vec<$type>, String> = values
                .iter()
                .map(|v| {
                    <$type>::try_from(*v).map_err(|_| format!("{v} is out of the range of {element_type}"))
                })
                .collect();
            Tensor::from_slice(shape, &converted?)
        }};
    }
    let tensor = match element_type {
        ElementType::Int8 => convert!(i8),
        ElementType::Uint8 => convert!(u8),
        ElementType::Int16 => convert!(i16),
        ElementType::Uint16 => convert!(u16),
        ElementType::Int32 => convert!(i32),
        ElementType::Uint32 => convert!(u32),
        ElementType::Int64 => convert!(i64),
        ElementType::Uint64 => convert!(u64),
        ElementType::Bool => {
            if let Some(value) = values.iter().find(|v| !matches!(v, 0 | 1)) {
                return Err(format!("{value} is not a boolean"));
            }
            let bytes: Vec<u8> = collect(values, |v| v as u8);
            Tensor::new(ElementType::Bool, shape, bytes.into())
        }
        other => return Err(format!("integers cannot become {other}")),
    };
    tensor.map_err(|e| e.to_string())
}

/// The little-endian bytes of floats, which are not copied where memory has them so.
fn bytes(values: Vec<f32>) -> Bytes {
    struct Floats(Vec<f32>);
    impl AsRef<[u8]> for Floats {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    if cfg!(target_endian = "little") {
        Bytes::from_owner(Floats(values))
    } else {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }
}

fn collect<A: Copy, B>(values: &[A], convert: impl Fn(A) -> B) -> Vec<B> {
    values.iter().map(|value| convert(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_can_hold_the_values_takes_them() {
        let integers = Tensor::from_slice(vec![2], &[0_i64, 1]).unwrap();
        for element_type in [
            ElementType::Bool,
            ElementType::Int8,
            ElementType::Uint8,
            ElementType::Int16,
            ElementType::Uint16,
            ElementType::Int32,
            ElementType::Uint32,
            ElementType::Int64,
            ElementType::Uint64,
            ElementType::Float16,
            ElementType::Bfloat16,
            ElementType::Float32,
            ElementType::Float64,
        ] {
            let tensor = cast(&integers, element_type).unwrap();
            assert_eq!(tensor.element_type(), element_type);
            assert_eq!(tensor.to_f64_vec().unwrap(), [0.0, 1.0], "{element_type}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let big = Tensor::from_slice(vec![1], &[300_i64]).unwrap();
        assert!(cast(&big, ElementType::Uint8).unwrap_err().contains("300"));
        assert!(cast(&big, ElementType::Bool).unwrap_err().contains("boolean"));
        let float = Tensor::from_slice(vec![1], &[1.0_f32]).unwrap();
        assert!(cast(&float, ElementType::Int64).unwrap_err().contains("floats"));
        assert!(from_f32(vec![0.5], vec![1], ElementType::Uint8).unwrap_err().contains("0.5"));
        assert!(from_f32(vec![f32::NAN], vec![1], ElementType::Uint8).is_err());
    }
}
