//! The graph that is trained: the model with its folded batch norms put back, and drawn anew where that is asked for.

use std::sync::Arc;

use secateurs_graph::op::Initial;
use secateurs_graph::patch::Patch;
use secateurs_graph::rewrite::{
    Law, Statistics, find_folded, fold_batch_norms_among, insert_batch_norms, insert_dropout, reinitialize,
};
use secateurs_graph::samples::{first_samples, sample_axes};
use secateurs_graph::session::{Session, SessionOptions, Tap};
use secateurs_graph::{Graph, GraphError, NodeId, ValueId};
use secateurs_torch::tch::{self, Kind, TchError, Tensor};

use super::options::BatchNormMode;
use super::{TuneError, TuneJob, scores, settings};
use crate::data;
use crate::rng::Rng;

/// Training samples on which the statistics of inserted batch norms are measured.
const CALIBRATION_SAMPLES: usize = 1024;
const BATCH_SIZE: usize = 128;
/// A batch that a model fixes and that is smaller says too little of the data to normalise by it.
const SMALLEST_BATCH: usize = 16;

/// A graph ready for training.
pub(super) struct Prepared {
    pub graph: Graph,
    /// The same without the dropout that is for training only.
    plain: Option<Graph>,
    /// The batch norms that the result is to have folded again.
    inserted: Vec<NodeId>,
    /// Whether batch norms normalise by the batch while training.
    pub by_batch: bool,
    pub notes: Vec<String>,
}

impl Prepared {
    /// `samples` are those that are trained on.
    pub fn new(job: &TuneJob, samples: &[usize], options: SessionOptions) -> Result<Prepared, TuneError> {
        let (mode, fixed) = (job.options.batch_norm, job.data.fixed_batch_size());
        // What is drawn anew has no statistics to keep.
        let too_few = fixed.filter(|n| *n < SMALLEST_BATCH && !job.options.reinit);
        let by_batch = match mode {
            BatchNormMode::Auto => too_few.is_none(),
            BatchNormMode::Train => true,
            BatchNormMode::Freeze => false,
        };
        let mut graph = job.graph.clone();
        if job.options.epochs > 0 {
            untie(&mut graph)?;
        }
        let mut prepared = Prepared { graph, plain: None, inserted: Vec::new(), by_batch, notes: Vec::new() };
        match (mode, too_few) {
            _ if job.options.epochs == 0 => {}
            (BatchNormMode::Auto, None) => prepared.insert(job, samples, options)?,
            (BatchNormMode::Auto, Some(batch_size)) => {
                prepared.notes.extend(left_alone(job.graph, batch_size))
            }
            (BatchNormMode::Train | BatchNormMode::Freeze, _) => {}
        }
        if job.options.reinit {
            prepared.reinitialize(job.options.seed)?;
        }
        if let Some(ratio) = job.options.dropout.filter(|ratio| *ratio > 0.0) {
            let plain = prepared.graph.clone();
            let places = insert_dropout(&mut prepared.graph, ratio as f32)?;
            prepared.plain = Some(plain);
            prepared.notes.push(format!("{places} places drop a share of {ratio} while tuning"));
        }
        Ok(prepared)
    }

    /// What was trained, in the form of the original.
    pub fn finish(&self, trained: &Session) -> Result<Graph, TuneError> {
        // Parameters are the same values in both.
        let mut graph = self.plain.as_ref().unwrap_or(&self.graph).clone();
        trained.trained()?.apply(&mut graph)?;
        fold_batch_norms_among(&mut graph, &self.inserted)?;
        Ok(graph)
    }

    fn insert(&mut self, job: &TuneJob, samples: &[usize], options: SessionOptions) -> Result<(), TuneError> {
        let places = find_folded(&self.graph);
        if places.is_empty() {
            return Ok(());
        }
        let samples = data::drawn(samples, CALIBRATION_SAMPLES, job.options.seed);
        let statistics = moments(&self.graph, &places, job, samples, options)?;
        let places: Vec<(ValueId, Statistics)> = places.into_iter().zip(statistics).collect();
        self.inserted = insert_batch_norms(&mut self.graph, &places)?;
        let norms = match places.len() {
            1 => "1 batch norm that the exporter folded is".to_owned(),
            count => format!("{count} batch norms that the exporter folded are"),
        };
        self.notes.push(format!(
            "{norms} put back while tuning and folded again on writing; batch_norm = \"train\" leaves that out"
        ));
        Ok(())
    }

    fn reinitialize(&mut self, seed: u64) -> Result<(), TuneError> {
        let started = reinitialize(&mut self.graph, &mut |parameter, law, count| {
            let mut rng = Rng::new(seed, "initial parameters", parameter, 0);
            let draw = |_| match law {
                Law::Normal => rng.normal(),
                Law::Uniform => 2.0 * rng.uniform() - 1.0,
            };
            (0..count).map(draw).collect()
        })?;
        let kept: Vec<&str> =
            started.iter().filter(|s| s.initial == Initial::Keep).map(|s| s.name.as_str()).collect();
        self.notes.push(format!(
            "{} of {} parameters are drawn anew",
            started.len() - kept.len(),
            started.len()
        ));
        if !kept.is_empty() {
            self.notes.push(format!("kept as they are: {}", kept.join(", ")));
        }
        Ok(())
    }
}

/// Exporters merge constants that are equal, as the zeros and ones that biases and norms start from: each reader gets its own again, as
/// training would move all of them alike, and scales that are a running variance too not at all.
fn untie(graph: &mut Graph) -> Result<(), GraphError> {
    let (uses, mut patch) = (graph.uses(), Patch::new());
    for parameter in graph.parameters() {
        let (Some(tensor), [_, others @ ..]) = (graph.tensor(parameter.value), &uses[parameter.value][..])
        else {
            continue;
        };
        if others.is_empty() || settings::is_matrix(tensor.shape()) {
            continue;
        }
        let numbers = tensor.to_f64_vec().unwrap_or_default();
        if numbers.iter().any(|x| *x != numbers[0]) {
            continue;
        }
        for at in others {
            if let Some(input) = at.input {
                let name = graph.values[parameter.value].name.clone();
                patch.set_input_constant(vec![(at.node, input)], name, tensor.clone());
            }
        }
    }
    patch.apply(graph)?;
    Ok(())
}

/// What is said where batch norms, also folded ones, keep their statistics as the model fixes so small a batch.
fn left_alone(graph: &Graph, batch_size: usize) -> Option<String> {
    let any = graph.parameters().iter().any(|p| p.statistic) || !find_folded(graph).is_empty();
    any.then(|| {
        format!(
            "the model fixes batches of {batch_size}, too few to normalise by: batch norms keep their statistics, and folded ones are \
             not put back; export the model with a dynamic batch axis to have them trained"
        )
    })
}

/// Means and variances of values `[N, C, …]` over batch and space, channel by channel.
fn moments(
    graph: &Graph,
    values: &[ValueId],
    job: &TuneJob,
    samples: Vec<usize>,
    options: SessionOptions,
) -> Result<Vec<Statistics>, TuneError> {
    let session = Session::new(Arc::new(graph.clone()), options)?;
    let taps: Vec<Tap> = values.iter().map(|&v| Tap::Value(v)).collect();
    let mut sums: Vec<Option<[Tensor; 2]>> = values.iter().map(|_| None).collect();
    let mut counts = vec![0i64; values.len()];
    let places = sample_axes(session.graph());
    for batch in job.data.counted(samples, BATCH_SIZE) {
        let (batch, counted) = batch?;
        let inputs = scores::inputs(&session, &batch)?;
        tch::no_grad(|| -> Result<(), TuneError> {
            let caught = session.forward(&inputs, &taps)?.taps;
            for (((value, tensor), sums), count) in values.iter().zip(&caught).zip(&mut sums).zip(&mut counts)
            {
                let own = match first_samples(tensor, places.get(*value), batch.indices.len(), counted)? {
                    Some(own) => own,
                    // Where samples cannot be told apart, those that fill a batch are better than none.
                    None if sums.is_none() => tensor.shallow_clone(),
                    None => continue,
                };
                let (new, channels) = channel_sums(&own)?;
                if !scores::all_finite(&new[1])? {
                    scores::check_finite(job.data, &batch.indices, &session, &inputs, &[], None)?;
                }
                *count += own.numel() as i64 / channels;
                *sums = Some(match sums.take() {
                    None => new,
                    Some([a, b]) => [a.f_add(&new[0])?, b.f_add(&new[1])?],
                });
            }
            Ok(())
        })?;
    }
    let statistics = sums.into_iter().zip(counts).zip(values).map(|((sums, count), &value)| {
        let missing = || GraphError::Run(format!("no data to calibrate '{}' with", graph.values[value].name));
        let [sum, squares] = sums.ok_or_else(missing)?;
        let mean = sum.f_div_scalar(count)?;
        let variance = squares.f_div_scalar(count)?.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?;
        let numbers = |t: &Tensor| Vec::<f64>::try_from(t.f_to_device(tch::Device::Cpu)?);
        Ok(Statistics { mean: numbers(&mean)?, variance: numbers(&variance)? })
    });
    statistics.collect()
}

/// Sums of the elements and of their squares, a number a channel, in 64 bits.
fn channel_sums(tensor: &Tensor) -> Result<([Tensor; 2], i64), TchError> {
    let channels = tensor.size()[1];
    let flat = tensor.f_detach()?.f_movedim_int(1, 0)?.f_reshape([channels, -1])?.f_to_kind(Kind::Double)?;
    let sum = flat.f_sum_dim_intlist(1, false, Kind::Double)?;
    let squares = flat.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    Ok(([sum, squares], channels))
}
