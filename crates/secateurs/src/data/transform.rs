//! Carries out a [`Preprocess`] for one of a model's inputs.

use std::path::Path;

use super::error::{DataError, Result};
use super::preprocess::{ChannelOrder, Layout, Preprocess, Resize, Size};
use super::resize::{Image, Resample, resize};
use super::signature::InputSpec;

/// The steps for one input, with every choice made.
#[derive(Debug, Clone)]
pub(super) struct Transform {
    resize: Option<Resize>,
    resample: Resample,
    center_crop: Option<Size>,
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

    /// Appends one image's values to `values`; returns its shape without the batch axis.
    pub fn apply(&self, image: Image, values: &mut Vec<f32>) -> [usize; 3] {
        let image = match self.resize {
            None => image,
            Some(target) => {
                let (height, width) = target_size(target, image.height, image.width);
                resize(image, height, width, self.resample)
            }
        };
        let image = match self.center_crop {
            None => image,
            Some(size) => center_crop(&image, size),
        };
        let (height, width, channels) = (image.height, image.width, image.channels);
        let source = |channel: usize| self.source_channel(channel, channels);
        match self.layout {
            Layout::Nchw => {
                for (channel, table) in self.table.iter().enumerate() {
                    let from = source(channel);
                    values.extend(
                        image.pixels.iter().skip(from).step_by(channels).map(|p| table[usize::from(*p)]),
                    );
                }
                [self.table.len(), height, width]
            }
            Layout::Nhwc => {
                for pixel in image.pixels.chunks_exact(channels) {
                    values.extend(
                        self.table.iter().enumerate().map(|(c, table)| table[usize::from(pixel[source(c)])]),
                    );
                }
                [height, width, self.table.len()]
            }
        }
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

fn center_crop(image: &Image, size: Size) -> Image {
    let channels = image.channels;
    let mut pixels = vec![0; size.height * size.width * channels];
    // Where the cut begins in the image, and where the image begins in the cut if it is smaller.
    let margins = |image: usize, cut: usize| (image.saturating_sub(cut) / 2, cut.saturating_sub(image) / 2);
    let (top, pad_top) = margins(image.height, size.height);
    let (left, pad_left) = margins(image.width, size.width);
    let length = size.width.min(image.width) * channels;
    for row in 0..size.height.min(image.height) {
        let from = ((top + row) * image.width + left) * channels;
        let to = ((pad_top + row) * size.width + pad_left) * channels;
        pixels[to..to + length].copy_from_slice(&image.pixels[from..from + length]);
    }
    Image { height: size.height, width: size.width, channels, pixels }
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
        assert_eq!(transform.apply(two_pixels(), &mut values), [3, 1, 2]);
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
            let shape = transform(wishes, shape).apply(two_pixels(), &mut values);
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
            let shape = transform.apply(bytes.clone(), &mut expected);
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
        let image = Image { height: 1, width: 5, channels: 1, pixels: vec![1, 2, 3, 4, 5] };
        let cut = |height, width| center_crop(&image, Size { height, width }).pixels;
        assert_eq!(cut(1, 3), [2, 3, 4]);
        assert_eq!(cut(1, 2), [2, 3]);
        assert_eq!(cut(3, 7), [[0; 7], [0, 1, 2, 3, 4, 5, 0], [0; 7]].concat());
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
