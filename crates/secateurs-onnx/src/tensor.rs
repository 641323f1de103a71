//! Tensors on the host: an element type, a shape and shared bytes.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::minifloat::{self, SmallRounding};
use crate::{ElementType, TensorError};

/// A tensor in host memory. Cloning shares the data, which may lie in a file's memory map.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    element_type: ElementType,
    shape: Vec<usize>,
    data: Data,
}

/// A tensor's elements, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Packed and little-endian as in ONNX's `raw_data`, and not aligned to anything.
    Numeric(Bytes),
    /// One entry for each element, UTF-8 by convention.
    Strings(Arc<[Bytes]>),
}

/// A Rust type that is an ONNX element type.
pub trait Element: Copy + PartialEq + std::fmt::Debug + 'static {
    /// The ONNX type.
    const TYPE: ElementType;

    /// Reads one element from exactly its little-endian bytes.
    fn from_le(bytes: &[u8]) -> Self;

    /// Appends the little-endian bytes of one element.
    fn push_le(self, to: &mut Vec<u8>);
}

macro_rules! element {
    ($($rust:ty = $variant:ident),*) => {$(
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$variant;

            fn from_le(bytes: &[u8]) -> Self {
                <$rust>::from_le_bytes(bytes.try_into().expect("the caller splits by element size"))
            }

            fn push_le(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

element!(
    f32 = Float32,
    f64 = Float64,
    f16 = Float16,
    bf16 = Bfloat16,
    i8 = Int8,
    u8 = Uint8,
    i16 = Int16,
    u16 = Uint16,
    i32 = Int32,
    u32 = Uint32,
    i64 = Int64,
    u64 = Uint64
);

impl Element for bool {
    const TYPE: ElementType = ElementType::Bool;

    fn from_le(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }

    fn push_le(self, to: &mut Vec<u8>) {
        to.push(self.into());
    }
}

impl Tensor {
    /// A tensor over these bytes, packed as in `raw_data`. Fails when the shape asks for another number of
    /// bytes, and for strings (see [`Tensor::from_strings`]).
    pub fn new(element_type: ElementType, shape: Vec<usize>, bytes: Bytes) -> Result<Self, TensorError> {
        let expected = byte_len(element_type, &shape)?;
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(TensorError::WrongByteCount { element_type, shape, expected, found });
        }
        Ok(Tensor { element_type, shape, data: Data::Numeric(bytes) })
    }

    /// A tensor with a copy of these values. Fails when the shape asks for another number of them.
    pub fn from_slice<T: Element>(shape: Vec<usize>, values: &[T]) -> Result<Self, TensorError> {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|v| v.push_le(&mut bytes));
        Tensor::new(T::TYPE, shape, bytes.into())
    }

    /// Numbers rounded to a float type of 8 bits or fewer. Fails for any other type, and when the shape asks for another number of them.
    pub fn rounded(
        element_type: ElementType,
        shape: Vec<usize>,
        values: &[f64],
        rounding: SmallRounding,
    ) -> Result<Self, TensorError> {
        let small = element_type.bits().filter(|bits| *bits <= 8 && element_type.is_float());
        let Some(bits) = small else {
            return Err(TensorError::WrongType {
                found: element_type,
                wanted: "a float type of 8 bits or fewer",
            });
        };
        let codes = values.iter().map(|&value| minifloat::from_f64(element_type, value, rounding));
        Tensor::new(element_type, shape, minifloat::pack(codes, bits as u32).into())
    }

    /// The codes of a type of fewer than 8 bits, a byte each, in a tensor of `uint8`; `None` for other types.
    pub fn codes(&self) -> Option<Tensor> {
        let bits = self.element_type.bits().filter(|bits| *bits < 8)?;
        let codes: Vec<u8> = minifloat::unpack(self.bytes(), bits as u32, self.len()).collect();
        Tensor::from_slice(self.shape.clone(), &codes).ok()
    }

    /// A tensor of a type of fewer than 8 bits; the inverse of [`Tensor::codes`]. Fails for other types.
    pub fn from_codes(element_type: ElementType, codes: &Tensor) -> Result<Self, TensorError> {
        let Some(bits) = element_type.bits().filter(|bits| *bits < 8) else {
            return Err(TensorError::WrongType {
                found: element_type,
                wanted: "a type of fewer than 8 bits",
            });
        };
        let bytes = minifloat::pack(codes.to_vec::<u8>()?.into_iter(), bits as u32);
        Tensor::new(element_type, codes.shape.clone(), bytes.into())
    }

    /// A tensor of shape `[]`.
    pub fn scalar<T: Element>(value: T) -> Self {
        let mut bytes = Vec::new();
        value.push_le(&mut bytes);
        Tensor { element_type: T::TYPE, shape: Vec::new(), data: Data::Numeric(bytes.into()) }
    }

    /// A tensor of strings. Fails when the shape asks for another number of them.
    pub fn from_strings(shape: Vec<usize>, strings: impl Into<Arc<[Bytes]>>) -> Result<Self, TensorError> {
        let strings = strings.into();
        let expected = elements(&shape)?;
        if strings.len() != expected {
            return Err(TensorError::WrongEntryCount {
                element_type: ElementType::String,
                shape,
                field: "string_data",
                expected,
                found: strings.len(),
            });
        }
        Ok(Tensor { element_type: ElementType::String, shape, data: Data::Strings(strings) })
    }

    /// The type of its elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Its dims, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // A zero dim first: the others may overflow when multiplied.
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }

    /// Whether it has no elements, because a dim is 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Its elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The packed little-endian bytes of a numeric tensor. A string tensor has none: see [`Tensor::strings`].
    pub fn bytes(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match &self.data {
            Data::Numeric(bytes) => bytes,
            Data::Strings(_) => &NONE,
        }
    }

    /// The elements of a string tensor; `None` for a numeric one.
    pub fn strings(&self) -> Option<&[Bytes]> {
        match &self.data {
            Data::Numeric(_) => None,
            Data::Strings(strings) => Some(strings),
        }
    }

    /// A tensor with the same data and another shape of as many elements.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        match &self.data {
            Data::Numeric(bytes) => Tensor::new(self.element_type, shape, bytes.clone()),
            Data::Strings(strings) => Tensor::from_strings(shape, strings.clone()),
        }
    }

    /// A copy of the elements. Fails when they are of another type than `T`.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        if self.element_type != T::TYPE {
            return Err(TensorError::WrongType { found: self.element_type, wanted: T::TYPE.name() });
        }
        Ok(self.bytes().chunks_exact(size_of::<T>()).map(T::from_le).collect())
    }

    /// The elements of a tensor of any integer type, or of bool as 0 and 1. Fails for other types and for a
    /// uint64 above [`i64::MAX`].
    pub fn to_i64_vec(&self) -> Result<Vec<i64>, TensorError> {
        use ElementType::*;
        match self.element_type {
            Int8 => self.map(|v: i8| v.into()),
            Uint8 => self.map(|v: u8| v.into()),
            Int16 => self.map(|v: i16| v.into()),
            Uint16 => self.map(|v: u16| v.into()),
            Int32 => self.map(|v: i32| v.into()),
            Uint32 => self.map(|v: u32| v.into()),
            Int64 => self.to_vec(),
            Bool => self.map(|v: bool| v.into()),
            Uint64 => {
                let wide = self.to_vec::<u64>()?;
                let narrow = |(index, &value): (usize, &u64)| {
                    i64::try_from(value).map_err(|_| TensorError::OutOfRange {
                        element_type: Int64,
                        field: "data",
                        index,
                        value: value.into(),
                    })
                };
                wide.iter().enumerate().map(narrow).collect()
            }
            Int4 | Uint4 | Int2 | Uint2 => {
                let bits = self.element_type.bits().unwrap_or(8) as u32;
                let signed = matches!(self.element_type, Int4 | Int2);
                let value = |code: u8| {
                    let negative = signed && code >> (bits - 1) == 1;
                    i64::from(code) - if negative { 1 << bits } else { 0 }
                };
                Ok(minifloat::unpack(self.bytes(), bits, self.len()).map(value).collect())
            }
            found => Err(TensorError::WrongType { found, wanted: "an integer or bool type" }),
        }
    }

    /// The elements of a tensor of any real type, rounded where f64 has fewer digits (large 64-bit integers).
    /// Fails for strings and complex numbers.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>, TensorError> {
        use ElementType::*;
        match self.element_type {
            Float32 => self.map(|v: f32| v.into()),
            Float64 => self.to_vec(),
            Float16 => self.map(|v: f16| v.into()),
            Bfloat16 => self.map(|v: bf16| v.into()),
            Uint64 => self.map(|v: u64| v as f64),
            found @ (String | Complex64 | Complex128) => {
                Err(TensorError::WrongType { found, wanted: "a real number type" })
            }
            small if small.is_float() => {
                let bits = small.bits().unwrap_or(8) as u32;
                let codes = minifloat::unpack(self.bytes(), bits, self.len());
                Ok(codes.map(|code| minifloat::to_f64(small, code)).collect())
            }
            _ => Ok(self.to_i64_vec()?.into_iter().map(|v| v as f64).collect()),
        }
    }

    fn map<T: Element, U>(&self, convert: impl Fn(T) -> U) -> Result<Vec<U>, TensorError> {
        Ok(self.to_vec::<T>()?.into_iter().map(convert).collect())
    }
}

/// The number of elements of a shape, checked for overflow.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, TensorError> {
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    product.ok_or_else(|| overflow(shape))
}

/// The bytes that a numeric tensor of this type and shape takes.
pub(crate) fn byte_len(element_type: ElementType, shape: &[usize]) -> Result<usize, TensorError> {
    if element_type == ElementType::String {
        return Err(TensorError::RawStrings);
    }
    element_type.byte_len(elements(shape)?).ok_or_else(|| overflow(shape))
}

fn overflow(shape: &[usize]) -> TensorError {
    TensorError::ShapeOverflow(shape.iter().map(|&dim| dim as i64).collect())
}
