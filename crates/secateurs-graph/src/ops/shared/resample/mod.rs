//! Interpolation along axes: Resize and Upsample.
//!
//! Every output index of an axis is a weighted sum of a few input indices, its *taps*; axes are done one after another.
//! Coordinates are computed in 32 bits, as ONNX Runtime does, so that rounding ties fall the same way.

mod axes;
#[cfg(feature = "torch")]
mod eval;

use crate::dim::Dim;

pub(in crate::ops) use axes::{resample_axes, resample_shrunk};
#[cfg(feature = "torch")]
pub(in crate::ops) use eval::resample;

/// How an axis is interpolated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::ops) enum Mode {
    Nearest(Nearest),
    Linear,
    /// With the coefficient a of Keys' kernel.
    Cubic(f32),
}

/// Which index is the nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
    /// Opset 10: down when the axis grows, up when it shrinks.
    Outward,
}

/// From indices of the output to positions in the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
    TfCropAndResize,
}

/// The rules for all axes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::ops) struct Rules {
    pub mode: Mode,
    pub coordinates: Coordinates,
    pub antialias: bool,
    pub exclude_outside: bool,
    pub extrapolation_value: f32,
}

/// One axis: its sizes, the scale, and for `TfCropAndResize` the part of the input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::ops) struct Line {
    pub input: i64,
    pub output: i64,
    pub scale: f32,
    pub roi: Option<(f32, f32)>,
}

/// For every output index the input indices and their weights, `width` each.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Taps {
    pub width: usize,
    pub indices: Vec<i64>,
    pub weights: Vec<f64>,
    /// Output indices that lie outside the input and hold the extrapolation value.
    pub outside: Vec<bool>,
}

/// Names in ONNX.
pub(in crate::ops) const NEAREST: [(&str, Nearest); 4] = [
    ("round_prefer_floor", Nearest::RoundPreferFloor),
    ("round_prefer_ceil", Nearest::RoundPreferCeil),
    ("floor", Nearest::Floor),
    ("ceil", Nearest::Ceil),
];

/// Names in ONNX.
pub(in crate::ops) const COORDINATES: [(&str, Coordinates); 7] = [
    ("half_pixel", Coordinates::HalfPixel),
    ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
    ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
    ("align_corners", Coordinates::AlignCorners),
    ("asymmetric", Coordinates::Asymmetric),
    ("tf_half_pixel_for_nn", Coordinates::TfHalfPixelForNn),
    ("tf_crop_and_resize", Coordinates::TfCropAndResize),
];

/// Beyond this many taps an axis is refused.
const MAX_TAPS: usize = 1 << 24;

impl Rules {
    /// Whether the axis stays as it is.
    pub fn is_identity(&self, line: &Line) -> bool {
        line.scale == 1.0 && line.input == line.output && line.roi.is_none_or(|roi| roi == (0.0, 1.0))
    }

    /// The position in the input.
    fn position(&self, line: &Line, x: i64) -> f32 {
        let (x, input, scale) = (x as f32, line.input as f32, line.scale);
        let output = scale * input;
        let half_pixel = (x + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => input / 2.0 * (1.0 - line.output as f32 / output) + half_pixel,
            Coordinates::PytorchHalfPixel => {
                if line.output > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners if output == 1.0 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x / scale,
            Coordinates::TfHalfPixelForNn => (x + 0.5) / scale,
            Coordinates::TfCropAndResize => {
                let (start, end) = line.roi.unwrap_or((0.0, 1.0));
                if line.output > 1 {
                    start * (input - 1.0) + x * (end - start) * (input - 1.0) / (output - 1.0)
                } else {
                    0.5 * (start + end) * (input - 1.0)
                }
            }
        }
    }

    /// The taps of an axis; `None` if there would be too many.
    pub fn taps(&self, line: &Line) -> Option<Taps> {
        let scale = if self.antialias { f64::from(line.scale.min(1.0)) } else { 1.0 };
        let reach = match self.mode {
            Mode::Nearest(_) => 0.0,
            Mode::Linear => 1.0 / scale,
            Mode::Cubic(_) => 2.0 / scale,
        };
        // Indices from `first` on, counted from the one at or before the position.
        let (first, width) = match self.mode {
            Mode::Nearest(_) => (0, 1),
            _ if !reach.is_finite() || reach > MAX_TAPS as f64 => return None,
            _ => ((-reach).floor() as i64 + 1, (2 - 2 * ((-reach).floor() as i64 + 1)) as usize),
        };
        let total = usize::try_from(line.output).ok()?.checked_mul(width)?;
        if total > MAX_TAPS || line.input < 1 {
            return None;
        }
        let mut taps = Taps {
            width,
            indices: Vec::with_capacity(total),
            weights: Vec::with_capacity(total),
            outside: Vec::with_capacity(line.output as usize),
        };
        for x in 0..line.output {
            let position = self.position(line, x);
            let crop = self.coordinates == Coordinates::TfCropAndResize;
            taps.outside.push(crop && !(0.0..=(line.input - 1) as f32).contains(&position));
            self.push(line, position, first, scale, &mut taps);
        }
        Some(taps)
    }

    fn push(&self, line: &Line, position: f32, first: i64, scale: f64, taps: &mut Taps) {
        if let Mode::Nearest(nearest) = self.mode {
            let index = nearest.index(position, line.scale);
            taps.indices.push(index.clamp(0, line.input - 1));
            taps.weights.push(1.0);
            return;
        }
        let floor = position.floor();
        let ratio = f64::from(position - floor);
        let base = floor as i64 + first;
        let start = taps.weights.len();
        for i in 0..taps.width as i64 {
            let index = base.saturating_add(i);
            let distance = ((first + i) as f64 - ratio) * scale;
            let weight = match self.mode {
                Mode::Cubic(a) => keys(distance.abs(), f64::from(a)),
                _ => (1.0 - distance.abs()).max(0.0),
            };
            let excluded = self.exclude_outside && !(0..line.input).contains(&index);
            taps.weights.push(if excluded { 0.0 } else { weight });
            taps.indices.push(index.clamp(0, line.input - 1));
        }
        let sum: f64 = taps.weights[start..].iter().sum();
        if sum != 0.0 {
            taps.weights[start..].iter_mut().for_each(|w| *w /= sum);
        }
    }
}

impl Nearest {
    fn index(self, position: f32, scale: f32) -> i64 {
        let index = match self {
            Nearest::RoundPreferFloor => (position - 0.5).ceil(),
            Nearest::RoundPreferCeil => (position + 0.5).floor(),
            Nearest::Floor => position.floor(),
            Nearest::Ceil => position.ceil(),
            Nearest::Outward => {
                if scale < 1.0 {
                    position.ceil()
                } else {
                    position.floor()
                }
            }
        };
        index as i64
    }
}

/// Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981, eq. 4) at a distance.
fn keys(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}

/// A size times a scale, rounded down; in 32 bits, as ONNX Runtime does.
pub(in crate::ops) fn scaled_size(size: &Dim, scale: f32) -> Dim {
    if let Some(size) = size.known() {
        return Dim::from((size as f32 * scale).floor() as i64);
    }
    let whole = |n: i64| (f64::from(scale) * n as f64).fract() == 0.0;
    match (1..=64i64).find(|&n| whole(n)) {
        Some(n) => (size.clone() * ((f64::from(scale) * n as f64) as i64).into()).floor_div(&n.into()),
        None => Dim::unknown(),
    }
}
