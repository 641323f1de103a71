//! The stages of a run in a directory. Each is done once: what it found is a line of the log, what it made a file, and where both
//! are there it is not done again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::Graph;
use secateurs_graph::session::SessionOptions;
use secateurs_torch::tch::Device;

use super::apply::{Applied, apply_fitted};
use super::early;
use super::environment::date;
use super::job::{JobError, Observe, Progress, RunJob, Stage};
use super::open_data;
use super::outcome;
use super::plan::macs_sizes;
use super::record::Record;
use super::teacher;
use super::write::{CheckOptions, WriteAppliedOptions, write_applied, write_checked};
use crate::compensate::{CompensateJob, CompensateOptions, Compensated, Compensation, compensate};
use crate::data::{self, Augment, DataOptions, Dataset, Samples};
use crate::evidence::Evidence;
use crate::implants::{ImplantStart, Stream};
use crate::methods::{Method, method};
use crate::plan::Plan;
use crate::recipe::PlanSettings;
use crate::report::{self, Report};
use crate::run::{self, Config, DataIdentity, FileIdentity, Log, ModelIdentity, RunDirectory};
use crate::runtime::{LatencyRequest, Timing, measure_in_child};
use crate::tune::{Event, ScoreOptions, Scores, TuneJob, heads, scores, tune};

/// The models of a run.
pub(super) struct Models {
    /// The model that was given, or the teacher.
    pub original: Arc<Graph>,
    /// The model before it is tuned, where that is another one.
    pub pruned: Option<Arc<Graph>>,
}

impl Models {
    pub const ORIGINAL: &str = "original";
    pub const PRUNED: &str = "pruned";
    pub const COMPENSATED: &str = "compensated";
    pub const RESULT: &str = "result";

    pub fn of(original: Arc<Graph>) -> Models {
        Models { original, pruned: None }
    }
}

pub(super) const VALIDATION: &str = "validation";
const TEST: &str = "test";

/// A run at work.
pub(super) struct Stages<'a, 'o> {
    pub job: &'a RunJob<'a>,
    pub observe: &'a mut Observe<'o>,
    pub directory: RunDirectory,
    pub log: Log,
    pub config: Config,
    pub data: Arc<Dataset>,
    pub test: Option<Arc<Dataset>>,
    /// The model that is learned from, where that is another one: with inputs and outputs in the order of the model's.
    pub teacher: Option<Arc<Graph>>,
    /// Samples that are trained on, and those that choices are made on.
    pub training: Vec<usize>,
    pub validation: Samples,
    /// What the original's units were found to be worth before the run.
    pub evidence: Option<Arc<Evidence>>,
}

impl<'a, 'o> Stages<'a, 'o> {
    /// Opens the data and the directory; `plan` is for runs that prune.
    pub fn open(
        job: &'a RunJob<'a>,
        plan: Option<&PlanSettings>,
        evidence: Option<Arc<Evidence>>,
        teacher: Option<&Graph>,
        observe: &'a mut Observe<'o>,
    ) -> Result<Stages<'a, 'o>, JobError> {
        let (options, objective) = (&job.settings.data, job.settings.tune.objective);
        let output = job.outputs.first().map(|output| output.name.as_str());
        let open = |path: &Path, options: &DataOptions| {
            open_data(job.graph, path, options, output, objective).map(Arc::new)
        };
        let places = [Some(job.folder), job.teacher_cache, job.evidence];
        let files = [Some(Path::new(job.graph.source.file())), teacher.map(|t| Path::new(t.source.file()))];
        let data = [Some(job.data), job.validation, job.test];
        places.into_iter().chain(files).chain(data).flatten().try_for_each(writable_name)?;
        for data in data.into_iter().flatten() {
            for place in [Some(job.folder), job.teacher_cache].into_iter().flatten() {
                run::outside_data(place, data)?;
            }
        }
        let data = open(job.data, options)?;
        // A class folder means the same in all data, though some classes may be missing.
        let named = (!data.class_names().is_empty()).then(|| data.class_names().to_vec());
        let same_classes =
            DataOptions { classes: named.or_else(|| options.classes.clone()), ..options.clone() };
        let open = |path| open(path, &same_classes);
        let own_validation = job.validation.map(open).transpose()?;
        if let Some(own) = own_validation.as_ref().filter(|own| own.has_labels() != data.has_labels()) {
            let (with, without) = if own.has_labels() { (own, &data) } else { (&data, own) };
            return Err(JobError::Settings(format!(
                "{} has labels and {} none; choices are made by what is trained: give both labels, or neither",
                with.path().display(),
                without.path().display()
            )));
        }
        let test = job.test.map(open).transpose()?;
        let teacher = match teacher {
            Some(teacher) => {
                let own = heads(job.graph, &data, job.outputs, objective)?;
                let outputs: Vec<usize> = own.iter().map(|head| head.index).collect();
                let teacher = teacher::aligned(teacher, job.graph, &outputs)?;
                let theirs = heads(&teacher, &data, job.outputs, objective)?;
                teacher::check_meaning(&teacher, &theirs, job.graph, &own)?;
                Some(Arc::new(teacher))
            }
            None => None,
        };
        // What cannot be timed is best known at once.
        let original = teacher.as_deref().unwrap_or(job.graph);
        for batch in teacher::batches(job.graph, original, &job.settings.latency.batches, &job.sizes) {
            teacher::latency_jobs((job.graph, &job.sizes), original, job.graph, batch)?;
        }
        let mut tuning = job.settings.tune.clone();
        if own_validation.is_some() {
            tuning.validation = 0.0;
        }
        if tuning.epochs == 0 {
            tuning.augment = Augment::default();
        }
        let method = plan.and_then(|plan| method(plan.method.as_deref()?));
        // Later steps measure by the same settings.
        let measured_once = job.evidence.is_some() && plan.is_none_or(|plan| plan.steps <= 1);
        let measures = method.is_some_and(Method::needs_evidence);
        let model = |graph: &Graph| ModelIdentity { path: graph.source.file().into(), hash: graph.hash() };
        let config = Config {
            format_version: run::FORMAT_VERSION,
            secateurs: env!("CARGO_PKG_VERSION").into(),
            command: if plan.is_some() { "compress" } else { "tune" }.into(),
            outputs: job.outputs.to_vec(),
            device: device_name(job.device),
            threads: job.threads,
            sizes: macs_sizes(job.graph, &job.sizes),
            model: model(job.graph),
            teacher: teacher.as_deref().map(model),
            data: DataIdentity::of(&data)?,
            validation: own_validation.as_deref().map(DataIdentity::of).transpose()?,
            test: test.as_deref().map(DataIdentity::of).transpose()?,
            evidence: job.evidence.map(FileIdentity::of).transpose()?,
            // What a preset or a file says is said here in full.
            reading: DataOptions {
                preset: None,
                preprocess_file: None,
                preprocess: data.preprocess().unwrap_or_default(),
                max_length: data.max_length(),
                ..options.clone()
            },
            plan: plan.cloned(),
            measure: (measures && !measured_once).then(|| job.settings.measure.clone()),
            compensate: plan.map(|_| job.settings.compensate),
            tune: tuning.clone(),
            latency: job.settings.latency.clone(),
        };
        let (training, validation) =
            data::held_out(&data, own_validation.as_ref(), tuning.validation, tuning.validation_seed);
        if plan.is_some() {
            super::metric_drop::check(job, &validation)?;
        }
        if let Some(evidence) = &evidence {
            evidence.check_reading(&config.data)?;
        }
        if job.restart {
            let given = files.into_iter().chain([job.evidence]).flatten();
            given.into_iter().try_for_each(|file| run::outside_run(job.folder, file))?;
        }
        early::check(job, &data, &config.tune, plan, evidence.as_deref(), teacher.is_some())?;
        let directory = RunDirectory::open(job.folder, &config, job.restart)?;
        let log = directory.log()?;
        Ok(Stages {
            job,
            observe,
            directory,
            log,
            config,
            data,
            test,
            teacher,
            training,
            validation,
            evidence,
        })
    }

    /// The report, where the run is finished.
    pub fn finished(&mut self) -> Result<Option<Report>, JobError> {
        let date = self.find(|record| match record {
            Record::Finished { date } => Some(date),
            _ => None,
        });
        let files = [run::REPORT_JSON, run::REPORT_HTML, run::MODEL].map(|name| self.directory.file(name));
        let Some(date) = date.filter(|_| files.iter().all(|file| file.is_file())) else { return Ok(None) };
        // An earlier process may have been killed before it could.
        self.directory.remove_training_states()?;
        let path = &files[0];
        let text = std::fs::read(path).map_err(run::RunError::open(path))?;
        let report = serde_json::from_slice(&text).map_err(|e| run::RunError::Damaged {
            path: path.clone(),
            line: None,
            reason: e.to_string(),
        })?;
        let _ = (self.observe)(Progress::WasFinished(&date));
        Ok(Some(report))
    }

    /// Removes the units, or reads the smaller model.
    pub fn prune(&mut self, plan: &Plan) -> Result<Arc<Graph>, JobError> {
        let path = self.directory.file(run::PRUNED);
        let pruned = self.find(|record| matches!(record, Record::Pruned { .. }).then_some(()));
        if pruned.is_none() || !path.is_file() {
            self.begins(Stage::Prune, "pruning, and checking in ONNX Runtime", 0)?;
            let start = Instant::now();
            let (applied, notes) = self.applied(plan)?;
            self.directory.remove_model(run::PRUNED)?;
            let options = WriteAppliedOptions {
                smaller: &path,
                masked: None,
                check: self.job.check,
                sizes: &self.config.sizes,
            };
            let written = write_applied(self.job.graph, &applied, &options)?;
            self.done(Record::Pruned {
                units: applied.units,
                exact: applied.exact,
                left_alone: applied.left_alone,
                difference: written.difference,
                notes,
                seconds: start.elapsed().as_secs_f64(),
            })?;
        }
        Ok(Arc::new(Graph::read(&path)?))
    }

    /// The smaller model of a plan, its implants fitted on training samples.
    pub(super) fn applied(&mut self, plan: &Plan) -> Result<(Applied, Vec<String>), JobError> {
        let settings = self.job.settings.compensate;
        let samples = data::drawn(&self.training, settings.samples, plan.asked.seed);
        let graph = Arc::new(self.job.graph.clone());
        let stream = Stream {
            graph: &graph,
            data: &self.data,
            samples: &samples,
            batch_size: settings.batch_size,
            session: SessionOptions { device: self.job.device, ..SessionOptions::default() },
        };
        let observe = &mut *self.observe;
        Ok(apply_fitted(plan, &stream, &mut |samples| observe(Progress::Samples(samples)))?)
    }

    /// Fits what is left to what the original makes, on training samples, or reads what was fitted; `None` where nothing is to be.
    pub fn compensate(&mut self, plan: &Plan) -> Result<Option<Arc<Graph>>, JobError> {
        let settings = self.job.settings.compensate;
        if settings.fit == Compensation::None {
            return Ok(None);
        }
        let path = self.directory.file(run::COMPENSATED);
        let done = self.find(|record| matches!(record, Record::Compensated { .. }).then_some(()));
        if done.is_none() || !path.is_file() {
            let start = Instant::now();
            let (applied, _) = self.applied(plan)?;
            let found = self.fitted(applied, plan)?;
            self.directory.remove_model(run::COMPENSATED)?;
            let check = CheckOptions { check: self.job.check, sizes: &self.config.sizes };
            let written =
                write_checked(self.job.graph, &found.graph, &path, "the compensated model", &check)?;
            self.done(Record::Compensated {
                layers: found.layers,
                samples: found.samples,
                notes: found.notes,
                difference: written.difference,
                seconds: start.elapsed().as_secs_f64(),
            })?;
        }
        Ok(Some(Arc::new(Graph::read(&path)?)))
    }

    /// A smaller model whose layers are fitted to what the original makes, on training samples.
    pub(super) fn fitted(&mut self, mut applied: Applied, plan: &Plan) -> Result<Compensated, JobError> {
        if plan.asked.implant.start == ImplantStart::Zero {
            applied.layers.retain(|_, layer| !layer.implanted);
        }
        let (original, smaller) = (Arc::new(self.job.graph.clone()), Arc::new(applied.graph));
        let options = CompensateOptions {
            settings: self.job.settings.compensate,
            seed: plan.asked.seed,
            session: SessionOptions { device: self.job.device, ..SessionOptions::default() },
            ..CompensateOptions::default()
        };
        self.begins(Stage::Compensate, "fitting what is left", applied.layers.len())?;
        let job = CompensateJob {
            original: &original,
            smaller: &smaller,
            layers: &applied.layers,
            data: &self.data,
            among: &self.training,
            options: &options,
        };
        let observe = &mut *self.observe;
        let compensated = compensate(&job, &mut |_, _| observe(Progress::Samples(1)))?;
        self.nearer(&original, &smaller, compensated, plan.asked.seed)
    }

    /// Scores a model on the samples that are held out.
    pub fn validate(
        &mut self,
        model: &str,
        graph: &Arc<Graph>,
        teacher: Option<&Arc<Graph>>,
    ) -> Result<(), JobError> {
        let Samples { data, indices } = self.validation.clone();
        self.score(model, VALIDATION, graph, teacher, &data, &indices)
    }

    /// Scores a model on the test data, if there are any.
    fn test(
        &mut self,
        model: &str,
        graph: &Arc<Graph>,
        teacher: Option<&Arc<Graph>>,
    ) -> Result<(), JobError> {
        let Some(data) = self.test.clone() else { return Ok(()) };
        let samples: Vec<usize> = (0..data.len()).collect();
        self.score(model, TEST, graph, teacher, &data, &samples)
    }

    fn score(
        &mut self,
        model: &str,
        on: &str,
        graph: &Arc<Graph>,
        teacher: Option<&Arc<Graph>>,
        data: &Arc<Dataset>,
        samples: &[usize],
    ) -> Result<(), JobError> {
        if self.scores(model, on).is_some() || samples.is_empty() {
            return Ok(());
        }
        let noun = if on == TEST { "test data" } else { "the held-out samples" };
        self.begins(Stage::Score, &format!("scoring the {model} model on {noun}"), samples.len())?;
        let start = Instant::now();
        let scores = self.scored(graph, teacher, data, samples)?;
        self.done(Record::Scored {
            model: model.into(),
            on: on.into(),
            scores,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Scores of a model, beside another one where there is one.
    pub(super) fn scored(
        &mut self,
        graph: &Arc<Graph>,
        teacher: Option<&Arc<Graph>>,
        data: &Arc<Dataset>,
        samples: &[usize],
    ) -> Result<Scores, JobError> {
        let options = ScoreOptions {
            outputs: self.job.outputs,
            objective: self.job.settings.tune.objective,
            session: SessionOptions { device: self.job.device, ..SessionOptions::default() },
        };
        let observe = &mut *self.observe;
        let mut progress = |done: usize| {
            // What is scored is scored whole: nothing is lost if the process ends.
            let _ = observe(Progress::Samples(done));
        };
        Ok(scores(graph, teacher, data, samples, &options, &mut progress)?)
    }

    /// What the log says of a model on data.
    pub fn scores(&self, wanted: &str, wanted_on: &str) -> Option<Scores> {
        self.find(|record| match record {
            Record::Scored { model, on, scores, .. } if model == wanted && on == wanted_on => Some(scores),
            _ => None,
        })
    }

    /// Trains a model, which a plan made of its teacher, checks and writes it, or reads it.
    pub fn tune(
        &mut self,
        graph: &Arc<Graph>,
        teacher: Option<&Arc<Graph>>,
        plan: Option<&Plan>,
    ) -> Result<Arc<Graph>, JobError> {
        let path = self.directory.file(run::MODEL);
        let tuned = self.find(|record| matches!(record, Record::Tuned { .. }).then_some(()));
        if tuned.is_none() || !path.is_file() {
            self.begins(Stage::Tune, "tuning", 0)?;
            let start = Instant::now();
            let job = TuneJob {
                graph,
                teacher: teacher.map(|teacher| &**teacher),
                teacher_cache: self.job.teacher_cache,
                plan,
                data: &self.data,
                validation: self.config.validation.as_ref().map(|_| &self.validation.data),
                outputs: self.job.outputs,
                options: &self.config.tune,
                device: self.job.device,
                folder: self.directory.path(),
            };
            let (log, observe) = (&mut self.log, &mut *self.observe);
            let mut failed = None;
            let tuned = tune(&job, &mut |event| {
                let logged = match event {
                    Event::Started { step, .. } => log.rewind(*step).and_then(|()| log.append(event)),
                    event => log.append(event),
                };
                match logged {
                    Ok(()) => observe(Progress::Tuning(event)),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            });
            let tuned = match (failed, tuned) {
                (Some(error), _) => return Err(error.into()),
                (None, tuned) => tuned?,
            };
            self.begins(Stage::Write, "checking the result in ONNX Runtime", 0)?;
            self.directory.remove_model(run::MODEL)?;
            let check = CheckOptions { check: self.job.check, sizes: &self.config.sizes };
            let written = write_checked(self.job.graph, &tuned.graph, &path, "the tuned model", &check)?;
            self.done(Record::Tuned {
                chosen: tuned.chosen,
                optimizer_steps: tuned.steps,
                notes: tuned.notes,
                difference: written.difference,
                seconds: start.elapsed().as_secs_f64(),
            })?;
        }
        Ok(Arc::new(Graph::read(&path)?))
    }

    /// What is measured of the result, once every choice has been made, and the report.
    pub fn finish(mut self, models: Models, result: Arc<Graph>) -> Result<Report, JobError> {
        let original = models.original.clone();
        self.validate(Models::RESULT, &result, Some(&original))?;
        self.test(Models::ORIGINAL, &original, None)?;
        self.test(Models::RESULT, &result, Some(&original))?;
        self.time(&original, &result)?;
        self.begins(Stage::Report, "writing the report", 0)?;
        let date = date();
        let report = outcome::report(&self, &models, &result, date.clone())?;
        let text = serde_json::to_string_pretty(&report)
            .map_err(|e| run::RunError::write(&self.directory.file(run::REPORT_JSON))(e.into()))?;
        self.directory.write(run::REPORT_JSON, text.as_bytes())?;
        self.directory.write(run::REPORT_HTML, report::render(&report).as_bytes())?;
        self.done(Record::Finished { date })?;
        self.directory.remove_training_states()?;
        Ok(report)
    }

    /// Measures the latency of the original and the result side by side, at every batch size.
    fn time(&mut self, original: &Graph, result: &Graph) -> Result<(), JobError> {
        let (settings, worked_on) = (&self.job.settings.latency, (self.job.graph, &self.job.sizes));
        for batch in teacher::batches(worked_on.0, original, &settings.batches, worked_on.1) {
            let timed = |record| matches!(record, Record::Timed { batch: b, .. } if b == batch).then_some(());
            if self.find(timed).is_some() {
                continue;
            }
            self.begins(Stage::Latency, &format!("measuring latency at batch {batch}"), 0)?;
            let start = Instant::now();
            let jobs = teacher::latency_jobs(worked_on, original, result, batch)?;
            let shapes = jobs[0].shapes.clone();
            let (program, arguments) = self.job.latency_child;
            let request = LatencyRequest { jobs, options: settings.options() };
            let timings = measure_in_child(program, arguments, &request)?;
            let [original, result] = <[Timing; 2]>::try_from(timings)
                .unwrap_or_else(|timings| unreachable!("two models give two timings, not {}", timings.len()));
            let seconds = start.elapsed().as_secs_f64();
            self.done(Record::Timed { batch, shapes, original, result, seconds })?;
        }
        Ok(())
    }

    /// The last record of which `choose` makes something.
    pub fn find<T>(&self, choose: impl Fn(Record) -> Option<T>) -> Option<T> {
        self.log.stages::<Record>().filter_map(choose).last()
    }

    pub(super) fn begins(&mut self, stage: Stage, what: &str, samples: usize) -> Result<(), JobError> {
        match (self.observe)(Progress::Begins { stage, what: what.into(), samples }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JobError::Interrupted),
        }
    }

    pub(super) fn done(&mut self, record: Record) -> Result<(), JobError> {
        Ok(self.log.append_synced(&record)?)
    }
}

/// Refuses names that `config.toml` and the report, which are texts, cannot hold. Those of models are texts already.
fn writable_name(path: &Path) -> Result<(), JobError> {
    match path.to_str().filter(|name| !name.contains(char::REPLACEMENT_CHARACTER)) {
        Some(_) => Ok(()),
        None => Err(JobError::Settings(format!(
            "{}: the name is no UTF-8, and a run keeps the names of its files as text; rename it",
            path.display()
        ))),
    }
}

/// As `--device` takes it.
fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}
