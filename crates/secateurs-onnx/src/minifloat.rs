//! Elements of 8 bits or fewer: how they are packed into bytes, and the values of the small float types.
//!
//! Packed elements are one stream of bits, the first element in the lowest bits of the first byte. This is
//! ONNX's rule for 2, 4 and 6 bits alike (`raw_data` in `onnx-ml.proto`).

use crate::ElementType;

/// The codes of `elements` elements of `bits` ≤ 8 bits each.
pub(crate) fn unpack(bytes: &[u8], bits: u32, elements: usize) -> impl Iterator<Item = u8> {
    let mask = (1u16 << bits) - 1;
    let bits = bits as usize;
    (0..elements).map(move |i| {
        // In two parts, as `i * bits` may overflow.
        let byte = i / 8 * bits + i % 8 * bits / 8;
        let low = u16::from(bytes[byte]);
        let high = bytes.get(byte + 1).map_or(0, |&b| u16::from(b) << 8);
        (((low | high) >> (i % 8 * bits % 8)) & mask) as u8
    })
}

/// Packs codes of `bits` ≤ 8 bits each; the inverse of [`unpack`].
pub(crate) fn pack(codes: impl Iterator<Item = u8>, bits: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut stream, mut filled) = (0u16, 0);
    for code in codes {
        stream |= u16::from(code) << filled;
        filled += bits;
        if filled >= 8 {
            bytes.push(stream as u8);
            stream >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(stream as u8);
    }
    bytes
}

/// The value of a code of a float type of 8 bits or fewer. Sources: Micikevicius et al., "FP8 Formats for Deep
/// Learning", arXiv 2209.05433; Noune et al., arXiv 2206.02915 (the `fnuz` types); OCP Microscaling Formats v1.0.
pub(crate) fn to_f64(element_type: ElementType, code: u8) -> f64 {
    use ElementType::*;
    let (exponent_bits, mantissa_bits, bias) = match element_type {
        Float8E4M3Fn => (4, 3, 7),
        Float8E4M3FnUz => (4, 3, 8),
        Float8E5M2 => (5, 2, 15),
        Float8E5M2FnUz => (5, 2, 16),
        Float6E2M3 => (2, 3, 1),
        Float6E3M2 => (3, 2, 3),
        Float4E2M1 => (2, 1, 1),
        Float8E8M0 => {
            return if code == 0xFF { f64::NAN } else { (f64::from(code) - 127.0).exp2() };
        }
        _ => unreachable!("only called for small float types"),
    };
    match (element_type, code) {
        (Float8E4M3Fn, 0x7F | 0xFF) => return f64::NAN,
        (Float8E4M3FnUz | Float8E5M2FnUz, 0x80) => return f64::NAN,
        (Float8E5M2, 0x7C) => return f64::INFINITY,
        (Float8E5M2, 0xFC) => return f64::NEG_INFINITY,
        (Float8E5M2, 0x7D..=0x7F | 0xFD..=0xFF) => return f64::NAN,
        _ => {}
    }
    let sign = if code >> (exponent_bits + mantissa_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(code >> mantissa_bits & ((1 << exponent_bits) - 1));
    let fraction = f64::from(code & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
    let magnitude = match exponent {
        0 => fraction * f64::from(1 - bias).exp2(),
        _ => (1.0 + fraction) * f64::from(exponent - bias).exp2(),
    };
    sign * magnitude
}

/// How numbers become floats of 8 bits or fewer, as the attributes of ONNX's `Cast` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmallRounding {
    /// Whether what is too large becomes the largest number, not infinity or NaN.
    pub saturate: bool,
    /// Where powers of two (`float8e8m0`) go; the other types go to the nearest, ties to even.
    pub powers: PowerRounding,
}

/// How a number becomes a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerRounding {
    /// The next larger one.
    Up,
    /// The next smaller one.
    Down,
    /// The nearest one.
    Nearest,
}

/// The code of the value that a number is rounded to, as ONNX's own tests of `Cast` have it.
pub(crate) fn from_f64(element_type: ElementType, value: f64, rounding: SmallRounding) -> u8 {
    use ElementType::*;
    // The largest finite number, and what stands for NaN, which in types without it is -0, as in `ml_dtypes`.
    let (largest, nan) = match element_type {
        Float8E4M3Fn => (0x7E, 0x7F),
        Float8E4M3FnUz | Float8E5M2FnUz => (0x7F, 0x80),
        Float8E5M2 => (0x7B, 0x7F),
        Float6E2M3 | Float6E3M2 => (0x1F, 0x20),
        Float4E2M1 => (0x7, 0x8),
        Float8E8M0 => return power(value as f32, rounding),
        _ => unreachable!("only called for small float types"),
    };
    let unsigned_zero = matches!(element_type, Float8E4M3FnUz | Float8E5M2FnUz);
    let sign_bit = 1u8 << (element_type.bits().unwrap_or(8) - 1);
    let sign = if value.is_sign_negative() { sign_bit } else { 0 };
    let has_nan = element_type.bits() == Some(8);
    if value.is_nan() {
        return nan;
    }
    let (size, of) = (value.abs(), |code: u8| to_f64(element_type, code));
    let beyond = of(largest) + (of(largest) - of(largest - 1)) / 2.0;
    // A tie goes to the even code, which the one behind the largest may be.
    if size > beyond || (size == beyond && largest % 2 == 1) {
        return match rounding.saturate || !has_nan {
            true => sign | largest,
            false if element_type == Float8E5M2 => sign | 0x7C,
            false => nan,
        };
    }
    // The first code that is at least as large.
    let (mut low, mut high) = (0, largest);
    while low < high {
        let middle = (low + high) / 2;
        if of(middle) < size { low = middle + 1 } else { high = middle }
    }
    let above = low;
    let code = match above.checked_sub(1) {
        Some(below) if size < of(above) => {
            let (up, down) = (of(above) - size, size - of(below));
            if down < up || (down == up && below % 2 == 0) { below } else { above }
        }
        _ => above,
    };
    if code == 0 && unsigned_zero { 0 } else { sign | code }
}

/// The code of a power of two, which is the exponent of a 32-bit float.
fn power(value: f32, rounding: SmallRounding) -> u8 {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 23 & 0xFF) as u8, bits & 0x7F_FFFF);
    if exponent == 0xFF {
        return 0xFF;
    }
    let half = 0x40_0000;
    let up = match rounding.powers {
        PowerRounding::Up => fraction > 0,
        PowerRounding::Down => false,
        PowerRounding::Nearest => fraction > half || (fraction == half && exponent > 0),
    };
    match up {
        true if exponent == 0xFE && rounding.saturate => exponent,
        true => exponent + 1,
        false => exponent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAREST: SmallRounding = SmallRounding { saturate: true, powers: PowerRounding::Nearest };

    #[test]
    fn every_value_has_its_own_code_and_what_lies_between_goes_to_the_nearest() {
        use ElementType::*;
        for element_type in
            [Float8E4M3Fn, Float8E4M3FnUz, Float8E5M2, Float8E5M2FnUz, Float6E2M3, Float6E3M2, Float4E2M1]
        {
            let codes = 1u16 << element_type.bits().unwrap();
            let values: Vec<f64> = (0..codes).map(|code| to_f64(element_type, code as u8)).collect();
            let round = |x| to_f64(element_type, from_f64(element_type, x, NEAREST));
            for &value in values.iter().filter(|value| value.is_finite()) {
                assert_eq!(round(value).to_bits(), value.to_bits(), "{element_type} {value}");
            }
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            for i in -4000..4000 {
                let x = f64::from(i) * 0.0007 * finite().fold(0.0, f64::max) / 2.0;
                let nearest = finite().map(|value| (value - x).abs()).fold(f64::INFINITY, f64::min);
                assert_eq!((round(x) - x).abs(), nearest, "{element_type} {x}");
            }
        }
    }

    /// As ONNX's own tests of `Cast` have it.
    #[test]
    fn what_is_too_large_ends_as_the_standard_says() {
        use ElementType::*;
        let wild = SmallRounding { saturate: false, ..NEAREST };
        for (element_type, value, saturated, otherwise) in [
            (Float8E4M3Fn, 1e6, 448.0, f64::NAN),
            (Float8E4M3Fn, f64::NEG_INFINITY, -448.0, f64::NAN),
            (Float8E4M3FnUz, -1e6, -240.0, f64::NAN),
            (Float8E4M3FnUz, f64::INFINITY, 240.0, f64::NAN),
            (Float8E5M2, 1e6, 57344.0, f64::INFINITY),
            (Float8E5M2, f64::NEG_INFINITY, -57344.0, f64::NEG_INFINITY),
            (Float8E5M2FnUz, 1e6, 57344.0, f64::NAN),
            (Float8E5M2FnUz, f64::NEG_INFINITY, -57344.0, f64::NAN),
            (Float4E2M1, -100.0, -6.0, -6.0),
            (Float4E2M1, f64::NAN, -0.0, -0.0),
            // Less than half a step beyond the largest.
            (Float8E4M3Fn, 463.0, 448.0, 448.0),
            (Float8E4M3Fn, f64::NAN, f64::NAN, f64::NAN),
            (Float8E5M2, 2.5, 2.5, 2.5),
            (Float8E5M2, 2.75, 3.0, 3.0),
            (Float4E2M1, 2.5, 2.0, 2.0),
            (Float8E8M0, 3.0, 4.0, 4.0),
            (Float8E8M0, 2.9, 2.0, 2.0),
        ] {
            for (rounding, expected) in [(NEAREST, saturated), (wild, otherwise)] {
                let found = to_f64(element_type, from_f64(element_type, value, rounding));
                let same = found == expected || (found.is_nan() && expected.is_nan());
                assert!(same, "{element_type} {value} {rounding:?}: {found}");
            }
        }
        assert_eq!(from_f64(Float8E5M2FnUz, -0.0, NEAREST), 0);
        assert_eq!(from_f64(Float8E4M3Fn, -0.0, NEAREST), 0x80);
        let power = |value, powers| {
            to_f64(Float8E8M0, from_f64(Float8E8M0, value, SmallRounding { powers, ..NEAREST }))
        };
        assert_eq!((power(2.1, PowerRounding::Up), power(3.9, PowerRounding::Down)), (4.0, 2.0));
    }

    #[test]
    fn packing_follows_the_examples_of_the_schema() {
        // x0 | (x1 << 4)
        assert_eq!(pack([0x3, 0xA, 0x7].into_iter(), 4), [0xA3, 0x07]);
        // x0 | (x1 << 2) | (x2 << 4) | (x3 << 6)
        assert_eq!(pack([1, 2, 3, 0, 2].into_iter(), 2), [0b00_11_10_01, 0b10]);
        // byte0 = x0 | ((x1 & 0x3) << 6); byte1 = (x1 >> 2) | ((x2 & 0xF) << 4); byte2 = (x2 >> 4) | (x3 << 2)
        let [x0, x1, x2, x3] = [0x21u8, 0x0E, 0x35, 0x3F];
        let packed = [x0 | ((x1 & 3) << 6), (x1 >> 2) | ((x2 & 0xF) << 4), (x2 >> 4) | (x3 << 2)];
        assert_eq!(pack([x0, x1, x2, x3].into_iter(), 6), packed);
    }

    #[test]
    fn unpack_inverts_pack() {
        for bits in [2u32, 4, 6, 8] {
            for elements in 0..20u8 {
                let mask = ((1u16 << bits) - 1) as u8;
                let codes: Vec<u8> = (0..elements).map(|i| i.wrapping_mul(73) & mask).collect();
                let packed = pack(codes.iter().copied(), bits);
                assert_eq!(packed.len(), (codes.len() * bits as usize).div_ceil(8));
                assert_eq!(unpack(&packed, bits, codes.len()).collect::<Vec<_>>(), codes);
            }
        }
    }

    /// Expected values are those of the Python package `ml_dtypes`.
    #[test]
    fn values_match_ml_dtypes() {
        use ElementType::*;
        for (element_type, code, value) in [
            (Float8E4M3Fn, 0x7E, 448.0),
            (Float8E4M3Fn, 0x01, 0.001953125),
            (Float8E4M3Fn, 0xB8, -1.0),
            (Float8E4M3FnUz, 0x7F, 240.0),
            (Float8E4M3FnUz, 0x01, 0.0009765625),
            (Float8E5M2, 0x7B, 57344.0),
            (Float8E5M2, 0x7C, f64::INFINITY),
            (Float8E5M2, 0xFC, f64::NEG_INFINITY),
            (Float8E5M2FnUz, 0x7F, 57344.0),
            (Float8E5M2FnUz, 0x01, 7.62939453125e-6),
            (Float8E8M0, 0x7F, 1.0),
            (Float8E8M0, 0x00, 5.877471754111438e-39),
            (Float8E8M0, 0xFE, 1.7014118346046923e38),
            (Float6E2M3, 0x1F, 7.5),
            (Float6E2M3, 0x21, -0.125),
            (Float6E3M2, 0x1F, 28.0),
            (Float6E3M2, 0x01, 0.0625),
            (Float4E2M1, 0x7, 6.0),
            (Float4E2M1, 0x9, -0.5),
        ] {
            assert_eq!(to_f64(element_type, code), value, "{element_type} {code:#x}");
        }
        for (element_type, code) in [
            (Float8E4M3Fn, 0x7F),
            (Float8E4M3Fn, 0xFF),
            (Float8E4M3FnUz, 0x80),
            (Float8E5M2FnUz, 0x80),
            (Float8E5M2, 0x7E),
            (Float8E8M0, 0xFF),
        ] {
            assert!(to_f64(element_type, code).is_nan(), "{element_type} {code:#x}");
        }
    }
}
