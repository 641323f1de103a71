//! The pass over the data.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;
use secateurs_graph::session::{Precision, Session, SessionOptions, Tap};
use secateurs_torch::tch::{self, Device, Kind, TchError, Tensor};

use super::columns::Columns;
use super::error::EvidenceError;
use super::options::MeasureOptions;
use super::root::Roots;
use super::trace::Traces;
use super::{
    Estimator, Evidence, FORMAT_VERSION, Factor, Header, MeasuredData, MeasuredGroup, MeasuredOutput,
    Moments, Settings, Sums, Trace, TraceSettings,
};
use crate::compensate::CompensateError;
use crate::data::{self, Batch, Dataset};
use crate::implants::{Stream, explain};
use crate::resizable::{coupling, names, resizable};
use crate::run::DataIdentity;
use crate::tune::{Head, all_finite, by_samples, fixed_outputs, heads, inputs, token_mask};

/// Time between two writings of what was measured so far.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Samples before the ranking can be settled, and between two looks at it.
const SETTLING: usize = 256;
/// So many samples show what implants can make.
const EXPLAINED: usize = 128;
/// Backward passes a batch, beyond which no one would wait.
const MAX_PASSES: usize = 4096;

/// What is to be measured.
pub struct MeasureJob<'a> {
    /// The model.
    pub graph: &'a Arc<Graph>,
    /// The data.
    pub data: &'a Arc<Dataset>,
    /// Which of their samples may be measured.
    pub among: &'a [usize],
    /// The settings.
    pub options: &'a MeasureOptions<'a>,
    /// The file of the evidence. What is there already is gone on from.
    pub file: &'a Path,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Samples measured, by runs before too.
    pub samples: usize,
    /// Of at most so many.
    pub of: usize,
    /// How settled the ranking is, where that was looked at; see [`Evidence::reliability`].
    pub reliability: Option<f64>,
}

/// Looks at how far it is, and may end it.
type Observe<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// Measures the units of a model and writes the evidence; `observe` may end it, which writes what there is.
pub fn measure(job: &MeasureJob, observe: Observe) -> Result<Evidence, EvidenceError> {
    let mut measurer = Measurer::new(job)?;
    measurer.run(observe)?;
    Ok(measurer.evidence)
}

/// Why measuring ends early, where the ranking is settled.
fn settled(evidence: &Evidence, options: &MeasureOptions) -> Option<String> {
    let (samples, enough) = (evidence.header.samples, options.settled?);
    let reliability = (samples >= 2 * SETTLING).then(|| evidence.reliability())?;
    let text = format!("the ranking is settled: reliability {reliability:.4} after {samples} samples");
    (reliability >= enough).then_some(text)
}

struct Measurer<'a> {
    job: &'a MeasureJob<'a>,
    coupling: Coupling,
    session: Session,
    heads: Vec<Head>,
    columns: Columns,
    traces: Option<Traces<'a>>,
    /// All samples that are to be measured, in order.
    order: Vec<usize>,
    batch_size: usize,
    evidence: Evidence,
}

impl<'a> Measurer<'a> {
    fn new(job: &'a MeasureJob<'a>) -> Result<Measurer<'a>, EvidenceError> {
        let (graph, data, options) = (job.graph, job.data, job.options);
        let fail = |text: &str| Err(EvidenceError::Options(text.into()));
        let [shard, shards] = options.shard;
        if options.samples == 0 || job.among.is_empty() {
            return fail("no samples are to be measured; --samples needs to be at least 1");
        }
        if shard == 0 || shard > shards {
            return fail("a shard is one of 1/N to N/N");
        }
        if [options.draws, options.batch_size, options.directions, options.probes].contains(&0) {
            return fail("draws, batch size, directions and probes need to be at least 1");
        }
        let coupling = coupling(graph, options.split, options.resizable)?;
        let resizable = resizable(graph, options.resizable)?;
        let mut session = Session::new(graph.clone(), SessionOptions { wide: true, ..options.session })?;
        let columns = Columns::new(session.graph(), &coupling)?;
        if columns.units == 0 {
            return Err(EvidenceError::NoUnits { model: graph.source.file().into() });
        }
        let outputs = fixed_outputs(graph, options.outputs, &resizable)?;
        let heads = heads(graph, data, &outputs, options.objective)?;
        by_samples(graph, heads.iter().map(|head| head.index), true)?;
        // A unit may be consumed by what depends on constants alone.
        session.unfold(columns.taps.iter().filter_map(|tap| match tap {
            Tap::Edge { node, .. } => Some(*node),
            Tap::Value(_) => None,
        }));
        let traces = Traces::new(session.graph(), &coupling, options)?;
        let fixed = data.fixed_batch_size();
        let batch_size = match (&columns.mixing, fixed) {
            (Some(node), Some(batch @ 2..)) => {
                let (model, node) = (graph.source.file().into(), node.clone());
                return Err(EvidenceError::Mixed { model, node, batch });
            }
            (Some(_), _) => 1,
            (None, fixed) => fixed.unwrap_or(options.batch_size),
        };
        let order = data::drawn(job.among, options.samples, options.seed).into_iter();
        let order: Vec<usize> = order.skip(shard - 1).step_by(shards).collect();
        // Whole windows are looked at where measuring may end early: part of one would be of short texts.
        let order = data.grouped(order, SETTLING);
        if order.is_empty() {
            return fail("this shard has no samples");
        }
        let mut header = header(job, &coupling, &columns, &heads, &order)?;
        (header.settings.outputs, header.settings.resizable) = (outputs, names(graph, &resizable));
        let mut evidence = match Evidence::read_if_there(job.file)? {
            Some(found) => found.continued_as(header, &order, job.file)?,
            None => Evidence::begun(header, &columns),
        };
        if evidence.header.samples < order.len() && settled(&evidence, options).is_none() {
            evidence.header.ended = None;
        }
        Ok(Measurer { job, coupling, session, heads, columns, traces, order, batch_size, evidence })
    }

    fn run(&mut self, observe: Observe) -> Result<(), EvidenceError> {
        if self.evidence.header.ended.is_some() {
            return Ok(());
        }
        let ended = self.pass(observe)?;
        self.explain(observe)?;
        let header = &mut self.evidence.header;
        header.ended = Some(ended);
        header.notes.extend(self.traces.as_ref().and_then(Traces::note));
        if header.samples_in_factor < header.samples {
            header.notes.push(format!(
                "the factor has the first {} samples; sets of units are predicted from these (--memory)",
                header.samples_in_factor
            ));
        }
        self.write()
    }

    /// Measures what is left of the samples, or until the ranking is settled; why it ended.
    fn pass(&mut self, observe: Observe) -> Result<String, EvidenceError> {
        let (data, total) = (self.job.data, self.order.len());
        let begun = self.evidence.header.samples;
        // What implants could make may be all that is left to measure.
        if begun < total
            && let Some(ended) = settled(&self.evidence, self.job.options)
        {
            return Ok(ended);
        }
        let rest = self.order[begun.min(total)..].to_vec();
        let (mut saved, mut looked) = (Instant::now(), begun);
        for batch in data.counted(rest, self.batch_size) {
            let (batch, counted) = batch?;
            self.batch(&batch, counted)?;
            let samples = self.evidence.header.samples;
            let look = samples >= looked + SETTLING && samples >= 2 * SETTLING;
            let reliability = look.then(|| self.evidence.reliability());
            let go_on = observe(&Progress { samples, of: total, reliability });
            if look {
                looked = samples;
                if samples < total
                    && let Some(ended) = settled(&self.evidence, self.job.options)
                {
                    return Ok(ended);
                }
            }
            if go_on.is_break() {
                return Err(self.interrupted()?);
            }
            if saved.elapsed() > SAVE_INTERVAL {
                self.write()?;
                saved = Instant::now();
            }
        }
        Ok(format!("all {} samples are measured", self.evidence.header.samples))
    }

    /// Measures what implants could make, on the first samples.
    fn explain(&mut self, observe: Observe) -> Result<(), EvidenceError> {
        // Every so many-th of the first window, which may begin with the shortest texts.
        let window = &self.order[..SETTLING.min(self.evidence.header.samples).min(self.order.len())];
        let apart = window.len().div_ceil(EXPLAINED).max(1);
        let samples: Vec<usize> = window.iter().step_by(apart).copied().collect();
        let stream = Stream {
            graph: self.job.graph,
            data: self.job.data,
            samples: &samples,
            batch_size: self.job.options.batch_size,
            session: self.job.options.session,
        };
        let progress =
            Progress { samples: self.evidence.header.samples, of: self.order.len(), reliability: None };
        let (explained, few) = match explain(&stream, &self.coupling, &mut || observe(&progress)) {
            Err(CompensateError::Interrupted) => return Err(self.interrupted()?),
            explained => explained.map_err(|error| EvidenceError::Implants(Box::new(error)))?,
        };
        if few > 0 {
            self.evidence.header.notes.push(format!(
                "{few} layers that could have implants show fewer positions than twice their channels in {} samples: what implants could \
                 make is not known, and none are chosen there",
                samples.len()
            ));
        }
        self.evidence.header.implants =
            explained.iter().map(|own| (own.node.clone(), own.form.clone())).collect();
        self.evidence.explained = explained;
        Ok(())
    }

    /// Writes what there is; the error that says so.
    fn interrupted(&mut self) -> Result<EvidenceError, EvidenceError> {
        self.write()?;
        Ok(EvidenceError::Interrupted { samples: self.evidence.header.samples })
    }

    /// Writes the evidence with the samples that it has seen.
    fn write(&mut self) -> Result<(), EvidenceError> {
        let seen = &self.order[..self.evidence.header.samples.min(self.order.len())];
        self.evidence.header.data[0].samples = ranges(seen);
        self.evidence.write(self.job.file)
    }

    /// Measures a batch, of which the first `counted` samples count.
    fn batch(&mut self, batch: &Batch, counted: usize) -> Result<(), EvidenceError> {
        let n = batch.indices.len() as i64;
        let inputs = inputs(&self.session, batch)?;
        let mask = token_mask(self.job.data, batch)?;
        let own = self.columns.taps.len();
        let traced = self.traces.as_ref().map_or(&[][..], Traces::taps);
        let run = self.session.forward(&inputs, &[&self.columns.taps, traced].concat())?;
        let activations: Vec<Tensor> =
            run.taps[..own].iter().map(|tap| tap.f_detach()).collect::<Result<_, TchError>>()?;
        // What gradients are taken of in every pass.
        let mut wanted: Vec<&Tensor> = run.taps[..own].iter().collect();
        if let Some(traces) = &mut self.traces {
            traces.begin(&self.session, &run.taps[own..], &batch.indices)?;
            wanted.extend(traces.differentiated().iter().map(|&tap| &run.taps[own + tap]));
        }
        for head in &self.heads {
            if !all_finite(&run.outputs[head.index])? {
                return Err(self.culprit(batch)?);
            }
        }
        let (estimator, draws, seed) =
            (self.job.options.estimator, self.job.options.draws, self.job.options.seed);
        let roots = Roots::new(&self.heads, &run.outputs, estimator, draws, seed, &batch.indices)?;
        let labelled = self.evidence.header.labels;
        let (passes, keep) = (roots.passes(), counted as i64);
        if passes > MAX_PASSES {
            return Err(EvidenceError::Options(match estimator {
                Estimator::Labels => {
                    format!("--draws {draws}: at most {MAX_PASSES} backward passes a batch; draw fewer")
                }
                Estimator::Exact | Estimator::OnePass => format!(
                    "--estimator exact would take {passes} backward passes a batch for these outputs, of {MAX_PASSES} at most; use one-pass"
                ),
            }));
        }
        let first = |tensor: Tensor| tensor.f_narrow(0, 0, keep);
        let kept = self.room(passes).min(counted) as i64;
        let (mut kept_images, mut kept_gradients) = (Vec::new(), Vec::new());
        let mut quadratic = Tensor::f_zeros([keep, self.columns.units as i64], (Kind::Double, Device::Cpu))?;
        for pass in 0..passes {
            let more = labelled || pass + 1 < passes;
            let root = roots.sum(pass)?;
            if !root.requires_grad() {
                return Err(EvidenceError::Options(format!(
                    "nothing that units make reaches {}; --output names others",
                    self.output_names()
                )));
            }
            let gradients = Tensor::f_run_backward(&[&root], &wanted, more, false)?;
            if let Some(traces) = &mut self.traces {
                traces.pass(&gradients[own..], keep)?;
            }
            tch::no_grad(|| -> Result<(), EvidenceError> {
                let images = first(self.images(&activations, &gradients, n)?)?;
                let square = images.f_to_kind(Kind::Double)?.f_square()?.f_mul_scalar(0.5)?;
                quadratic = quadratic.f_add(&square)?;
                if kept > 0 {
                    let gradient =
                        |tap: usize| Ok(gradients[tap].defined().then(|| gradients[tap].shallow_clone()));
                    kept_images.push(images.f_narrow(0, 0, kept)?);
                    kept_gradients.push(self.columns.sums(n, gradient)?.f_narrow(0, 0, kept)?);
                }
                Ok(())
            })?;
        }
        let gradients = match labelled {
            true => {
                let loss = self.label_loss(&run.outputs, batch)?;
                Some(Tensor::f_run_backward(&[&loss], &wanted[..own], false, false)?)
            }
            false => None,
        };
        tch::no_grad(|| -> Result<(), EvidenceError> {
            let images = gradients.map(|gradients| first(self.images(&activations, &gradients, n)?));
            let first_order = match images.transpose()? {
                Some(images) => Some(images.f_to_kind(Kind::Double)?.f_neg()?),
                None => None,
            };
            let mean = |read: &dyn Fn(&Tensor) -> Result<Tensor, TchError>| {
                first(self.columns.means(n, mask.as_ref(), |tap| read(&activations[tap]))?)
            };
            let (means, sizes) = (mean(&|tap| Ok(tap.shallow_clone()))?, mean(&Tensor::f_abs)?);
            if !all_finite(&quadratic)?
                || !all_finite(&sizes)?
                || !first_order.iter().all(|t| all_finite(t).unwrap_or(false))
            {
                return Err(self.culprit(batch)?);
            }
            self.add(&quadratic, first_order.as_ref(), &means, &sizes)
        })?;
        if let Some(traces) = &mut self.traces {
            let blocks = traces.end(self.job.data, &self.heads, batch, counted)?;
            if !all_finite(&blocks.trace)? {
                return Err(self.culprit(batch)?);
            }
            add_moments(&mut self.evidence.sums.trace, &blocks.trace)?;
            add_moments(&mut self.evidence.sums.hap, &blocks.hap)?;
            self.evidence.header.trace_blocks += blocks.trace.size()[0] as usize;
        }
        self.keep(&kept_images, &kept_gradients)?;
        self.evidence.header.samples += counted;
        Ok(())
    }

    /// The outputs that are looked at, for messages.
    fn output_names(&self) -> String {
        let names = self.evidence.header.outputs.iter().map(|output| format!("output '{}'", output.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// `[samples, units]`: Σ a·g over all that a unit's mask multiplies.
    fn images(&self, activations: &[Tensor], gradients: &[Tensor], n: i64) -> Result<Tensor, TchError> {
        let product = |tap: usize| match gradients[tap].defined() {
            true => Ok(Some(activations[tap].f_mul(&gradients[tap])?)),
            false => Ok(None),
        };
        let columns = self.columns.sums(n, product)?;
        let shares = Tensor::f_from_slice(&self.columns.shares)?.f_to_kind(columns.f_kind()?)?;
        self.columns.by_unit(&columns.f_mul(&shares)?)
    }

    /// How many of the next samples the factor has room for. Once one was left out, all later ones are.
    fn room(&self, passes: usize) -> usize {
        let header = &self.evidence.header;
        if header.samples > header.samples_in_factor {
            return 0;
        }
        let row_bytes = 4 * (self.columns.units + self.columns.len()) as u64;
        let used = self.evidence.factor.sample_of.len() as u64 * row_bytes;
        let room = (self.job.options.memory.saturating_sub(used) / (row_bytes * passes as u64)) as usize;
        // Without any, nothing could be said of sets.
        room.max(usize::from(used == 0))
    }

    /// Keeps rows `[samples, n]` of every pass in the factor, sample by sample.
    fn keep(&mut self, images: &[Tensor], gradients: &[Tensor]) -> Result<(), EvidenceError> {
        let Some(samples) = images.first().map(|images| images.size()[0] as usize) else { return Ok(()) };
        let first = self.evidence.header.samples_in_factor;
        let factor = &mut self.evidence.factor;
        for sample in first..first + samples {
            factor.sample_of.extend(std::iter::repeat_n(sample as u32, images.len()));
        }
        factor.units.extend(host(&Tensor::f_stack(images, 1)?)?);
        factor.gradients.extend(host(&Tensor::f_stack(gradients, 1)?)?);
        self.evidence.header.samples_in_factor += samples;
        Ok(())
    }

    /// The sum of the labels' losses over a batch.
    fn label_loss(&self, outputs: &[Tensor], batch: &Batch) -> Result<Tensor, EvidenceError> {
        let head = &self.heads[0];
        let output = &outputs[head.index];
        match head.labels(self.job.graph, output, batch.labels.as_ref(), self.job.data)? {
            Some(labels) => {
                let losses = head.label_losses(output, &labels, 0.0)?;
                Ok(losses.f_sum(None::<Kind>)?.f_mul_scalar(head.weight)?)
            }
            None => Err(EvidenceError::Options("the batch has no labels".into())),
        }
    }

    fn add(
        &mut self,
        quadratic: &Tensor,
        first_order: Option<&Tensor>,
        means: &Tensor,
        sizes: &Tensor,
    ) -> Result<(), EvidenceError> {
        let sums = &mut self.evidence.sums;
        add_moments(&mut sums.quadratic, quadratic)?;
        let first = self.evidence.header.samples as i64 % 2;
        let half = quadratic.f_slice(0, first, None, 2)?.f_sum_dim_intlist(0i64, false, Kind::Double)?;
        add_to(&mut sums.quadratic_of_half, &half)?;
        if let Some(first_order) = first_order {
            add_moments(&mut sums.first_order, first_order)?;
            add_moments(&mut sums.loss, &first_order.f_add(quadratic)?)?;
            add_moments(&mut sums.gradient, &first_order.f_abs()?)?;
            add_moments(&mut sums.taylor, &first_order.f_square()?)?;
        }
        add_to(&mut sums.means, &means.f_sum_dim_intlist(0i64, false, Kind::Double)?)?;
        // The mean over a unit's columns.
        let count = self.columns.by_unit(&sizes.f_ones_like()?)?.f_clamp_min(1.0)?;
        let mean = self.columns.by_unit(sizes)?.f_div(&count)?;
        add_moments(&mut sums.activation, &mean.f_to_kind(Kind::Double)?)
    }

    /// The first node that computes something infinite or no number.
    fn culprit(&self, batch: &Batch) -> Result<EvidenceError, EvidenceError> {
        let graph = self.job.graph;
        let (model, data) = (graph.source.file().to_owned(), self.job.data.path().to_owned());
        for &sample in &batch.indices {
            let one = self.job.data.batch(&self.job.data.filled(vec![sample]))?;
            let inputs = inputs(&self.session, &one)?;
            for &id in &graph.order {
                for value in graph.nodes[id].outputs.iter().flatten() {
                    let Ok(run) = tch::no_grad(|| self.session.forward(&inputs, &[Tap::Value(*value)]))
                    else {
                        continue;
                    };
                    let tap = &run.taps[0];
                    if tap.f_is_floating_point()? && !all_finite(tap)? {
                        return Ok(EvidenceError::NotFinite {
                            model,
                            node: graph.node_label(id),
                            sample,
                            data,
                        });
                    }
                }
            }
        }
        let node = "(none going forward; the gradients overflow)".to_owned();
        Ok(EvidenceError::NotFinite {
            model,
            node,
            sample: batch.indices.first().copied().unwrap_or(0),
            data,
        })
    }
}

impl Evidence {
    /// Nothing measured yet.
    fn begun(header: Header, columns: &Columns) -> Evidence {
        let units = header.units();
        let zeros = || vec![0.0; units];
        let moments = || Moments { sum: zeros(), squares: zeros() };
        let labelled = || if header.labels { moments() } else { Moments::default() };
        let traced = || if header.settings.trace.is_some() { moments() } else { Moments::default() };
        let sums = Sums {
            quadratic: moments(),
            quadratic_of_half: zeros(),
            first_order: labelled(),
            loss: labelled(),
            gradient: labelled(),
            taylor: labelled(),
            activation: moments(),
            means: vec![0.0; columns.len()],
            trace: traced(),
            hap: traced(),
        };
        let factor =
            Factor { unit_of: columns.units_of.clone(), shares: columns.shares.clone(), ..Factor::default() };
        Evidence { header, sums, factor, explained: Vec::new() }
    }

    /// Goes on from this evidence, if it is of what `asked` says.
    fn continued_as(self, asked: Header, order: &[usize], path: &Path) -> Result<Evidence, EvidenceError> {
        let fail = |what: &str| {
            let message =
                format!("holds evidence {what}; choose another file with -o, or delete it to measure anew");
            Err(EvidenceError::File { path: path.to_owned(), message })
        };
        let own = &self.header;
        if own.model_hash != asked.model_hash {
            return fail(&format!("of another model ({})", own.model));
        }
        if own.settings != asked.settings || own.groups != asked.groups {
            return fail("that was measured with other settings");
        }
        let (fingerprint, reading) = (&asked.data[0].fingerprint, asked.data[0].reading.as_deref());
        match &own.data[..] {
            [one] if one.is_read_otherwise(fingerprint, reading) => {
                return fail("of data that were read otherwise (preprocessing, columns or tokenizer)");
            }
            [one] if one.fingerprint == *fingerprint => {}
            [_] => return fail("of other data"),
            _ => return fail("that was merged"),
        }
        // The samples seen must be the first of those that are asked for.
        let seen = &order[..own.samples.min(order.len())];
        if own.labels != asked.labels || own.data[0].samples != ranges(seen) {
            return fail("of other samples, or of more of them");
        }
        let header = Header {
            samples: own.samples,
            samples_in_factor: own.samples_in_factor,
            trace_blocks: own.trace_blocks,
            data: own.data.clone(),
            implants: own.implants.clone(),
            ended: own.ended.clone(),
            ..asked
        };
        Ok(Evidence { header, ..self })
    }
}

fn header(
    job: &MeasureJob,
    coupling: &Coupling,
    columns: &Columns,
    heads: &[Head],
    order: &[usize],
) -> Result<Header, EvidenceError> {
    let (graph, options) = (job.graph, job.options);
    let name = |index: usize| graph.values[graph.outputs[index]].name.clone();
    let output = |head: &Head| MeasuredOutput {
        name: name(head.index),
        loss: head.meaning.closeness().into(),
        weight: head.weight,
        label_loss: head.labelled.then(|| head.meaning.label_loss().into()),
    };
    let labels = heads[0].labelled;
    let mut notes: Vec<String> = heads.iter().filter_map(|head| head.assumption(graph)).collect();
    notes.extend(job.data.notes());
    if heads.len() > 1 {
        notes.push(format!(
            "the losses of {} outputs are added up by their weights; --output NAME=WEIGHT chooses and weighs them",
            heads.len()
        ));
    }
    if let (Some(node), None) = (&columns.mixing, job.data.fixed_batch_size()) {
        notes.push(format!("samples cannot be told apart at node {node}, so that they are run one by one"));
    }
    if !labels {
        notes.push(match job.data.has_labels() {
            true => "the labels are no numbers of the output's shape: there are no first-order scores".into(),
            false => "without labels there are no first-order scores".into(),
        });
    } else if job.data.classes().is_some_and(|labels| order.iter().all(|&i| labels[i] == labels[order[0]])) {
        notes.push("all samples have the same label, so that the loss of the labels says little".into());
    }
    let DataIdentity { path, samples: of, fingerprint, reading } = DataIdentity::of(job.data)?;
    let path = path.display().to_string();
    let data = MeasuredData { path, fingerprint, reading: Some(reading), of, samples: Vec::new() };
    Ok(Header {
        format_version: FORMAT_VERSION,
        secateurs: env!("CARGO_PKG_VERSION").into(),
        model: Path::new(graph.source.file()).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        model_hash: graph.hash(),
        settings: Settings {
            estimator: options.estimator,
            draws: options.draws,
            trace: options.trace.map(|way| TraceSettings {
                way,
                drawn: match way {
                    Trace::Projected => options.directions,
                    Trace::PerSample => 0,
                    Trace::Hutchinson => options.probes,
                },
            }),
            seed: options.seed,
            outputs: options.outputs.to_vec(),
            objective: options.objective,
            split: options.split,
            resizable: Vec::new(),
            precision: if options.session.precision == Precision::Double { 64 } else { 32 },
        },
        data: vec![data],
        samples: 0,
        samples_in_factor: 0,
        trace_blocks: 0,
        labels,
        outputs: heads.iter().map(output).collect(),
        groups: MeasuredGroup::all(graph, coupling),
        implants: Vec::new(),
        notes,
        ended: None,
    })
}

/// Numbers as ranges `[from, to)`.
pub(super) fn ranges(numbers: &[usize]) -> Vec<[usize; 2]> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<[usize; 2]> = Vec::new();
    for number in sorted {
        match found.last_mut() {
            Some(last) if last[1] == number => last[1] += 1,
            _ => found.push([number, number + 1]),
        }
    }
    found
}

fn host(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let flat = tensor.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?;
    Vec::try_from(&flat)
}

fn add_moments(moments: &mut Moments, values: &Tensor) -> Result<(), EvidenceError> {
    add_to(&mut moments.sum, &values.f_sum_dim_intlist(0i64, false, Kind::Double)?)?;
    add_to(&mut moments.squares, &values.f_square()?.f_sum_dim_intlist(0i64, false, Kind::Double)?)
}

fn add_to(sums: &mut [f64], values: &Tensor) -> Result<(), EvidenceError> {
    let values: Vec<f64> = Vec::try_from(&values.f_contiguous()?)?;
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    Ok(())
}
