//! Some samples as the model sees them, for reports.

use std::io::Cursor;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, RgbImage};
use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;

use super::evaluate::find_output;
use super::job::JobError;
use super::stages::Stages;
use crate::data::{Batch, ChannelOrder, Dataset, Layout, Stream};
use crate::report::{Content, Prediction, Sample};

const SAMPLES: usize = 6;
/// Numbers of a sample that is neither picture nor text.
const FIRST: usize = 8;

/// A few of the samples that are held out, plain and as augmented once, with what both models say of them.
pub(super) fn samples(stages: &Stages, original: &Graph, result: &Graph) -> Result<Vec<Sample>, JobError> {
    let data = &stages.data;
    let from = if stages.validation.is_empty() { &stages.training } else { &stages.validation };
    let count = SAMPLES.min(from.len());
    let mut indices = from[..count].to_vec();
    // A model of one batch size needs full batches.
    indices
        .resize(data.fixed_batch_size().unwrap_or(count).max(count), indices.first().copied().unwrap_or(0));
    let batch = data.batch(&indices[..data.fixed_batch_size().unwrap_or(count)])?;
    let augmented = augmented(stages, &indices)?;
    let predictions = |graph| predictions(stages, graph, &batch);
    let (originals, results) = (predictions(original)?, predictions(result)?);
    let shown = count.min(batch.indices.len());
    let samples = (0..shown).map(|row| Sample {
        plain: content(data, &batch, row),
        augmented: augmented.as_ref().and_then(|batch| {
            let row = batch.indices.iter().position(|index| *index == indices[row])?;
            Some(content(data, batch, row))
        }),
        label: batch.labels.as_ref().map(|labels| class_name(data, labels[row] as usize)),
        original: originals.get(row).cloned(),
        result: results.get(row).cloned(),
    });
    Ok(samples.collect())
}

/// The first step of a training on these samples alone; `None` where nothing is augmented.
fn augmented(stages: &Stages, indices: &[usize]) -> Result<Option<Batch>, JobError> {
    let options = &stages.config.tune;
    if options.augment.is_empty() {
        return Ok(None);
    }
    let mut stream = stages.data.stream(Stream {
        samples: indices.into(),
        batch_size: indices.len(),
        seed: options.seed,
        augment: options.augment.clone(),
        first_step: 0,
        steps: 1,
        threads: 1,
    });
    Ok(stream.next().transpose()?)
}

fn class_name(data: &Dataset, class: usize) -> String {
    data.class_names().get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// The most probable class of every sample; nothing where the output is no row of scores a sample.
fn predictions(stages: &Stages, graph: &Graph, batch: &Batch) -> Result<Vec<Prediction>, JobError> {
    let (index, _) = find_output(graph, stages.job.output)?;
    let options = SessionOptions { device: stages.job.device, ..SessionOptions::default() };
    let session = Session::new(Arc::new(graph.clone()), options)?;
    let inputs: Vec<Tensor> = batch.inputs.iter().map(|(_, tensor)| tensor.clone()).collect();
    let scores = session.run(&inputs)?.swap_remove(index);
    let (&[rows, classes], Ok(values)) = (scores.shape(), scores.to_f64_vec()) else { return Ok(Vec::new()) };
    if rows != batch.indices.len() || classes == 0 {
        return Ok(Vec::new());
    }
    let prediction = |row: &[f64]| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let class = row.iter().position(|score| *score == largest).unwrap_or(0);
        let sum: f64 = row.iter().map(|score| (score - largest).exp()).sum();
        // Scores that add up to 1 have been through a softmax.
        let is_probability = row.iter().all(|s| *s >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
        let probability = if is_probability { largest } else { 1.0 / sum };
        Prediction {
            class: class_name(&stages.data, class),
            probability: Some(probability).filter(|p| p.is_finite()),
        }
    };
    Ok(values.chunks_exact(classes).map(prediction).collect())
}

/// One sample of a batch.
fn content(data: &Dataset, batch: &Batch, row: usize) -> Content {
    let tensor = &batch.inputs[0].1;
    let shape = tensor.shape()[1..].to_vec();
    let length: usize = shape.iter().product();
    let values = tensor.to_f64_vec().unwrap_or_default();
    let values = values.get(row * length..(row + 1) * length).unwrap_or_default();
    match picture(data, &shape, values) {
        Some(picture) => Content::Picture(picture),
        None => Content::Array { first: values.iter().take(FIRST).map(|v| *v as f32).collect(), shape },
    }
}

/// A PNG file of the pixels before scale, mean and standard deviation.
fn picture(data: &Dataset, shape: &[usize], values: &[f64]) -> Option<Vec<u8>> {
    let preprocess = data.preprocess()?;
    let &[a, b, c] = shape else { return None };
    let nhwc = preprocess.layout == Some(Layout::Nhwc);
    let (channels, height, width) = if nhwc { (c, a, b) } else { (a, b, c) };
    if ![1, 3].contains(&channels) || values.len() != channels * height * width {
        return None;
    }
    let of = |list: &Option<Vec<f64>>, channel: usize, default: f64| match list.as_deref() {
        Some([one]) => *one,
        Some(many) => many.get(channel).copied().unwrap_or(default),
        None => default,
    };
    let scale = preprocess.scale.unwrap_or(1.0);
    let pixel = |row: usize, column: usize, channel: usize| {
        let at = if nhwc {
            (row * width + column) * channels + channel
        } else {
            (channel * height + row) * width + column
        };
        let value = values[at] * of(&preprocess.std, channel, 1.0) + of(&preprocess.mean, channel, 0.0);
        (value / scale).round().clamp(0.0, 255.0) as u8
    };
    let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let of_channel = |color: usize| {
            let bgr = preprocess.channel_order == Some(ChannelOrder::Bgr);
            let channel = if channels == 1 {
                0
            } else if bgr {
                2 - color
            } else {
                color
            };
            pixel(y as usize, x as usize, channel)
        };
        image::Rgb([0, 1, 2].map(of_channel))
    });
    let mut png = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut png, ImageFormat::Png).ok()?;
    Some(png.into_inner())
}
