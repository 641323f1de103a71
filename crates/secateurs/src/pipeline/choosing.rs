//! The stages of a run that say which units go.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::Graph;
use secateurs_graph::session::SessionOptions;

use super::job::{JobError, Progress, Stage};
use super::plan::{PlanOptions, PlanningError};
use super::record::Record;
use super::stages::Stages;
use super::timed::{ROUNDS, Stopwatch, TimedProgress, child_clock, plan_timed};
use crate::evidence::{Evidence, EvidenceError, MeasureJob, MeasureOptions, Trace, measure};
use crate::methods::method;
use crate::plan::Plan;
use crate::run;
use crate::runtime::cache_folder;
use crate::whole;

impl Stages<'_, '_> {
    /// Measures units on training samples, or reads what was measured: those of the original for the first step, those of what a step has
    /// made for the next.
    pub(super) fn measure(
        &mut self,
        graph: &Arc<Graph>,
        options: &PlanOptions,
        for_step: usize,
    ) -> Result<Arc<Evidence>, JobError> {
        let path = self.directory.file(&run::evidence_file(for_step));
        let measured = self.find(|record| match record {
            Record::Measured { for_step: step, .. } if step == for_step => Some(()),
            _ => None,
        });
        if measured.is_some() && path.is_file() {
            return Ok(Arc::new(Evidence::read(&path)?));
        }
        if let (1, Some(evidence), Some(given)) = (for_step, self.evidence.clone(), self.job.evidence) {
            // The run is whole by itself.
            whole::copy(given, &path).map_err(run::RunError::write(&path))?;
            return self.measured(for_step, evidence, 0.0);
        }
        let settings = &self.job.settings;
        let measure_options = MeasureOptions {
            seed: options.seed,
            outputs: self.job.outputs,
            objective: settings.tune.objective,
            split: options.split,
            resizable: &options.resizable,
            trace: settings.measure.trace.or(options.method.needs_trace().then_some(Trace::Projected)),
            session: SessionOptions { device: self.job.device, ..SessionOptions::default() },
            ..settings.measure.options()
        };
        let total = measure_options.samples.min(self.training.len());
        self.begins(Stage::Measure, "measuring what every unit is worth", total)?;
        let start = Instant::now();
        let (data, among) = (self.data.clone(), self.training.clone());
        let job = MeasureJob { graph, data: &data, among: &among, options: &measure_options, file: &path };
        let observe = &mut *self.observe;
        let mut done = 0;
        let evidence = measure(&job, &mut |progress| {
            let new = progress.samples - std::mem::replace(&mut done, progress.samples);
            observe(Progress::Samples(new))
        });
        let seconds = start.elapsed().as_secs_f64();
        if let Err(EvidenceError::Interrupted { .. }) = evidence {
            self.done(Record::Interrupted { seconds })?;
        }
        self.measured(for_step, Arc::new(evidence?), seconds)
    }

    /// Notes that there is evidence for a step.
    fn measured(
        &mut self,
        for_step: usize,
        evidence: Arc<Evidence>,
        seconds: f64,
    ) -> Result<Arc<Evidence>, JobError> {
        self.done(Record::Measured {
            for_step,
            samples: evidence.header.samples,
            reliability: evidence.reliability(),
            notes: evidence.header.notes.clone(),
            seconds,
        })?;
        Ok(evidence)
    }

    /// Chooses units, or reads the choice.
    pub fn plan(&mut self, graph: &Arc<Graph>, options: &PlanOptions) -> Result<Plan, JobError> {
        let path = self.directory.file(run::PLAN);
        let planned = self.find(|record| matches!(record, Record::Planned { .. }).then_some(()));
        if planned.is_some() && path.is_file() {
            return Ok(Plan::read(&path)?);
        }
        let mut options = options.clone();
        let settings = &self.job.settings.plan;
        let tries = settings.steps > 1 || settings.max_drop.is_some();
        let start = Instant::now();
        // What is measured and tried has its own times.
        let counted = |stages: &Stages| -> f64 { stages.log.stages::<Record>().map(|r| r.seconds()).sum() };
        let before = counted(self);
        // A budget that cannot be met is best known at once. What the whole model costs is known then too.
        let known = self.find(|record| match record {
            Record::Target { .. } if tries => Some(()),
            Record::Measured { .. } if !tries => Some(()),
            _ => None,
        });
        let asks = !settings.keep.is_empty() && (tries || options.method.needs_evidence());
        let first = match method("random") {
            Some(random) if asks && known.is_none() => {
                Some(self.choose(graph, &PlanOptions { method: random, ..options.clone() }, 0)?)
            }
            _ => None,
        };
        if options.method.needs_evidence() && !options.budget.limits().is_empty() {
            options.evidence = Some(self.measure(graph, &options, 1)?);
        }
        let plan = match tries {
            true => self.try_out(graph, &options, first.as_ref())?,
            false => {
                self.begins(Stage::Plan, "choosing units", 0)?;
                self.choose(graph, &options, ROUNDS)?
            }
        };
        plan.write(&path)?;
        let seconds = start.elapsed().as_secs_f64() - (counted(self) - before);
        self.done(Record::Planned { seconds: seconds.max(0.0) })?;
        Ok(plan)
    }

    /// Chooses units. Where latency is limited, so many smaller models are timed on the way.
    pub(super) fn choose(
        &mut self,
        graph: &Graph,
        options: &PlanOptions,
        rounds: usize,
    ) -> Result<Plan, JobError> {
        let settings = &self.job.settings.latency;
        let cache = cache_folder();
        let mut stopwatch = Stopwatch {
            options: settings.options(),
            batch: settings.batches.first().copied().unwrap_or(1),
            cache: cache.as_deref(),
            rounds,
            clock: &mut child_clock(self.job.latency_child),
        };
        let mut timed = 0;
        let plan = plan_timed(graph, options, &mut stopwatch, &mut |progress| {
            let begins = |what: String, samples| Progress::Begins { stage: Stage::Latency, what, samples };
            let flow = match progress {
                TimedProgress::Layers { total: 0, .. } => ControlFlow::Continue(()),
                TimedProgress::Layers { done: 0, total } => (self.observe)(begins(
                    format!("timing {total} layers in ONNX Runtime, once for this machine"),
                    total,
                )),
                TimedProgress::Layers { done, .. } => {
                    (self.observe)(Progress::Samples(done - std::mem::replace(&mut timed, done)))
                }
                TimedProgress::Round(0) => (self.observe)(begins("timing the model".into(), 0)),
                TimedProgress::Round(round) => {
                    (self.observe)(begins(format!("timing a smaller model beside it, round {round}"), 0))
                }
            };
            flow.is_continue()
        });
        plan.map_err(|source| match source {
            PlanningError::Interrupted => JobError::Interrupted,
            source => JobError::Planning { model: graph.source.file().into(), source },
        })
    }
}
