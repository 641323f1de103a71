//! Random changes of 8-bit images while training: crops, mirror images, colours, holes.
//!
//! A picture is a function of (seed, epoch, sample): everything about it is drawn from one generator, in the order
//! in which [`Augment`] names the steps, which is also the order in which they are done.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::color::Adjustment;
use super::preprocess::MAX_SIDE;
use crate::rng::Rng;

/// What to change at random; nothing by default.
///
/// Steps work on 8-bit pixels before scale, mean and standard deviation. What they draw, in this order: the random
/// resized crop up to ten times area and aspect ratio, then row and column; the padded crop row and column; the
/// mirror image one number; the colours their order, then brightness, contrast and saturation; the hole row and
/// column. A step that is left out draws nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// A random part of the image is resized to the size that preprocessing gives, in place of its resizing and its
    /// centre crop (Szegedy et al. 2015; torchvision's `RandomResizedCrop`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// The preprocessed image is padded with this many zeros (black) on every side and cut to its size at a random
    /// place (He et al. 2016; torchvision's `RandomCrop(size, padding)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_padding: Option<usize>,
    /// Each image is mirrored with probability ½, left and right exchanged.
    pub flip: bool,
    /// Brightness, contrast and saturation are changed, in random order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<ColorJitter>,
    /// A square with sides of this many pixels around a random pixel becomes 0 after scale, mean and standard
    /// deviation: the mean colour (DeVries & Taylor 2017, Cutout). It may stick out of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<usize>,
}

/// The parts of an image that a random resized crop takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCrop {
    /// Least and greatest share of the image's area, uniform; 0.08 to 1 by default.
    pub scale: [f64; 2],
    /// Least and greatest width / height, uniform in the logarithm; 3/4 to 4/3 by default.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    fn default() -> RandomResizedCrop {
        RandomResizedCrop { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

/// How far colours are changed (torchvision's `ColorJitter`): a strength `s` draws a factor uniformly from
/// `max(0, 1 − s)` to `1 + s`, 0 changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// Towards or away from black.
    pub brightness: f64,
    /// Towards or away from the image's mean grey.
    pub contrast: f64,
    /// Towards or away from the pixel's grey; without effect on grey images.
    pub saturation: f64,
}

impl Augment {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Augment::default()
    }

    /// Whether all the numbers can be used, or what is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        for (name, pixels) in [("crop_padding", self.crop_padding), ("cutout", self.cutout)] {
            if pixels.is_some_and(|pixels| !(1..=MAX_SIDE).contains(&pixels)) {
                return Err(format!("{name}: must be 1 to {MAX_SIDE} pixels; leave it out for none"));
            }
        }
        if let Some(RandomResizedCrop { scale, ratio }) = self.random_resized_crop {
            if !(0.0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 1.0) {
                return Err(format!(
                    "random_resized_crop: scale {scale:?} must be two shares above 0 and up to 1, the smaller one first"
                ));
            }
            if !(0.0 < ratio[0] && ratio[0] <= ratio[1] && ratio[1].is_finite()) {
                return Err(format!(
                    "random_resized_crop: ratio {ratio:?} must be two numbers above 0, the smaller one first"
                ));
            }
        }
        if let Some(ColorJitter { brightness, contrast, saturation }) = self.color {
            for (name, strength) in
                [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)]
            {
                if !(strength >= 0.0 && strength.is_finite()) {
                    return Err(format!("color: {name} {strength} must be a number that is not negative"));
                }
            }
        }
        Ok(())
    }
}

/// An [`Augment`] with all that its draws depend on, but for the sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Augmenting<'a> {
    pub augment: &'a Augment,
    pub seed: u64,
    pub epoch: u64,
}

/// What is done to one image; nothing by default.
#[derive(Debug, Default)]
pub(super) struct Draw {
    /// The part of the original that is resized.
    pub part: Option<Part>,
    /// The upper left corner of the padded crop, relative to that of the preprocessed image.
    pub corner: [isize; 2],
    pub mirrored: bool,
    pub adjustments: Vec<Adjustment>,
    /// The rows and columns that become 0.
    pub hole: [Range<usize>; 2],
}

/// A part of an image: row and column of its upper left corner, height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub corner: [usize; 2],
    pub height: usize,
    pub width: usize,
}

impl Augmenting<'_> {
    /// The changes to a sample of `image` height and width, which preprocessing gives the size `size`.
    pub fn draw(&self, sample: usize, image: [usize; 2], size: [usize; 2]) -> Draw {
        let mut rng = Rng::new(self.seed, "augment", self.epoch, sample as u64);
        let Augment { random_resized_crop, crop_padding, flip, color, cutout } = self.augment;
        Draw {
            part: random_resized_crop.map(|crop| crop.draw(&mut rng, image)),
            corner: match *crop_padding {
                None => [0, 0],
                Some(padding) => {
                    [0; 2].map(|_: isize| rng.below(2 * padding + 1) as isize - padding as isize)
                }
            },
            mirrored: *flip && rng.uniform() < 0.5,
            adjustments: color.map_or_else(Vec::new, |color| color.draw(&mut rng)),
            hole: match *cutout {
                None => Default::default(),
                Some(side) => size.map(|length| {
                    let end = rng.below(length) + side - side / 2;
                    end.saturating_sub(side)..end.min(length)
                }),
            },
        }
    }
}

impl RandomResizedCrop {
    fn draw(&self, rng: &mut Rng, [height, width]: [usize; 2]) -> Part {
        for _ in 0..10 {
            let share = between(rng, self.scale);
            let ratio = between(rng, self.ratio.map(f64::ln)).exp();
            if let Some((h, w)) = part_size([height, width], share, ratio) {
                let corner = [rng.below(height - h + 1), rng.below(width - w + 1)];
                return Part { corner, height: h, width: w };
            }
        }
        self.fallback([height, width])
    }

    /// The largest part in the middle whose ratio is allowed.
    fn fallback(&self, [height, width]: [usize; 2]) -> Part {
        let ratio = width as f64 / height as f64;
        let (h, w) = if ratio < self.ratio[0] {
            ((width as f64 / self.ratio[0]).round_ties_even() as usize, width)
        } else if ratio > self.ratio[1] {
            (height, (height as f64 * self.ratio[1]).round_ties_even() as usize)
        } else {
            (height, width)
        };
        // torchvision fails where there is less than half a pixel.
        let (h, w) = (h.max(1), w.max(1));
        Part { corner: [(height - h) / 2, (width - w) / 2], height: h, width: w }
    }
}

/// Height and width of the part with this share of the area and this ratio, if it fits into the image.
fn part_size([height, width]: [usize; 2], share: f64, ratio: f64) -> Option<(usize, usize)> {
    let area = (height * width) as f64 * share;
    let w = (area * ratio).sqrt().round_ties_even() as usize;
    let h = (area / ratio).sqrt().round_ties_even() as usize;
    ((1..=height).contains(&h) && (1..=width).contains(&w)).then_some((h, w))
}

impl ColorJitter {
    fn draw(&self, rng: &mut Rng) -> Vec<Adjustment> {
        let mut order = [0, 1, 2];
        rng.shuffle(&mut order);
        let mut factor = |strength: f64| between(rng, [(1.0 - strength).max(0.0), 1.0 + strength]) as f32;
        let adjustments = [
            (self.brightness, Adjustment::Brightness(factor(self.brightness))),
            (self.contrast, Adjustment::Contrast(factor(self.contrast))),
            (self.saturation, Adjustment::Saturation(factor(self.saturation))),
        ];
        order.map(|i| adjustments[i]).into_iter().filter(|(s, _)| *s > 0.0).map(|(_, a)| a).collect()
    }
}

fn between(rng: &mut Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.uniform()
}
