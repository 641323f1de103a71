//! Numbers where things go wrong, and what declarations say.

use secateurs_onnx::proto::{ValueInfoProto, tensor_shape_proto, type_proto};
use serde_json::Value;

use crate::rng::Rng;

/// A number at a limit, or a small one.
pub fn number(rng: &mut Rng) -> i64 {
    const LIMITS: &[i64] = &[
        i64::MIN,
        i64::MIN + 1,
        -(1 << 31),
        -129,
        -2,
        -1,
        0,
        1,
        2,
        3,
        4,
        8,
        127,
        256,
        65_536,
        1 << 20,
        1 << 31,
        (1 << 32) + 1,
        1 << 40,
        1 << 62,
        i64::MAX - 1,
        i64::MAX,
    ];
    match rng.of(LIMITS) {
        Some(limit) if rng.one_in(2) => *limit,
        _ => rng.below(9) as i64 - 2,
    }
}

/// A number near this one, or any.
pub fn near(value: i64, rng: &mut Rng) -> i64 {
    match rng.below(6) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => value.wrapping_neg(),
        3 => value.wrapping_mul(2),
        _ => number(rng),
    }
}

/// A number at a limit of 32 bits.
pub fn real(rng: &mut Rng) -> f32 {
    const LIMITS: &[f32] = &[0.0, -0.0, 1.0, -1.0, 0.5, 1e-9, 1e30, f32::MAX, f32::INFINITY, f32::NAN];
    rng.of(LIMITS).copied().unwrap_or_default()
}

/// Changes a list of numbers.
pub fn longs(list: &mut Vec<i64>, rng: &mut Rng) {
    let at = rng.below(list.len());
    match rng.below(6) {
        0 => list.push(number(rng)),
        1 if !list.is_empty() => drop(list.remove(at)),
        2 if !list.is_empty() => {
            let other = rng.below(list.len());
            list.swap(at, other);
        }
        _ => {
            if let Some(value) = list.get_mut(at) {
                *value = near(*value, rng);
            }
        }
    }
}

/// Changes what is declared of an input or output.
pub fn info(info: &mut ValueInfoProto, rng: &mut Rng) {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        return;
    };
    let Some(shape) = tensor.shape.as_mut().filter(|_| !rng.one_in(8)) else {
        tensor.elem_type = Some(rng.below(30) as i32);
        return;
    };
    let at = rng.below(shape.dim.len());
    match rng.below(6) {
        0 => shape.dim.insert(at, tensor_shape_proto::Dimension::default()),
        1 if !shape.dim.is_empty() => drop(shape.dim.remove(at)),
        2 if rng.one_in(3) => tensor.shape = None,
        _ => {
            use tensor_shape_proto::dimension::Value;
            let Some(dim) = shape.dim.get_mut(at) else { return };
            const NAMES: &[&str] =
                &["batch", "n", "2*n", "n + 1", "floor(n/2)", "n*n*n", "max(1, n)", "-", "n/0"];
            dim.value = match (rng.below(3), rng.of(NAMES)) {
                (0, Some(name)) => Some(Value::DimParam((*name).into())),
                _ => Some(Value::DimValue(number(rng))),
            };
        }
    }
}

/// Changes one thing somewhere in JSON.
pub fn json(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Array(list) if !list.is_empty() && !rng.one_in(4) => {
            let at = rng.below(list.len());
            match rng.below(6) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                _ => json(&mut list[at], rng),
            }
        }
        Value::Object(map) if !map.is_empty() && !rng.one_in(8) => {
            let at = rng.below(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(at) {
                json(inner, rng);
            }
        }
        Value::Number(n) => *value = near(n.as_i64().unwrap_or_default(), rng).into(),
        Value::Bool(flag) => *value = (!*flag).into(),
        Value::String(text) => {
            const WORDS: &[&str] = &["inner", "outer", "pointwise", "low_rank", "w[0]", "v[9]", "", "layer"];
            *text = rng.of(WORDS).copied().unwrap_or_default().into();
        }
        other => *other = Value::Null,
    }
}
