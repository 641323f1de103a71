//! Samples as a model sees them, for reports.

use image::ImageEncoder;
use image::codecs::png::PngEncoder;

use super::augment::{Augment, Augmenting};
use super::dataset::{Dataset, Source};
use super::error::{DataError, Result};
use super::resize::Image;

/// A sample in a form that people can look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Preview {
    /// An image after resizing, cropping and augmentation, grey or RGB.
    Picture {
        /// A PNG file.
        png: Vec<u8>,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A text.
    Text {
        /// The part that the model gets.
        text: String,
        /// Its tokens, special ones included.
        tokens: usize,
    },
    /// What the first input gets, as it is after preprocessing.
    Numbers {
        /// The sample's shape.
        shape: Vec<usize>,
        /// The least number.
        min: f64,
        /// The greatest number.
        max: f64,
        /// The mean.
        mean: f64,
    },
}

impl Dataset {
    /// One sample as the model sees it, changed at random as [`Dataset::stream`] does with this augmentation and
    /// seed in this epoch. `None` if there is no such sample or nothing in it.
    pub fn preview(&self, index: usize, augmented: Option<(&Augment, u64, u64)>) -> Result<Option<Preview>> {
        if index >= self.len() {
            return Ok(None);
        }
        let augmented = augmented.filter(|(augment, ..)| !augment.is_empty());
        let augmenting = augmented.map(|(augment, seed, epoch)| Augmenting { augment, seed, epoch });
        if let Some(Augmenting { augment, .. }) = augmenting {
            self.check_augment(augment)?;
        }
        let first = match &self.source {
            Source::Texts(texts) => {
                let (text, tokens) = texts.preview(index)?;
                return Ok(Some(Preview::Text { text, tokens }));
            }
            Source::Images(_) => 0,
            Source::Arrays(arrays) => arrays.first_input(),
        };
        let images = self.byte_images();
        let (position, transform) =
            images.first().map_or((first, None), |(position, transform, _)| (*position, Some(transform)));
        let tensor = &self.tensors(&[index], augmenting)?[position];
        let values =
            tensor.to_f64_vec().map_err(|e| DataError::Options(format!("{}: {e}", self.path().display())))?;
        let shape = &tensor.shape()[1..];
        if values.is_empty() {
            return Ok(None);
        }
        if let (Some(transform), &[a, b, c]) = (transform, shape)
            && let Some(picture) = transform.picture(&values, [a, b, c])
        {
            return self.png(&picture).map(Some);
        }
        Ok(Some(Preview::Numbers {
            shape: shape.to_vec(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: values.iter().sum::<f64>() / values.len() as f64,
        }))
    }

    fn png(&self, image: &Image) -> Result<Preview> {
        let color =
            if image.channels == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
        let mut png = Vec::new();
        // No side is longer than `MAX_SIDE` or than that of a decoded file.
        PngEncoder::new(&mut png)
            .write_image(&image.pixels, image.width as u32, image.height as u32, color)
            .map_err(|e| DataError::Image { path: self.path().to_owned(), source: Box::new(e) })?;
        Ok(Preview::Picture { png, width: image.width, height: image.height })
    }
}
