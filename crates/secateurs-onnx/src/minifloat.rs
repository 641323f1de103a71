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

#[cfg(test)]
mod tests {
    use super::*;

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
