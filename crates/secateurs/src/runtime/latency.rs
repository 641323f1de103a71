//! Latency of models side by side.
//!
//! Models run in turns (A B A B …), so that what changes on the machine meanwhile changes all of them alike. Medians
//! and quantiles are over single runs. Measure in a process of its own ([`super::measure_in_child`]): the threads of
//! libtorch spin and distort the times.

use std::path::PathBuf;
use std::time::Instant;

use secateurs_onnx::{ElementType, Tensor};
use serde::{Deserialize, Serialize};

use super::error::{Result, RuntimeError};
use super::model::{Optimisation, OrtModel, SessionOptions};
use crate::data::InputSpec;
use crate::rng::Rng;

/// A model to time, and the shapes of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyJob {
    /// The ONNX file.
    pub model: PathBuf,
    /// Shapes by the inputs' names; an input that is not named has the shape of the model, with 1 for every size that
    /// is not fixed there.
    #[serde(default)]
    pub shapes: Vec<(String, Vec<usize>)>,
}

/// How models are timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyOptions {
    /// Threads of every model.
    pub threads: usize,
    /// Runs of every model before the timed ones.
    pub warmup: usize,
    /// Timed runs of every model at least.
    pub min_runs: usize,
    /// Seconds to go on for, over all models, unless `min_runs` take longer.
    pub seconds: f64,
}

impl Default for LatencyOptions {
    /// One thread, 5 runs to warm up, at least 20 runs and 5 s.
    fn default() -> LatencyOptions {
        LatencyOptions { threads: 1, warmup: 5, min_runs: 20, seconds: 5.0 }
    }
}

/// The times of one model's runs, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Half of the runs were faster.
    pub median_ms: f64,
    /// A tenth of the runs were faster.
    pub p10_ms: f64,
    /// A quarter of the runs were faster.
    pub lower_quartile_ms: f64,
    /// Three quarters of the runs were faster.
    pub upper_quartile_ms: f64,
    /// Nine tenths of the runs were faster.
    pub p90_ms: f64,
    /// The fastest run.
    pub min_ms: f64,
    /// Number of timed runs.
    pub runs: usize,
}

impl Timing {
    /// The quantiles of `times_ms`, which must not be empty, interpolated between neighbours.
    pub fn from_times(mut times_ms: Vec<f64>) -> Timing {
        times_ms.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let position = share * (times_ms.len() - 1) as f64;
            let (below, part) = (position.floor() as usize, position.fract());
            let above = (below + 1).min(times_ms.len() - 1);
            times_ms[below] + (times_ms[above] - times_ms[below]) * part
        };
        Timing {
            median_ms: quantile(0.5),
            p10_ms: quantile(0.1),
            lower_quartile_ms: quantile(0.25),
            upper_quartile_ms: quantile(0.75),
            p90_ms: quantile(0.9),
            min_ms: times_ms[0],
            runs: times_ms.len(),
        }
    }
}

/// Times models in this process, in turns, on random inputs; one [`Timing`] per job, in their order.
pub fn measure(jobs: &[LatencyJob], options: &LatencyOptions) -> Result<Vec<Timing>> {
    let session = SessionOptions {
        threads: Some(options.threads.max(1)),
        optimisation: Optimisation::All,
        spinning: true,
    };
    let mut models = Vec::with_capacity(jobs.len());
    for job in jobs {
        let model = OrtModel::load(&job.model, &session)?;
        let inputs = random_inputs(job, model.inputs())?;
        let inputs = model.prepare(&inputs)?;
        models.push((model, inputs));
    }
    for _ in 0..options.warmup {
        for (model, inputs) in &mut models {
            model.run_prepared(inputs)?;
        }
    }
    let mut times_ms = vec![Vec::new(); models.len()];
    let start = Instant::now();
    while !models.is_empty()
        && (times_ms[0].len() < options.min_runs.max(1) || start.elapsed().as_secs_f64() < options.seconds)
    {
        for ((model, inputs), times_ms) in models.iter_mut().zip(&mut times_ms) {
            let start = Instant::now();
            model.run_prepared(inputs)?;
            times_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times_ms.into_iter().map(Timing::from_times).collect())
}

/// Normally distributed floats; of integers and booleans 1 for masks and 0 for all else, which is an index that
/// every table has.
fn random_inputs(job: &LatencyJob, specs: &[InputSpec]) -> Result<Vec<(String, Tensor)>> {
    let error = |message: String| RuntimeError::Run { model: job.model.display().to_string(), message };
    if let Some((name, _)) = job.shapes.iter().find(|(name, _)| specs.iter().all(|spec| spec.name != *name)) {
        return Err(error(format!("the model has no input '{name}' to give a shape to")));
    }
    specs
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            let given =
                job.shapes.iter().find(|(name, _)| *name == spec.name).map(|(_, shape)| shape.clone());
            let shape = given.unwrap_or_else(|| spec.shape.iter().map(|size| size.unwrap_or(1)).collect());
            let tensor = random_tensor(spec, shape, number as u64);
            tensor
                .map(|tensor| (spec.name.clone(), tensor))
                .map_err(|message| error(format!("input '{}': {message}", spec.name)))
        })
        .collect()
}

fn random_tensor(spec: &InputSpec, shape: Vec<usize>, number: u64) -> Result<Tensor, String> {
    let elements = shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .filter(|elements| *elements <= 1 << 32)
        .ok_or_else(|| format!("{shape:?} is too large"))?;
    if spec.element_type == ElementType::String {
        return Tensor::from_strings(shape, vec![secateurs_onnx::Bytes::new(); elements])
            .map_err(|e| e.to_string());
    }
    let mask = spec.name.to_ascii_lowercase().contains("mask");
    let mut rng = Rng::new(0, "latency", number, 0);
    let values: Vec<f32> = if spec.element_type.is_float() && !mask {
        (0..elements).map(|_| rng.normal() as f32).collect()
    } else {
        vec![f32::from(u8::from(mask)); elements]
    };
    crate::data::from_f32(values, shape, spec.element_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test_models::linear;

    #[test]
    fn quantiles_are_interpolated() {
        let timing = Timing::from_times(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((timing.min_ms, timing.median_ms, timing.runs), (1.0, 3.0, 5));
        assert_eq!((timing.lower_quartile_ms, timing.upper_quartile_ms), (2.0, 4.0));
        assert!((timing.p10_ms - 1.4).abs() < 1e-12 && (timing.p90_ms - 4.6).abs() < 1e-12);
        assert_eq!(Timing::from_times(vec![2.0]).p90_ms, 2.0);
    }

    #[test]
    fn a_larger_model_takes_longer() {
        let folder = tempfile::tempdir().unwrap();
        let job = |name: &str, width: usize| {
            let model = folder.path().join(name);
            std::fs::write(&model, linear(width, width)).unwrap();
            LatencyJob { model, shapes: vec![("x".to_owned(), vec![16, width])] }
        };
        let jobs = [job("small.onnx", 8), job("large.onnx", 1024)];
        let options = LatencyOptions { seconds: 0.0, ..LatencyOptions::default() };
        let timings = measure(&jobs, &options).unwrap();
        assert_eq!(timings.len(), 2);
        assert!(timings[0].runs == 20 && timings[1].runs == 20);
        assert!(timings[0].median_ms < timings[1].median_ms, "{timings:?}");
        assert!(timings[0].min_ms > 0.0 && timings[0].p10_ms <= timings[0].p90_ms);
        assert_eq!(measure(&[], &options).unwrap(), []);
    }

    #[test]
    fn shapes_and_files_that_do_not_fit_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.onnx");
        std::fs::write(&model, linear(4, 4)).unwrap();
        let error = |shapes: &[(&str, &[usize])], model: &PathBuf| {
            let shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
            measure(&[LatencyJob { model: model.clone(), shapes }], &LatencyOptions::default())
                .unwrap_err()
                .to_string()
        };
        assert!(error(&[("z", &[1, 4])], &model).contains("no input 'z'"));
        assert!(error(&[("x", &[1, 5])], &model).contains("model.onnx"));
        assert!(error(&[("x", &[1 << 40, 4])], &model).contains("too large"));
        assert!(error(&[], &folder.path().join("none.onnx")).contains("none.onnx"));
    }

    #[test]
    fn masks_are_ones_and_indices_are_zeros() {
        let spec =
            |name: &str, element_type| InputSpec { name: name.to_owned(), element_type, shape: vec![None] };
        let values = |spec: &InputSpec| random_tensor(spec, vec![2], 0).unwrap().to_f64_vec().unwrap();
        assert_eq!(values(&spec("attention_mask", ElementType::Int64)), [1.0, 1.0]);
        assert_eq!(values(&spec("input_ids", ElementType::Int32)), [0.0, 0.0]);
        assert_eq!(values(&spec("flag", ElementType::Bool)), [0.0, 0.0]);
        assert!(values(&spec("image", ElementType::Float16)).iter().all(|v| v.is_finite() && *v != 0.0));
    }
}
