//! Resampling of 8-bit images, bit for bit as Pillow 11 does it.
//!
//! Pillow (`Resample.c`) widens the filter's support by the scale when it shrinks (antialiasing), runs a
//! horizontal and then a vertical pass with weights of 22 fractional bits, and rounds to 8 bits after each pass.
//! Nearest neighbour takes the pixel under the centre of the output pixel. Pillow 13 exchanges the passes for some
//! sizes, which changes some pixels by 1.

use serde::{Deserialize, Serialize};

use super::view::View;

/// How pixels are interpolated, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// The nearest pixel; no antialiasing.
    Nearest,
    /// The mean of the pixels covered.
    Box,
    /// Linear in both directions.
    Bilinear,
    /// A sharper linear filter.
    Hamming,
    /// Cubic convolution with a = −0.5 (Keys 1981).
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

impl Resample {
    /// The filter with the number that Pillow, and so `preprocessor_config.json`, gives it.
    pub fn from_pillow(number: u64) -> Option<Resample> {
        Some(match number {
            0 => Resample::Nearest,
            1 => Resample::Lanczos,
            2 => Resample::Bilinear,
            3 => Resample::Bicubic,
            4 => Resample::Box,
            5 => Resample::Hamming,
            _ => return None,
        })
    }

    /// Half of the width on which the filter is not zero, in input pixels at scale 1.
    fn support(self) -> f64 {
        match self {
            Resample::Nearest => 0.0,
            Resample::Box => 0.5,
            Resample::Bilinear | Resample::Hamming => 1.0,
            Resample::Bicubic => 2.0,
            Resample::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) }
        };
        let distance = x.abs();
        match self {
            Resample::Nearest => 1.0,
            Resample::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Resample::Bilinear => (1.0 - distance).max(0.0),
            Resample::Hamming if distance >= 1.0 => 0.0,
            Resample::Hamming => sinc(distance) * (0.54 + 0.46 * (distance * std::f64::consts::PI).cos()),
            Resample::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Resample::Bicubic if distance < 2.0 => {
                ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
            }
            Resample::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Resample::Bicubic | Resample::Lanczos => 0.0,
        }
    }
}

/// An 8-bit image, `pixels: [height, width, channels]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (RGB) for files, whatever the array has for arrays.
    pub channels: usize,
    /// The samples, channels last.
    pub pixels: Vec<u8>,
}

/// Resizes to `height × width`, neither of which is 0.
pub(super) fn resize(image: &View<'_>, height: usize, width: usize, resample: Resample) -> Image {
    if resample == Resample::Nearest {
        return nearest(image, height, width);
    }
    let image = if width == image.width { image.to_image() } else { horizontal(image, width, resample) };
    if height == image.height { image } else { vertical(&image, height, resample) }
}

fn nearest(image: &View<'_>, height: usize, width: usize) -> Image {
    let (row_scale, column_scale) = (image.height as f64 / height as f64, image.width as f64 / width as f64);
    let source = |scale: f64, i: usize, size: usize| (((i as f64 + 0.5) * scale) as usize).min(size - 1);
    let mut pixels = Vec::with_capacity(height * width * image.channels);
    for row in 0..height {
        let row = source(row_scale, row, image.height);
        for column in 0..width {
            let column = source(column_scale, column, image.width);
            pixels.extend((0..image.channels).map(|channel| image.at(row, column, channel)));
        }
    }
    Image { height, width, channels: image.channels, pixels }
}

/// Fractional bits of the weights: 8 bits of sample and 2 of headroom are left of 32.
const PRECISION: u32 = 32 - 8 - 2;

/// The input pixels that one output pixel is made of: the first one and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(input: usize, output: usize, resample: Resample) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = resample.support() * stretch;
    (0..output)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            // `as usize` truncates and takes negative numbers to 0, which is what Pillow does.
            let first = (centre - support + 0.5) as usize;
            let last = ((centre + support + 0.5) as usize).min(input);
            let weights: Vec<f64> =
                (first..last).map(|j| resample.weight((j as f64 - centre + 0.5) * (1.0 / stretch))).collect();
            let sum: f64 = weights.iter().sum();
            let norm = if sum == 0.0 { 1.0 } else { sum };
            let weights =
                weights.iter().map(|w| (w / norm * f64::from(1 << PRECISION)).round() as i32).collect();
            Taps { first, weights }
        })
        .collect()
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn horizontal(image: &View<'_>, width: usize, resample: Resample) -> Image {
    let (height, channels) = (image.height, image.channels);
    let taps = taps(image.width, width, resample);
    let mut pixels = Vec::with_capacity(height * width * channels);
    for row in 0..height {
        for Taps { first, weights } in &taps {
            for channel in 0..channels {
                let mut sum = 1 << (PRECISION - 1);
                for (sample, weight) in image.along(row, *first, channel).zip(weights) {
                    sum += i32::from(sample) * weight;
                }
                pixels.push(clip(sum));
            }
        }
    }
    Image { height, width, channels, pixels }
}

fn vertical(image: &Image, height: usize, resample: Resample) -> Image {
    let stride = image.width * image.channels;
    let mut pixels = Vec::with_capacity(height * stride);
    let mut sums = vec![0_i32; stride];
    for Taps { first, weights } in taps(image.height, height, resample) {
        sums.fill(1 << (PRECISION - 1));
        for (row, weight) in image.pixels[first * stride..].chunks_exact(stride).zip(&weights) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(*sample) * weight;
            }
        }
        pixels.extend(sums.iter().map(|sum| clip(*sum)));
    }
    Image { height, pixels, ..*image }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image that the expected values below were computed for: `pixels[i] = (i·i·7 + i·31) mod 251`.
    fn sample(height: usize, width: usize) -> Image {
        let pixels = (0..height * width * 3).map(|i| ((i * i * 7 + i * 31) % 251) as u8).collect();
        Image { height, width, channels: 3, pixels }
    }

    include!("resize_pillow.rs");

    #[test]
    fn every_filter_gives_pillows_pixels() {
        for (resample, height, width, expected) in PILLOW {
            let resized = resize(&View::from(&sample(11, 7)), *height, *width, *resample);
            assert_eq!((resized.height, resized.width), (*height, *width));
            assert_eq!(resized.pixels, *expected, "{resample:?} to {height}×{width}");
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        assert_eq!(resize(&View::from(&sample(5, 4)), 5, 4, Resample::Lanczos), sample(5, 4));
    }
}
