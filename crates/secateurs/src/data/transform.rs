//! Carries out a [`Preprocess`] for one of a model's inputs.

use std::ops::Range;
use std::path::Path;

use super::augment::{Augmenting, Draw};
use super::error::{DataError, Result};
use super::preprocess::{ChannelOrder, CropMargin, Layout, Preprocess, Resize, Size};
use super::resize::{Image, Resample, resize};
use super::signature::InputSpec;
use super::view::View;

/// The steps for one input, with every choice made.
#[derive(Debug, Clone)]
pub(super) struct Transform {
    resize: Option<Resize>,
    resample: Resample,
    center_crop: Option<Size>,
    crop_margin: CropMargin,
    pub layout: Layout,
    channel_order: ChannelOrder,
    /// Channels of the model's input.
    pub channels: usize,
    scale: f64,
    /// One per channel, in the order of the model's channels.
    mean: Vec<f64>,
    std: Vec<f64>,
    /// What every 8-bit value becomes, `[channels][256]`.
    table: Vec<[f32; 256]>,
}

impl Transform {
    /// Makes the choices for images with `channels` channels (`None`: whatever the model takes, which files can
    /// give).
    pub fn new(
        path: &Path,
        wishes: &Preprocess,
        spec: &InputSpec,
        channels: Option<usize>,
    ) -> Result<Transform> {
        wishes.check().map_err(DataError::Options)?;
        let unfit = |remedy: &str| DataError::Signature {
            path: path.to_owned(),
            input: spec.name.clone(),
            expected: spec.to_string(),
            got: "images [N, C, H, W] or [N, H, W, C]".to_owned(),
            remedy: remedy.to_owned(),
        };
        if spec.shape.len() != 4 {
            return Err(unfit("images need an input with four axes; give arrays as .npz instead"));
        }
        let holds = |axis: usize| {
            spec.size(axis).is_some_and(|size| channels.map_or(size == 1 || size == 3, |c| c == size))
        };
        let layout = wishes.layout.unwrap_or(if !holds(1) && holds(3) { Layout::Nhwc } else { Layout::Nchw });
        let axis = if layout == Layout::Nchw { 1 } else { 3 };
        let wanted = spec.size(axis).or(channels).unwrap_or(3);
        if channels.is_none() && wanted != 1 && wanted != 3 {
            return Err(unfit(
                "image files have 1 or 3 channels; choose the axis of the channels with --layout",
            ));
        }
        let integer_input = !spec.element_type.is_float();
        let scale = wishes.scale.unwrap_or(if integer_input { 1.0 } else { 1.0 / 255.0 });
        let mean = per_channel("mean", wishes.mean.as_deref(), wanted, 0.0)?;
        let std = per_channel("std", wishes.std.as_deref(), wanted, 1.0)?;
        let table = mean
            .iter()
            .zip(&std)
            .map(|(mean, std)| std::array::from_fn(|value| ((value as f64 * scale - mean) / std) as f32))
            .collect();
        Ok(Transform {
            resize: wishes.resize,
            resample: wishes.resample.unwrap_or(Resample::Bilinear),
            center_crop: wishes.center_crop,
            crop_margin: wishes.crop_margin.unwrap_or(CropMargin::Rounded),
            layout,
            channel_order: wishes.channel_order.unwrap_or(ChannelOrder::Rgb),
            channels: wanted,
            scale,
            mean,
            std,
            table,
        })
    }

    /// The wishes with every choice filled in, for reports.
    pub fn describe(&self) -> Preprocess {
        Preprocess {
            resize: self.resize,
            resample: self.resize.map(|_| self.resample),
            center_crop: self.center_crop,
            crop_margin: self.center_crop.map(|_| self.crop_margin),
            scale: Some(self.scale),
            mean: Some(self.mean.clone()),
            std: Some(self.std.clone()),
            layout: Some(self.layout),
            channel_order: Some(self.channel_order),
        }
    }

    /// Whether it changes the size of images, which only 8-bit images can have done.
    pub fn changes_size(&self) -> bool {
        self.resize.is_some() || self.center_crop.is_some()
    }

    /// Appends the values of one image, augmented if the sample is told, to `values`; returns its shape without the
    /// batch axis.
    pub fn apply(
        &self,
        image: View<'_>,
        augmenting: Option<(Augmenting<'_>, usize)>,
        values: &mut Vec<f32>,
    ) -> [usize; 3] {
        let resized_to = self.resize.map(|target| target_size(target, image.height, image.width));
        let uncropped = resized_to.unwrap_or((image.height, image.width));
        let (height, width) = self.center_crop.map_or(uncropped, |size| (size.height, size.width));
        let draw = augmenting.map_or_else(Draw::default, |(augmenting, sample)| {
            augmenting.draw(sample, [image.height, image.width], [height, width])
        });
        let changed;
        let (part, size) = match draw.part {
            Some(part) => {
                (image.cut(part.corner.map(|at| at as isize), part.height, part.width), (height, width))
            }
            None => (image, uncropped),
        };
        let view = if size == (part.height, part.width) {
            part
        } else {
            changed = resize(&part, size.0, size.1, self.resample);
            View::from(&changed)
        };
        let view = view.middle(height, width, self.crop_margin);
        let view = view.cut(draw.corner, height, width).mirrored(draw.mirrored);
        if draw.adjustments.is_empty() {
            return self.normalize(&view, &draw.hole, values);
        }
        let mut image = view.to_image();
        draw.adjustments.iter().for_each(|adjustment| adjustment.apply(&mut image));
        self.normalize(&View::from(&image), &draw.hole, values)
    }

    /// Appends what is seen after scale, mean and standard deviation, with 0 in the rows and columns of the hole.
    fn normalize(&self, view: &View<'_>, hole: &[Range<usize>; 2], values: &mut Vec<f32>) -> [usize; 3] {
        let (height, width, channels) = (view.height, view.width, self.table.len());
        let start = values.len();
        values.resize(start + channels * height * width, 0.0);
        let values = &mut values[start..];
        // From a channel, a row and a column to the next one.
        let (shape, steps) = match self.layout {
            Layout::Nchw => ([channels, height, width], [height * width, width, 1]),
            Layout::Nhwc => ([height, width, channels], [1, width * channels, channels]),
        };
        for (channel, table) in self.table.iter().enumerate() {
            let from = self.source_channel(channel, view.channels);
            view.copy_channel(
                from,
                |value| table[usize::from(value)],
                &mut values[channel * steps[0]..],
                steps[2],
            );
        }
        let [rows, columns] = hole;
        for row in rows.clone() {
            for column in columns.clone() {
                for channel in 0..channels {
                    values[channel * steps[0] + row * steps[1] + column * steps[2]] = 0.0;
                }
            }
        }
        shape
    }

    /// The 8-bit image, grey or RGB, that becomes these values of this shape; `None` for other numbers of channels.
    pub fn picture(&self, values: &[f64], shape: [usize; 3]) -> Option<Image> {
        let [channels, height, width] =
            if self.layout == Layout::Nchw { shape } else { [shape[2], shape[0], shape[1]] };
        if channels != 1 && channels != 3 {
            return None;
        }
        let mut pixels = vec![0; values.len()];
        for (pixel, to) in pixels.chunks_exact_mut(channels).enumerate() {
            for channel in 0..channels {
                let at = match self.layout {
                    Layout::Nchw => channel * height * width + pixel,
                    Layout::Nhwc => pixel * channels + channel,
                };
                let value = (values[at] * self.std[channel] + self.mean[channel]) / self.scale;
                // `as u8` clips.
                to[self.source_channel(channel, channels)] = value.round() as u8;
            }
        }
        Some(Image { height, width, channels, pixels })
    }

    /// Appends one float image `[H, W, C]` or, if `planar`, `[C, H, W]` to `values`; returns its shape.
    pub fn apply_floats(
        &self,
        image: &[f64],
        shape: [usize; 3],
        planar: bool,
        values: &mut Vec<f32>,
    ) -> [usize; 3] {
        let [channels, height, width] = if planar { shape } else { [shape[2], shape[0], shape[1]] };
        let pixels = height * width;
        let value = |channel: usize, pixel: usize| {
            let from = self.source_channel(channel, channels);
            let sample = if planar { image[from * pixels + pixel] } else { image[pixel * channels + from] };
            ((sample * self.scale - self.mean[channel]) / self.std[channel]) as f32
        };
        match self.layout {
            Layout::Nchw => {
                values.extend(
                    (0..channels).flat_map(|c| (0..pixels).map(move |p| (c, p))).map(|(c, p)| value(c, p)),
                );
                [channels, height, width]
            }
            Layout::Nhwc => {
                values.extend(
                    (0..pixels).flat_map(|p| (0..channels).map(move |c| (c, p))).map(|(c, p)| value(c, p)),
                );
                [height, width, channels]
            }
        }
    }

    /// The channel of an RGB image that becomes the model's `channel`; a grey image serves all of them.
    fn source_channel(&self, channel: usize, channels: usize) -> usize {
        match self.channel_order {
            _ if channels == 1 => 0,
            ChannelOrder::Rgb => channel,
            ChannelOrder::Bgr => channels - 1 - channel,
        }
    }
}

fn per_channel(name: &str, numbers: Option<&[f64]>, channels: usize, default: f64) -> Result<Vec<f64>> {
    match numbers {
        None => Ok(vec![default; channels]),
        Some([number]) => Ok(vec![*number; channels]),
        Some(numbers) if numbers.len() == channels => Ok(numbers.to_vec()),
        Some(numbers) => Err(DataError::Options(format!(
            "preprocessing: {name} has {} numbers, but the model's input has {channels} channels",
            numbers.len()
        ))),
    }
}

fn target_size(resize: Resize, height: usize, width: usize) -> (usize, usize) {
    match resize {
        Resize::Exact(size) => (size.height, size.width),
        Resize::ShorterSide(side) if height <= width => (side, side * width / height),
        Resize::ShorterSide(side) => (side * height / width, side),
    }
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::ElementType;

    use super::*;
    use crate::data::preprocess::Preset;

    fn spec(shape: [usize; 4]) -> InputSpec {
        let shape = shape.iter().map(|size| (*size != 0).then_some(*size)).collect();
        InputSpec { name: "input".to_owned(), element_type: ElementType::Float32, shape }
    }

    fn transform(wishes: &Preprocess, shape: [usize; 4]) -> Transform {
        Transform::new(Path::new("data"), wishes, &spec(shape), None).unwrap()
    }

    fn two_pixels() -> Image {
        Image { height: 1, width: 2, channels: 3, pixels: vec![0, 128, 255, 10, 20, 30] }
    }

    #[test]
    fn cifar10_pixels_become_the_numbers_of_the_exporter() {
        let transform = transform(&Preset::Cifar10.preprocess(), [0, 3, 0, 0]);
        let mut values = Vec::new();
        assert_eq!(transform.apply(View::from(&two_pixels()), None, &mut values), [3, 1, 2]);
        // numpy: ((x / 255 - mean) / std).T
        let expected = [-1.989_474, -1.830_706, 0.081_153, -1.658_187, 2.115_826, -1.257_083];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{values:?}");
        }
    }

    #[test]
    fn the_layout_follows_the_input_and_the_wish() {
        let order = |wishes: &Preprocess, shape| {
            let mut values = Vec::new();
            let shape = transform(wishes, shape).apply(View::from(&two_pixels()), None, &mut values);
            (shape, values.iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<_>>())
        };
        let plain = Preprocess::default();
        assert_eq!(order(&plain, [0, 3, 1, 2]), ([3, 1, 2], vec![0, 10, 128, 20, 255, 30]));
        assert_eq!(order(&plain, [0, 0, 2, 3]), ([1, 2, 3], vec![0, 128, 255, 10, 20, 30]));
        assert_eq!(order(&plain, [0, 0, 0, 0]).0, [3, 1, 2]);
        let nhwc = Preprocess { layout: Some(Layout::Nhwc), ..Preprocess::default() };
        assert_eq!(order(&nhwc, [0, 0, 0, 0]).0, [1, 2, 3]);
        let bgr = Preprocess { channel_order: Some(ChannelOrder::Bgr), ..Preprocess::default() };
        assert_eq!(order(&bgr, [0, 3, 1, 2]).1, [255, 30, 128, 20, 0, 10]);
    }

    #[test]
    fn floats_are_scaled_and_turned_like_pixels() {
        let bytes = two_pixels();
        let floats: Vec<f64> = bytes.pixels.iter().map(|p| f64::from(*p)).collect();
        for wishes in [Preprocess::default(), Preset::Cifar10.preprocess()] {
            let transform = transform(&wishes, [0, 3, 0, 0]);
            let (mut expected, mut values) = (Vec::new(), Vec::new());
            let shape = transform.apply(View::from(&bytes), None, &mut expected);
            assert_eq!(transform.apply_floats(&floats, [1, 2, 3], false, &mut values), shape);
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn the_shorter_side_keeps_the_aspect_ratio() {
        assert_eq!(target_size(Resize::ShorterSide(256), 480, 641), (256, 341));
        assert_eq!(target_size(Resize::ShorterSide(256), 641, 480), (341, 256));
        assert_eq!(target_size(Resize::Exact(Size { height: 2, width: 9 }), 4, 4), (2, 9));
    }

    #[test]
    fn the_middle_is_cut_or_padded() {
        let image = Image { height: 1, width: 8, channels: 1, pixels: (1..=8).collect() };
        let cut = |height, width, margin| View::from(&image).middle(height, width, margin).to_image().pixels;
        // torchvision: int(round((8 - width) / 2.0)) of Python, which rounds halves to even numbers.
        for (width, rounded, floored) in [(6, 2, 2), (7, 1, 1), (5, 3, 2), (3, 3, 3), (1, 5, 4)] {
            assert_eq!(cut(1, width, CropMargin::Rounded)[0], rounded, "{width}");
            assert_eq!(cut(1, width, CropMargin::Floored)[0], floored, "{width}");
        }
        let padded = [vec![0; 11], vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0], vec![0; 11]].concat();
        assert_eq!(cut(3, 11, CropMargin::Rounded), padded);
        assert_eq!(cut(3, 11, CropMargin::Floored), padded);
    }

    #[test]
    fn misfits_are_errors() {
        let error = |wishes: &Preprocess, spec: &InputSpec| {
            Transform::new(Path::new("data"), wishes, spec, None).unwrap_err().to_string()
        };
        let flat = InputSpec { shape: vec![None, Some(784)], ..spec([0; 4]) };
        assert!(error(&Preprocess::default(), &flat).contains("four axes"));
        assert!(error(&Preprocess::default(), &spec([0, 4, 8, 8])).contains("--layout"));
        let mean = Preprocess { mean: Some(vec![0.0, 0.0]), ..Preprocess::default() };
        assert!(error(&mean, &spec([0, 3, 8, 8])).contains("mean has 2 numbers"));
    }
}
