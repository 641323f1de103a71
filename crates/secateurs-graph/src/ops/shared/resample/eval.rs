//! Evaluation of interpolation: libtorch's upsampling where its rules are the same, otherwise sums over taps.

use secateurs_torch::tch::{Kind, Tensor};

use super::{Coordinates, Line, Mode, Rules, Taps};
use crate::op::OpError;
use crate::ops::shared::at_run::index_tensor;

/// x resampled along every axis; by libtorch's own kernels where they do the same.
pub(in crate::ops) fn resample(x: &Tensor, rules: &Rules, lines: &[Line]) -> Result<Tensor, OpError> {
    let kind = x.f_kind()?;
    let nearest = matches!(rules.mode, Mode::Nearest(_));
    if lines.iter().any(|l| l.output == 0) {
        let shape: Vec<i64> = lines.iter().map(|l| l.output).collect();
        return Ok(Tensor::f_zeros(shape, (kind, x.device()))?);
    }
    let mut taps = Vec::with_capacity(lines.len());
    for line in lines {
        let too_large =
            || OpError::Unsupported(format!("resizing {} to {} indices", line.input, line.output));
        taps.push(match rules.is_identity(line) {
            true => None,
            false => Some(rules.taps(line).ok_or_else(too_large)?),
        });
    }
    let floating = matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
    if floating && let Some(y) = kernel(x, rules, lines, &taps)? {
        return Ok(y);
    }
    let mut y = match kind {
        Kind::Float | Kind::Double => x.shallow_clone(),
        _ if nearest => x.shallow_clone(),
        _ if floating => x.f_to_kind(Kind::Float)?,
        _ => x.f_to_kind(Kind::Double)?,
    };
    for (axis, taps) in taps.iter().enumerate() {
        if let Some(taps) = taps {
            y = along(&y, axis, taps, nearest, f64::from(rules.extrapolation_value))?;
        }
    }
    Ok(y.f_to_kind(kind)?)
}

fn along(x: &Tensor, axis: usize, taps: &Taps, nearest: bool, outside: f64) -> Result<Tensor, OpError> {
    let mut column = vec![1i64; x.dim()];
    column[axis] = -1;
    let pick = |tap: usize| -> Result<Tensor, OpError> {
        let indices: Vec<i64> = taps.indices.iter().skip(tap).step_by(taps.width).copied().collect();
        let picked = x.f_index_select(axis as i64, &index_tensor(&indices, x.device())?)?;
        if nearest {
            return Ok(picked);
        }
        let weights: Vec<f64> = taps.weights.iter().skip(tap).step_by(taps.width).copied().collect();
        let weights = Tensor::f_from_slice(&weights)?.f_to_kind(x.f_kind()?)?.f_to_device(x.device())?;
        Ok(picked.f_mul(&weights.f_reshape(&column)?)?)
    };
    let mut y = pick(0)?;
    for tap in 1..taps.width {
        y = y.f_add(&pick(tap)?)?;
    }
    if taps.outside.contains(&true) {
        let mask = Tensor::f_from_slice(&taps.outside)?.f_to_device(x.device())?.f_reshape(&column)?;
        y = y.f_masked_fill(&mask, outside)?;
    }
    Ok(y)
}

/// libtorch's upsampling of the trailing axes, where its rules are these.
fn kernel(
    x: &Tensor,
    rules: &Rules,
    lines: &[Line],
    taps: &[Option<Taps>],
) -> Result<Option<Tensor>, OpError> {
    if !(3..=5).contains(&lines.len()) || taps[..2].iter().any(Option::is_some) || rules.antialias {
        return Ok(None);
    }
    let lines = &lines[2..];
    let size: Vec<i64> = lines.iter().map(|l| l.output).collect();
    if let Mode::Nearest(_) = rules.mode {
        // Its index is ⌊i · input / output⌋, in 32 or 64 bits.
        let index = |line: &Line, i: i64| {
            let single = (i as f32 * (line.input as f32 / line.output as f32)).floor() as i64;
            let double = (i as f64 * (line.input as f64 / line.output as f64)).floor() as i64;
            (single == double).then_some(single.min(line.input - 1))
        };
        let same = |(line, taps): (&Line, &Option<Taps>)| match taps {
            None => true,
            Some(t) => {
                !t.outside.contains(&true)
                    && (0..line.output).zip(&t.indices).all(|(i, at)| index(line, i) == Some(*at))
            }
        };
        if !lines.iter().zip(&taps[2..]).all(same) {
            return Ok(None);
        }
        return Ok(Some(match size.len() {
            1 => x.f_upsample_nearest1d(size, None)?,
            2 => x.f_upsample_nearest2d(size, None, None)?,
            _ => x.f_upsample_nearest3d(size, None, None, None)?,
        }));
    }
    let align_corners = match rules.coordinates {
        Coordinates::HalfPixel => false,
        Coordinates::PytorchHalfPixel if lines.iter().all(|l| l.output > 1) => false,
        // Its scale is (input − 1) / (output − 1) by the whole sizes.
        Coordinates::AlignCorners if lines.iter().all(|l| l.scale * l.input as f32 == l.output as f32) => {
            true
        }
        _ => return Ok(None),
    };
    let scale = |i: usize| Some(f64::from(lines[i].scale));
    Ok(match (rules.mode, size.len()) {
        (Mode::Linear, 1) => Some(x.f_upsample_linear1d(size, align_corners, scale(0))?),
        (Mode::Linear, 2) => Some(x.f_upsample_bilinear2d(size, align_corners, scale(0), scale(1))?),
        (Mode::Linear, 3) => {
            Some(x.f_upsample_trilinear3d(size, align_corners, scale(0), scale(1), scale(2))?)
        }
        (Mode::Cubic(a), 2) if a == -0.75 && !rules.exclude_outside => {
            Some(x.f_upsample_bicubic2d(size, align_corners, scale(0), scale(1))?)
        }
        _ => None,
    })
}
