//! Changes of colour, bit for bit as Pillow's `ImageEnhance`, and so torchvision on Pillow images, makes them.

use super::resize::Image;

/// One change: the picture is blended with a dull one, `dull + factor · (picture − dull)`, clipped to 8 bits and
/// rounded towards 0 (`Blend.c`). A factor of 1 changes nothing, 0 leaves the dull picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Adjustment {
    /// The dull picture is black.
    Brightness(f32),
    /// The dull picture has the mean grey everywhere.
    Contrast(f32),
    /// The dull picture is grey.
    Saturation(f32),
}

impl Adjustment {
    /// Changes an image with 1 (grey) or 3 (RGB) channels.
    pub fn apply(self, image: &mut Image) {
        match self {
            Adjustment::Brightness(factor) => towards(image, 0, factor),
            Adjustment::Contrast(factor) => towards(image, mean_grey(image), factor),
            Adjustment::Saturation(factor) if image.channels == 3 => {
                for pixel in image.pixels.as_chunks_mut::<3>().0 {
                    let grey = luma(*pixel);
                    *pixel = pixel.map(|value| blend(grey, value, factor));
                }
            }
            Adjustment::Saturation(_) => {}
        }
    }
}

/// Blends every value with the same dull one.
fn towards(image: &mut Image, dull: u8, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(dull, value as u8, factor));
    image.pixels.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

fn blend(dull: u8, value: u8, factor: f32) -> u8 {
    // `as u8` clips.
    (f32::from(dull) + factor * (f32::from(value) - f32::from(dull))) as u8
}

fn mean_grey(image: &Image) -> u8 {
    let sum: u64 = match image.channels {
        3 => image.pixels.as_chunks::<3>().0.iter().map(|pixel| u64::from(luma(*pixel))).sum(),
        _ => image.pixels.iter().map(|value| u64::from(*value)).sum(),
    };
    (sum as f64 / (image.height * image.width) as f64 + 0.5) as u8
}

/// ITU-R 601-2 luma in Pillow's fixed-point arithmetic.
pub(super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}
