//! Some samples as the model sees them, for reports.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;

use super::job::JobError;
use super::stages::Stages;
use crate::data::{Batch, Dataset, Preview};
use crate::report::{Content, Prediction, Sample};
use crate::tune::{Head, Meaning, labelled_output};

const SAMPLES: usize = 6;
/// Numbers of a sample that is neither picture nor text.
const FIRST: usize = 8;

/// A few of the samples that are held out, plain and as augmented once, with what both models say of them.
pub(super) fn samples(stages: &Stages, original: &Graph, result: &Graph) -> Result<Vec<Sample>, JobError> {
    let (data, from) = match stages.validation.indices.is_empty() {
        true => (&stages.data, &stages.training),
        false => (&stages.validation.data, &stages.validation.indices),
    };
    let shown = &from[..SAMPLES.min(from.len())];
    let mut indices = shown.to_vec();
    if let (Some(batch), Some(&first)) = (data.fixed_batch_size(), shown.first()) {
        // A model of one batch size needs full batches.
        indices.resize(batch, first);
    }
    let batch = data.batch(&indices)?;
    let originals = predictions(stages, original, &batch)?;
    let results = predictions(stages, result, &batch)?;
    let options = &stages.config.tune;
    let augment = Some((&options.augment, options.seed, 0)).filter(|(augment, ..)| !augment.is_empty());
    let sample = |(row, &index): (usize, &usize)| {
        let augmented = match augment {
            Some(_) => data.preview(index, augment)?.map(|preview| content(preview, &batch, row)),
            None => None,
        };
        Ok(Sample {
            plain: match data.preview(index, None)? {
                Some(preview) => content(preview, &batch, row),
                None => Content::Text(String::new()),
            },
            augmented,
            label: data.classes().map(|classes| class_name(data, classes[index] as usize)),
            original: originals.get(row).cloned(),
            result: results.get(row).cloned(),
        })
    };
    shown.iter().take(indices.len()).enumerate().map(sample).collect()
}

fn content(preview: Preview, batch: &Batch, row: usize) -> Content {
    match preview {
        Preview::Picture { png, .. } => Content::Picture(png),
        Preview::Text { text, .. } => Content::Text(text),
        Preview::Numbers { shape, .. } => {
            let length: usize = shape.iter().product();
            let values = batch.inputs[0].1.to_f64_vec().unwrap_or_default();
            let first = values.iter().skip(row * length).take(FIRST.min(length));
            Content::Array { first: first.map(|value| *value as f32).collect(), shape }
        }
    }
}

fn class_name(data: &Dataset, class: usize) -> String {
    data.class_names().get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// The most probable class of every sample; nothing where the output is no row of class scores a sample.
fn predictions(stages: &Stages, graph: &Graph, batch: &Batch) -> Result<Vec<Prediction>, JobError> {
    let index = labelled_output(graph, stages.job.outputs.first().map(|output| output.name.as_str()))?;
    let head = Head::of(graph, index, stages.data.labels(), stages.config.tune.objective);
    if !matches!(head.meaning, Meaning::Logits { .. } | Meaning::Probabilities { .. }) {
        return Ok(Vec::new());
    }
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
