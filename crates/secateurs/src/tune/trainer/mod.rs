//! The loop of a training.

mod states;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateurs_graph::op::TrainingMode;
use secateurs_graph::rewrite::parameter_depths;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::{Graph, ValueId};
use secateurs_torch::tch::{self, Tensor};

use self::states::{BEST, CHECKPOINT, EPOCH, fingerprint};
use super::checkpoint::{self, Checkpoint, Progress};
use super::hidden::Hidden;
use super::loss::Head;
use super::muon::matrices;
use super::optimizer::{Optimizer, Parameter, Rule, norm};
use super::options::{OptimizerKind, TuneOptions, TunePrecision};
use super::outputs::heads;
use super::prepare::Prepared;
use super::schedule::LearningRates;
use super::scores::{self, Scores};
use super::settings::{Resolved, Situation, computed, decays};
use super::teacher::Teacher;
use super::{Event, TuneError, TuneJob, Tuned};
use crate::data::{self, Batch, Dataset, Samples, Stream};
use crate::rng::Rng;

/// Time between checkpoints within an epoch.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Trainer<'a> {
    job: &'a TuneJob<'a>,
    options: &'a TuneOptions,
    prepared: Prepared,
    session: Session,
    teacher: Option<Teacher>,
    hidden: Option<Hidden>,
    heads: Vec<Head>,
    resolved: Resolved,
    optimizer: Optimizer,
    /// Parameters and statistics by name: the state that is validated and written.
    weights: Vec<(String, Tensor)>,
    /// Their moving averages.
    averages: Option<Vec<(String, Tensor)>>,
    training: Arc<[usize]>,
    validation: Samples,
    steps_per_epoch: usize,
    steps: usize,
    progress: Progress,
    notes: Vec<String>,
}

/// How a stretch of steps ended.
enum Stretch {
    Done,
    Patience,
    RolledBack,
}

/// Refuses options that make no sense, and what data and a teacher cannot serve.
pub(crate) fn check_teaching(
    options: &TuneOptions,
    data: &Dataset,
    teacher: bool,
    teacher_cache: bool,
) -> Result<(), TuneError> {
    options.check().map_err(TuneError::Options)?;
    data.check_augment(&options.augment)?;
    let hidden = options.hidden_distillation.is_some_and(|weight| weight > 0.0);
    let refused = match (hidden, teacher) {
        (true, true) if teacher_cache => {
            "hidden_distillation asks the teacher for hidden states, and outputs alone are kept; leave out --teacher-cache"
        }
        (true, false) => {
            "hidden_distillation compares with a teacher, and there is none; give --teacher, or leave it out"
        }
        _ => return Ok(()),
    };
    Err(TuneError::Options(refused.into()))
}

impl<'a> Trainer<'a> {
    pub fn new(job: &'a TuneJob<'a>) -> Result<Trainer<'a>, TuneError> {
        let options = job.options;
        check_teaching(options, job.data, job.teacher.is_some(), job.teacher_cache.is_some())?;
        let (training, validation) =
            data::held_out(job.data, job.validation, options.validation, options.validation_seed);
        let plain = SessionOptions { device: job.device, ..SessionOptions::default() };
        let prepared = Prepared::new(job, &training, plain)?;
        let graph = &prepared.graph;
        let heads = heads(graph, job.data, job.outputs, options.objective)?;
        let labelled = heads[0].labelled;
        if !labelled && job.teacher.is_none() {
            return Err(TuneError::NoTarget { data: job.data.path().to_owned() });
        }
        let computed = computed(graph);
        let trained = graph.parameters().into_iter().filter(|p| !p.statistic && !computed.contains(&p.value));
        let situation = Situation {
            heads: &heads,
            labelled,
            teacher: job.teacher.is_some(),
            device: job.device,
            trained: trained.map(|p| p.elements).sum(),
            samples: training.len(),
            fixed_batch_size: job.data.fixed_batch_size(),
        };
        let resolved = Resolved::new(options, graph, &situation);
        let session_options = session_options(job, resolved.precision);
        let mut session = Session::new(
            Arc::new(graph.clone()),
            SessionOptions { train_parameters: true, ..session_options },
        )?;
        session.freeze(&computed)?;
        let hidden = options.hidden_distillation.filter(|weight| *weight > 0.0);
        let teacher = match job.teacher.filter(|_| resolved.distillation > 0.0 || hidden.is_some()) {
            Some(teacher) => Some(Teacher::new(teacher, session_options, job.teacher_cache)?),
            None => None,
        };
        let name = |id| session.graph().values[id].name.clone();
        let mut notes = prepared.notes.clone();
        let hidden = match (hidden, job.teacher) {
            (Some(weight), Some(teacher)) => {
                let (hidden, note) = Hidden::new(graph, teacher, job.plan, weight, job.device)?;
                notes.push(note);
                Some(hidden)
            }
            _ => None,
        };
        let rates = layer_rates(graph, options.layer_decay);
        let matrices = matrices(session.graph());
        let parameters = session.parameters().map(|(id, t)| Parameter {
            tensor: t.shallow_clone(),
            decays: decays(session.graph(), id),
            rate: rates.as_ref().and_then(|rates| rates.get(&id)).copied().unwrap_or(1.0),
            matrices: matrices.get(&id).copied(),
        });
        let weights: Vec<(String, Tensor)> = session
            .parameters()
            .chain(session.statistics())
            .map(|(id, tensor)| (name(id), tensor.shallow_clone()))
            .collect();
        let averages = match options.ema {
            Some(_) => Some(copies(&weights)?),
            None => None,
        };
        let momentum = options.momentum.unwrap_or(match resolved.optimizer {
            OptimizerKind::Muon => 0.95,
            OptimizerKind::Sgd | OptimizerKind::AdamW => 0.9,
        });
        let rule = Rule {
            kind: resolved.optimizer,
            momentum,
            nesterov: options.nesterov && momentum > 0.0,
            betas: options.betas,
            epsilon: options.epsilon,
            weight_decay: resolved.weight_decay,
        };
        let optimizer = Optimizer::new(rule, parameters)?;
        let steps_per_epoch = Stream::steps_per_epoch(training.len(), resolved.batch_size);
        notes.extend(heads.iter().filter_map(|head| head.assumption(graph)));
        notes.extend(job.data.notes());
        if job.data.has_labels() && !labelled {
            notes.push("the labels are no numbers of the output's shape, and are not used".into());
        }
        if !computed.is_empty() {
            let count = computed.len();
            notes.push(format!(
                "{count} constants are taken for masks, positions or frequencies, and not trained"
            ));
        }
        let enclosed: usize = graph.enclosed().iter().map(|of_node| of_node.params).sum();
        if enclosed > 0 {
            notes.push(format!("{enclosed} parameters lie inside of If, Loop or Scan, and stay as they are"));
        }
        let fingerprint = fingerprint(job, hidden.as_ref())?;
        let progress = Progress { fingerprint, factor: 1.0, ..Progress::default() };
        Ok(Trainer {
            optimizer,
            training: training.into(),
            steps: options.epochs * steps_per_epoch,
            job,
            options,
            prepared,
            session,
            teacher,
            hidden,
            heads,
            resolved,
            weights,
            averages,
            validation,
            steps_per_epoch,
            progress,
            notes,
        })
    }

    pub fn run(mut self, observe: &mut dyn FnMut(&Event) -> ControlFlow<()>) -> Result<Tuned, TuneError> {
        self.resume()?;
        let started = Event::Started {
            step: self.progress.step,
            steps: self.steps,
            steps_per_epoch: self.steps_per_epoch,
            training_samples: self.training.len(),
            validation_samples: self.validation.indices.len(),
            resolved: Box::new(self.resolved.clone()),
            notes: self.notes.clone(),
        };
        let go_on = observe(&started);
        if self.progress.step == 0 {
            let go_on = self.begin(observe)?;
            self.save(EPOCH)?;
            self.interrupted(go_on)?;
        }
        self.interrupted(go_on)?;
        while let Stretch::RolledBack = self.stretch(observe)? {}
        self.finish()
    }

    /// Scores the model as it is: no epoch is chosen that is worse. Weights that are drawn anew are no model yet.
    fn begin(
        &mut self,
        observe: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TuneError> {
        if self.validation.indices.is_empty() || self.options.reinit || self.steps == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let start = Instant::now();
        let scores = self.validate()?;
        if scores.are_finite() && self.progress.best.is_none() {
            self.keep_best(0, scores)?;
        }
        let best = self.progress.best.is_some_and(|(epoch, _)| epoch == 0);
        let seconds = start.elapsed().as_secs_f64();
        Ok(observe(&Event::Epoch { step: 0, epoch: 0, scores, raw: None, best, seconds }))
    }

    /// Steps up to the end, or up to a return to an earlier state.
    fn stretch(&mut self, observe: &mut dyn FnMut(&Event) -> ControlFlow<()>) -> Result<Stretch, TuneError> {
        // The run that this one goes on with may have been killed just then.
        if let Some(reason) = self.impatience() {
            let _ = observe(&Event::Stopped { step: self.progress.step, reason });
            return Ok(Stretch::Patience);
        }
        let rates = LearningRates {
            peak: self.resolved.learning_rate,
            last: self.options.final_learning_rate,
            warmup: (self.options.warmup * self.steps_per_epoch as f64).round() as usize,
            steps: self.steps,
            schedule: self.options.schedule,
        };
        let stream = self.job.data.stream(Stream {
            samples: self.training.clone(),
            batch_size: self.resolved.batch_size,
            seed: self.options.seed,
            augment: self.options.augment.clone(),
            first_step: self.progress.step,
            steps: self.steps,
            threads: self.job.data.reading_threads(),
        });
        let (mut saved, mut epoch_start, mut pace) = (Instant::now(), Instant::now(), Pace::new());
        for batch in stream {
            let batch = batch?;
            let samples = batch.indices.len();
            let learning_rate = rates.at(self.progress.step) * self.progress.factor;
            let step = self.step(&batch, learning_rate)?;
            // What the last step of an epoch spoils, no later step would see before it is kept.
            let ends = (self.progress.step + 1).is_multiple_of(self.steps_per_epoch);
            let fault = match step.fault() {
                None if ends && !self.is_finite()? => Some("a weight is infinite or no number".to_owned()),
                fault => fault,
            };
            if let Some(reason) = fault {
                let event = self.roll_back(self.progress.step + 1, reason)?;
                let go_on = observe(&event);
                self.interrupted(go_on)?;
                return Ok(Stretch::RolledBack);
            }
            self.progress.step += 1;
            let done = self.progress.step;
            let mut go_on = observe(&Event::Step {
                step: done,
                epoch: done as f64 / self.steps_per_epoch as f64,
                loss: step.loss,
                learning_rate,
                gradient_norm: step.gradient_norm,
                samples_per_second: pace.after(samples),
            });
            if done.is_multiple_of(self.steps_per_epoch) {
                let (event, stop) = match self.end_epoch(epoch_start.elapsed().as_secs_f64())? {
                    ControlFlow::Continue(ended) => ended,
                    ControlFlow::Break(reason) => {
                        let event = self.roll_back(done, reason)?;
                        let rolled_back = observe(&event);
                        self.interrupted(go_on)?;
                        self.interrupted(rolled_back)?;
                        return Ok(Stretch::RolledBack);
                    }
                };
                if observe(&event).is_break() {
                    go_on = ControlFlow::Break(());
                }
                // After it was told, so that nothing is missing from what is told if this process is killed in between.
                self.save_epoch()?;
                if let Some(reason) = stop {
                    let _ = observe(&Event::Stopped { step: done, reason });
                    return Ok(Stretch::Patience);
                }
                (saved, epoch_start) = (Instant::now(), Instant::now());
                pace.rest();
            } else if saved.elapsed() > CHECKPOINT_INTERVAL {
                self.save(CHECKPOINT)?;
                saved = Instant::now();
            }
            self.interrupted(go_on)?;
        }
        Ok(Stretch::Done)
    }

    fn interrupted(&self, go_on: ControlFlow<()>) -> Result<(), TuneError> {
        match go_on {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.save(CHECKPOINT)?;
                Err(TuneError::Interrupted { step: self.progress.step })
            }
        }
    }

    /// One step; parameters stay as they are where loss or gradient are infinite or no number.
    fn step(&mut self, batch: &Batch, learning_rate: f64) -> Result<Step, TuneError> {
        let number = self.progress.step;
        // Dropout draws from libtorch's generator.
        tch::manual_seed(Rng::new(self.options.seed, "dropout", number as u64, 0).next_u64() as i64);
        self.session.set_training(TrainingMode {
            batch_statistics: self.prepared.by_batch,
            statistics_rate: None,
            dropout: true,
        });
        let inputs = scores::inputs(&self.session, batch)?;
        let [taps, teacher_taps] = match &self.hidden {
            Some(hidden) => [hidden.taps(), hidden.teacher_taps()],
            None => [Vec::new(), Vec::new()],
        };
        let taught = match &self.teacher {
            Some(teacher) => Some(teacher.answer(batch, &teacher_taps)?),
            None => None,
        };
        let run = self.session.forward(&inputs, &taps)?;
        let mask = match &taught {
            Some(_) => scores::token_mask(self.job.data, batch)?,
            None => None,
        };
        let wanted = taught.as_ref().map(|run| &run.outputs[..]);
        let mut loss = self.loss(&run.outputs, wanted, batch, mask.as_ref())?;
        if let (Some(hidden), Some(taught)) = (&self.hidden, &taught) {
            let distance = hidden.distance(&run.taps, &taught.taps, mask.as_ref())?;
            loss = loss.f_add(&distance)?;
        }
        let parameters: Vec<&Tensor> = self.optimizer.slots.iter().map(|slot| &slot.parameter).collect();
        let gradients = Tensor::f_run_backward(&[&loss], &parameters, false, false)?;
        let step = Step { loss: loss.f_double_value(&[])?, gradient_norm: norm(&gradients)? };
        if step.fault().is_some() {
            // Smaller steps help only where the training is at fault.
            let taught = self.job.teacher.zip(wanted);
            scores::check_finite(self.job.data, &batch.indices, &self.session, &inputs, &self.heads, taught)?;
        } else {
            let longest = self.options.clip_norm.unwrap_or(f64::INFINITY);
            let scale = if step.gradient_norm > longest { longest / step.gradient_norm } else { 1.0 };
            self.optimizer.step(&gradients, scale, learning_rate, number)?;
            self.average()?;
        }
        Ok(step)
    }

    /// Whether all weights and statistics are numbers.
    fn is_finite(&self) -> Result<bool, TuneError> {
        for (_, weight) in &self.weights {
            if !scores::all_finite(weight)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The labels' loss and the distances from the teacher's outputs, weighted; several outputs are averaged by their weights.
    fn loss(
        &self,
        outputs: &[Tensor],
        teacher: Option<&[Tensor]>,
        batch: &Batch,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, TuneError> {
        let share = self.resolved.distillation;
        let mut parts = Vec::new();
        let head = &self.heads[0];
        let output = &outputs[head.index];
        let labels = batch.labels.as_ref().filter(|_| share < 1.0);
        if let Some(labels) = head.labels(self.session.graph(), output, labels, self.job.data)? {
            let loss = head.label_loss(output, &labels, self.options.label_smoothing)?;
            parts.push(loss.f_mul_scalar(1.0 - share)?);
        }
        // Where hidden states alone are distilled, the outputs are not.
        if let Some(teacher) = teacher.filter(|_| share > 0.0) {
            let weights: f64 = self.heads.iter().map(|head| head.weight).sum();
            for head in &self.heads {
                let (output, wanted) = (&outputs[head.index], &teacher[head.index]);
                let distance = head.distance_of_tokens(output, wanted, self.options.temperature, mask)?;
                parts.push(distance.f_mul_scalar(share * head.weight / weights)?);
            }
        }
        let mut parts = parts.into_iter();
        let first =
            parts.next().ok_or_else(|| TuneError::NoTarget { data: self.job.data.path().to_owned() })?;
        parts.try_fold(first, |sum, part| Ok(sum.f_add(&part)?))
    }

    /// Moves the averages towards the weights.
    fn average(&mut self) -> Result<(), TuneError> {
        let (Some(averages), Some(decay)) = (&mut self.averages, self.options.ema) else { return Ok(()) };
        let step = self.progress.step as f64;
        let decay = decay.min((1.0 + step) / (10.0 + step));
        tch::no_grad(|| {
            for ((_, average), (_, weight)) in averages.iter_mut().zip(&self.weights) {
                let _ = average.f_lerp_(weight, 1.0 - decay)?;
            }
            Ok(())
        })
    }

    /// Validates, keeps the best weights, and says whether patience is at its end; breaks where what was validated is no number.
    fn end_epoch(&mut self, seconds: f64) -> Result<ControlFlow<String, (Event, Option<String>)>, TuneError> {
        let epoch = self.progress.step / self.steps_per_epoch;
        let raw = match self.averages {
            Some(_) => Some(self.validate()?),
            None => None,
        };
        self.exchange()?;
        let scores = self.validate()?;
        if !scores.are_finite() {
            return Ok(ControlFlow::Break("the loss on the held-out samples is no number".into()));
        }
        // Without held-out samples the last epoch is taken.
        let best = match &self.progress.best {
            Some((_, best)) => self.validation.indices.is_empty() || scores.is_better_than(best),
            None => true,
        };
        if best {
            self.keep_best(epoch, scores)?;
        }
        self.exchange()?;
        let event = Event::Epoch { step: self.progress.step, epoch, scores, raw, best, seconds };
        Ok(ControlFlow::Continue((event, self.impatience())))
    }

    fn keep_best(&mut self, epoch: usize, scores: Scores) -> Result<(), TuneError> {
        self.progress.best = Some((epoch, scores));
        checkpoint::write(&self.path(BEST), &self.progress, &self.weights)
    }

    /// Why the training ends before its time, after whole epochs.
    fn impatience(&self) -> Option<String> {
        let patience = self.options.patience?;
        let (step, best) = (self.progress.step, self.progress.best.as_ref()?.0);
        let ends =
            step.is_multiple_of(self.steps_per_epoch) && step / self.steps_per_epoch >= best + patience;
        (ends && step < self.steps).then(|| format!("no better validation for {patience} epochs"))
    }

    /// Puts the averages in the place of the weights, and the weights in theirs.
    fn exchange(&mut self) -> Result<(), TuneError> {
        let Some(averages) = &mut self.averages else { return Ok(()) };
        tch::no_grad(|| {
            for ((_, average), (_, weight)) in averages.iter_mut().zip(&mut self.weights) {
                let kept = average.f_detach_copy()?;
                average.f_copy_(weight)?;
                weight.f_copy_(&kept)?;
            }
            Ok(())
        })
    }

    fn validate(&mut self) -> Result<Scores, TuneError> {
        if self.validation.indices.is_empty() {
            return Ok(Scores::default());
        }
        self.session.set_training(TrainingMode::default());
        let teacher = self.teacher.as_ref().filter(|_| !self.heads[0].labelled).map(Teacher::session);
        let (Samples { data, indices }, batch) = (&self.validation, self.resolved.batch_size);
        scores::evaluate(&self.session, teacher, &self.heads, data, indices, batch, &mut |_| {})
    }

    /// The model with the best weights.
    fn finish(mut self) -> Result<Tuned, TuneError> {
        let (mut chosen, mut scores) = (0, None);
        if let Some((epoch, best)) = self.progress.best {
            let path = self.path(BEST);
            let found = Checkpoint::read(&path, &self.progress.fingerprint)?;
            let found = found
                .ok_or_else(|| TuneError::Checkpoint { path: path.clone(), message: "is gone".into() })?;
            found.restore(&path, &mut self.weights)?;
            (chosen, scores) = (epoch, Some(best));
        }
        if self.options.reestimate > 0 && chosen > 0 && self.reestimate()? {
            scores = None;
        }
        let scores = match scores {
            Some(scores) => scores,
            None => self.validate()?,
        };
        let graph = self.prepared.finish(&self.session)?;
        Ok(Tuned { graph, chosen, scores, steps: self.progress.step, notes: self.notes })
    }

    /// Estimates the statistics of batch norms anew, as means over batches of training samples without augmentation; whether there
    /// are any.
    fn reestimate(&mut self) -> Result<bool, TuneError> {
        if self.session.statistics().next().is_none() || !self.prepared.by_batch {
            return Ok(false);
        }
        let order = data::shuffled(self.training.len(), self.options.seed, u64::MAX);
        let count = self.options.reestimate.min(order.len());
        // As in training, there are full batches only, and samples come again where the model fixes a size that there are too few for.
        let batch_size = match self.job.data.fixed_batch_size() {
            Some(fixed) => fixed,
            None => self.resolved.batch_size.min(count),
        };
        let batches = (count / batch_size).max(1);
        let samples = order.iter().cycle().take(batches * batch_size).map(|&i| self.training[i]).collect();
        for (number, batch) in
            self.job.data.loader(samples, batch_size, self.job.data.reading_threads()).enumerate()
        {
            let statistics_rate = Some(1.0 / (number + 1) as f64);
            self.session.set_training(TrainingMode {
                batch_statistics: true,
                statistics_rate,
                dropout: false,
            });
            let inputs = scores::inputs(&self.session, &batch?)?;
            tch::no_grad(|| self.session.forward(&inputs, &[]))?;
        }
        Ok(true)
    }
}

/// What a step has seen.
struct Step {
    loss: f64,
    gradient_norm: f64,
}

impl Step {
    fn fault(&self) -> Option<String> {
        match (self.loss.is_finite(), self.gradient_norm.is_finite()) {
            (false, _) => Some(format!("the loss is {}", self.loss)),
            (_, false) => Some(format!("the gradient's norm is {}", self.gradient_norm)),
            _ => None,
        }
    }
}

/// Samples a second, as a moving average over steps.
struct Pace {
    last: Instant,
    seconds_per_sample: Option<f64>,
}

impl Pace {
    fn new() -> Pace {
        Pace { last: Instant::now(), seconds_per_sample: None }
    }

    fn after(&mut self, samples: usize) -> f64 {
        let new = self.last.elapsed().as_secs_f64() / samples.max(1) as f64;
        self.last = Instant::now();
        let seconds = self.seconds_per_sample.map_or(new, |old| 0.95 * old + 0.05 * new);
        self.seconds_per_sample = Some(seconds);
        1.0 / seconds
    }

    /// What has passed since the last step does not count.
    fn rest(&mut self) {
        self.last = Instant::now();
    }
}

/// What the learning rate of each parameter is multiplied with.
fn layer_rates(graph: &Graph, decay: Option<f64>) -> Option<HashMap<ValueId, f64>> {
    let decay = decay?;
    let depths = parameter_depths(graph);
    let last = depths.values().copied().max().unwrap_or(0);
    let rate = |depth: usize| decay.powi((last - depth) as i32);
    Some(depths.into_iter().map(|(value, depth)| (value, rate(depth))).collect())
}

fn session_options(job: &TuneJob, precision: TunePrecision) -> SessionOptions {
    let precision = match precision {
        TunePrecision::Bf16 => Precision::Bf16,
        TunePrecision::F32 => Precision::Single,
        TunePrecision::F64 => Precision::Double,
    };
    SessionOptions { device: job.device, precision, ..SessionOptions::default() }
}

fn copies(tensors: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, TuneError> {
    let copy = |(name, tensor): &(String, Tensor)| Ok((name.clone(), tensor.f_detach_copy()?));
    tensors.iter().map(copy).collect()
}
