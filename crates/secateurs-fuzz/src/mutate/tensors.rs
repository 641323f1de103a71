//! Changes of tensors, some of which leave their data as long as their shape says.

use secateurs_onnx::ElementType;
use secateurs_onnx::proto::{SparseTensorProto, StringStringEntryProto, TensorProto};

use super::values::{longs, near, number, real};
use crate::rng::Rng;

pub fn change(tensor: &mut TensorProto, rng: &mut Rng) {
    match rng.below(10) {
        0 => longs(&mut tensor.dims, rng),
        1 => resized(tensor, rng),
        2 => tensor.data_type = Some(rng.below(30) as i32),
        3 if rng.one_in(4) => external(tensor, rng),
        _ => values(tensor, rng),
    }
}

pub fn sparse(sparse: &mut SparseTensorProto, rng: &mut Rng) {
    match (rng.below(3), &mut sparse.values, &mut sparse.indices) {
        (1, Some(values), _) => change(values, rng),
        (2, _, Some(indices)) => change(indices, rng),
        _ => longs(&mut sparse.dims, rng),
    }
}

/// Another shape with data to match.
fn resized(tensor: &mut TensorProto, rng: &mut Rng) {
    longs(&mut tensor.dims, rng);
    let mut count = 1usize;
    for dim in &mut tensor.dims {
        *dim = dim.rem_euclid(7);
        count *= *dim as usize;
    }
    let bytes = ElementType::from_onnx(tensor.data_type()).and_then(|t| t.byte_len(count.min(4096)));
    let Some(bytes) = bytes else { return };
    let mut data = tensor.raw_data.take().unwrap_or_default().to_vec();
    data.resize(bytes, rng.below(3) as u8);
    tensor.raw_data = Some(data.into());
    tensor.float_data.clear();
    tensor.int64_data.clear();
    tensor.int32_data.clear();
}

/// Other numbers.
fn values(tensor: &mut TensorProto, rng: &mut Rng) {
    longs_in_place(&mut tensor.int64_data, rng);
    if let Some(value) = rng.of_mut(&mut tensor.float_data) {
        *value = real(rng);
    }
    let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) else { return };
    let mut raw = raw.to_vec();
    match ElementType::from_onnx(tensor.data_type.unwrap_or_default()) {
        Some(ElementType::Int64) if raw.len() >= 8 => {
            let at = rng.below(raw.len() / 8) * 8;
            let old = raw[at..at + 8].try_into().map_or(0, i64::from_le_bytes);
            raw[at..at + 8].copy_from_slice(&near(old, rng).to_le_bytes());
        }
        Some(ElementType::Float32) if raw.len() >= 4 => {
            let at = rng.below(raw.len() / 4) * 4;
            raw[at..at + 4].copy_from_slice(&real(rng).to_le_bytes());
        }
        _ => {
            let at = rng.below(raw.len());
            raw[at] = rng.bits() as u8;
        }
    }
    tensor.raw_data = Some(raw.into());
}

fn longs_in_place(list: &mut [i64], rng: &mut Rng) {
    if let Some(value) = rng.of_mut(list) {
        *value = near(*value, rng);
    }
}

fn external(tensor: &mut TensorProto, rng: &mut Rng) {
    const PLACES: &[&str] = &["w.bin", "../../etc/passwd", "/etc/passwd", "", "."];
    let entry =
        |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    tensor.data_location = Some(rng.below(3) as i32);
    tensor.external_data = vec![
        entry("location", rng.of(PLACES).copied().unwrap_or_default().into()),
        entry("offset", number(rng).to_string()),
        entry("length", number(rng).to_string()),
    ];
}
