//! The element types of ONNX tensors.

use std::fmt;

use crate::proto::tensor_proto::DataType;

/// Writes the enum and its three tables from one list, so that a new type is one line.
macro_rules! element_types {
    ($($(#[doc = $doc:literal])* $variant:ident = $data_type:ident, $name:literal, $bits:expr;)*) => {
        /// An element type of ONNX's `TensorProto.DataType`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ElementType {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ElementType {
            /// Every element type, in the order of their ONNX numbers.
            pub const ALL: &[ElementType] = &[$(ElementType::$variant),*];

            /// The type with this `TensorProto.DataType` number; `None` for 0 (undefined) and unknown numbers.
            pub fn from_onnx(number: i32) -> Option<Self> {
                match DataType::try_from(number) {
                    $(Ok(DataType::$data_type) => Some(ElementType::$variant),)*
                    _ => None,
                }
            }

            /// The `TensorProto.DataType` number.
            pub fn to_onnx(self) -> i32 {
                match self {
                    $(ElementType::$variant => DataType::$data_type as i32,)*
                }
            }

            /// The name that numpy and `ml_dtypes` use, without underscores: `float32`, `int64`, `float8e4m3fn`, …
            pub fn name(self) -> &'static str {
                match self {
                    $(ElementType::$variant => $name,)*
                }
            }

            /// The size of one element in bits; `None` for strings.
            pub fn bits(self) -> Option<usize> {
                match self {
                    $(ElementType::$variant => $bits,)*
                }
            }
        }
    };
}

element_types! {
    /// IEEE 754 single precision.
    Float32 = Float, "float32", Some(32);
    /// Unsigned 8-bit integer.
    Uint8 = Uint8, "uint8", Some(8);
    /// Signed 8-bit integer.
    Int8 = Int8, "int8", Some(8);
    /// Unsigned 16-bit integer.
    Uint16 = Uint16, "uint16", Some(16);
    /// Signed 16-bit integer.
    Int16 = Int16, "int16", Some(16);
    /// Signed 32-bit integer.
    Int32 = Int32, "int32", Some(32);
    /// Signed 64-bit integer.
    Int64 = Int64, "int64", Some(64);
    /// Byte strings, UTF-8 by convention.
    String = String, "string", None;
    /// One byte, 0 or 1.
    Bool = Bool, "bool", Some(8);
    /// IEEE 754 half precision.
    Float16 = Float16, "float16", Some(16);
    /// IEEE 754 double precision.
    Float64 = Double, "float64", Some(64);
    /// Unsigned 32-bit integer.
    Uint32 = Uint32, "uint32", Some(32);
    /// Unsigned 64-bit integer.
    Uint64 = Uint64, "uint64", Some(64);
    /// Two `float32`, real part first.
    Complex64 = Complex64, "complex64", Some(64);
    /// Two `float64`, real part first.
    Complex128 = Complex128, "complex128", Some(128);
    /// The upper half of a `float32`.
    Bfloat16 = Bfloat16, "bfloat16", Some(16);
    /// 4 exponent bits, bias 7; NaN but no infinity.
    Float8E4M3Fn = Float8e4m3fn, "float8e4m3fn", Some(8);
    /// 4 exponent bits, bias 8; NaN in the place of negative zero, no infinity.
    Float8E4M3FnUz = Float8e4m3fnuz, "float8e4m3fnuz", Some(8);
    /// 5 exponent bits, bias 15; infinities and NaN as in IEEE 754.
    Float8E5M2 = Float8e5m2, "float8e5m2", Some(8);
    /// 5 exponent bits, bias 16; NaN in the place of negative zero, no infinity.
    Float8E5M2FnUz = Float8e5m2fnuz, "float8e5m2fnuz", Some(8);
    /// Unsigned 4-bit integer, two to a byte, the first in the low bits.
    Uint4 = Uint4, "uint4", Some(4);
    /// Signed 4-bit integer, two to a byte, the first in the low bits.
    Int4 = Int4, "int4", Some(4);
    /// 2 exponent bits, 1 mantissa bit, two to a byte; neither NaN nor infinity.
    Float4E2M1 = Float4e2m1, "float4e2m1", Some(4);
    /// A power of two, 8 exponent bits without sign or mantissa: the scale of OCP MX blocks.
    Float8E8M0 = Float8e8m0, "float8e8m0", Some(8);
    /// Unsigned 2-bit integer, four to a byte, the first in the low bits.
    Uint2 = Uint2, "uint2", Some(2);
    /// Signed 2-bit integer, four to a byte, the first in the low bits.
    Int2 = Int2, "int2", Some(2);
    /// 2 exponent bits, 3 mantissa bits, four to three bytes; neither NaN nor infinity.
    Float6E2M3 = Float6e2m3, "float6e2m3", Some(6);
    /// 3 exponent bits, 2 mantissa bits, four to three bytes; neither NaN nor infinity.
    Float6E3M2 = Float6e3m2, "float6e3m2", Some(6);
}

impl ElementType {
    /// Whether it is a real floating-point type, of any width.
    pub fn is_float(self) -> bool {
        use ElementType::*;
        match self {
            Float16 | Float32 | Float64 | Bfloat16 => true,
            Float8E4M3Fn | Float8E4M3FnUz | Float8E5M2 | Float8E5M2FnUz | Float8E8M0 => true,
            Float6E2M3 | Float6E3M2 | Float4E2M1 => true,
            Uint8 | Int8 | Uint16 | Int16 | Int32 | Int64 | Uint32 | Uint64 => false,
            Uint4 | Int4 | Uint2 | Int2 | Bool | String | Complex64 | Complex128 => false,
        }
    }

    /// Whether it is a floating-point type of 8 bits or fewer.
    pub fn is_small_float(self) -> bool {
        self.is_float() && self.bits().is_some_and(|bits| bits <= 8)
    }

    /// Whether it is an integer type, of any width; `bool` is not.
    pub fn is_integer(self) -> bool {
        use ElementType::*;
        matches!(
            self,
            Uint8 | Int8 | Uint16 | Int16 | Int32 | Int64 | Uint32 | Uint64 | Uint4 | Int4 | Uint2 | Int2
        )
    }

    /// The bytes that `elements` of them take when packed as in `raw_data`; types under 8 bits round up to a
    /// whole byte at the end of the tensor. `None` for strings and when the number overflows.
    pub fn byte_len(self, elements: usize) -> Option<usize> {
        let bits = self.bits()?;
        if bits % 8 == 0 {
            return elements.checked_mul(bits / 8);
        }
        // In two parts, because `elements * bits` may overflow where the result does not.
        (elements / 8).checked_mul(bits)?.checked_add((elements % 8 * bits).div_ceil(8))
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_types_are_a_bijection() {
        for &t in ElementType::ALL {
            assert_eq!(ElementType::from_onnx(t.to_onnx()), Some(t));
        }
        // 1 to 28 without a hole: the schema's `DataType`.
        let numbers: Vec<i32> = ElementType::ALL.iter().map(|t| t.to_onnx()).collect();
        assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
        for n in [i32::MIN, -1, 0, 29, i32::MAX] {
            assert_eq!(ElementType::from_onnx(n), None);
        }
    }

    #[test]
    fn packed_types_round_up_to_whole_bytes() {
        for (t, elements, bytes) in [
            (ElementType::Int4, 3, Some(2)),
            (ElementType::Uint2, 5, Some(2)),
            (ElementType::Float6E2M3, 3, Some(3)),
            (ElementType::Float6E2M3, 4, Some(3)),
            (ElementType::Float6E3M2, 9, Some(7)),
            (ElementType::Int64, 0, Some(0)),
            (ElementType::Int64, usize::MAX, None),
            (ElementType::Uint8, usize::MAX, Some(usize::MAX)),
            (ElementType::Int4, usize::MAX, Some(usize::MAX / 2 + 1)),
            (ElementType::String, 1, None),
        ] {
            assert_eq!(t.byte_len(elements), bytes, "{elements} of {t}");
        }
    }
}
