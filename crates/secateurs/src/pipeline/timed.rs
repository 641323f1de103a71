//! Plans under a limit on latency: by a table of the layers' times, corrected by smaller models that are built and timed.

use std::path::Path;

use secateurs_graph::coupling::{Coupling, Remaining};
use secateurs_graph::surgery::Choice;
use secateurs_graph::{Bindings, Graph, GraphError};
use secateurs_onnx::{WriteOptions, write};

use super::latency::{batches, latency_job, with_batch};
use super::plan::{PlanOptions, PlanningError, begin, macs_sizes, plan_coupled};
use crate::latency::{Clock, Estimate, LatencyTable, Machine, TableError, Times};
use crate::plan::{LatencyRound, Plan};
use crate::runtime::{LatencyJob, LatencyOptions, LatencyRequest, RuntimeError};
use crate::search::{Limit, Resource};

/// How latency is measured for [`plan_timed`].
pub struct Stopwatch<'w> {
    /// Threads, warm-up and runs of whole models.
    pub options: LatencyOptions,
    /// The size of first axes that are symbolic, where it is not bound.
    pub batch: usize,
    /// The folder that holds `secateurs/`, where times of layers are kept.
    pub cache: Option<&'w Path>,
    /// How many smaller models are timed at most. With none the table alone decides.
    pub rounds: usize,
    /// What times them.
    pub clock: &'w mut Clock<'w>,
}

/// So many smaller models are timed at most: each brings the prediction closer to what is measured.
pub const ROUNDS: usize = 4;
/// A limit on latency is met within this share, as measured.
pub const WITHIN: f64 = 0.05;

/// What is told while latency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedProgress {
    /// So many of the layers that are not known yet are timed.
    Layers {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The original, or a smaller model beside it, is timed: the number of the round.
    Round(usize),
}

/// [`plan`](super::plan()) where latency is limited. `observe` returns false to stop.
///
/// The plan is that of the round that comes closest to the limit, as measured; [`Plan::latency`] has them all. That no choice meets the
/// limit is an error also where it is what was measured that says so; where the rounds end before that, the closest is above the limit
/// ([`Plan::beyond_latency`]).
pub fn plan_timed(
    graph: &Graph,
    options: &PlanOptions,
    stopwatch: &mut Stopwatch,
    observe: &mut dyn FnMut(TimedProgress) -> bool,
) -> Result<Plan, PlanningError> {
    let coupling = begin(graph, options)?;
    let Some(limit) = options.budget.limit(Resource::Latency).copied() else {
        return plan_coupled(graph, &coupling, options, None);
    };
    let (original, batch) = original(graph, options, stopwatch)?;
    let sizes = sizes(graph, options, batch);
    let threads = stopwatch.options.threads;
    let mut times = Times::open(Machine::this(threads)?, stopwatch.cache);
    let mut progress = |done, total| observe(TimedProgress::Layers { done, total });
    let table = LatencyTable::measure(
        graph,
        &coupling,
        &sizes,
        &mut times,
        threads,
        &mut *stopwatch.clock,
        &mut progress,
    );
    let table = table.map_err(|error| match error {
        TableError::Interrupted => PlanningError::Interrupted,
        TableError::Runtime(error) => error.into(),
        error => timing(error),
    })?;
    if table.is_empty() {
        return Err(timing("no layer of the model can be timed alone; limit macs or bytes instead"));
    }
    if !observe(TimedProgress::Round(0)) {
        return Err(PlanningError::Interrupted);
    }
    let whole = stopwatch.time(vec![original.clone()])?[0];
    let mut estimate = Estimate::new(&table, &Remaining::new(&coupling), whole);
    let mut rounds: Vec<(f64, Plan, LatencyRound)> = Vec::new();
    let folder = tempfile::tempdir().map_err(timing)?;
    loop {
        let latency = |remaining: &Remaining| estimate.milliseconds(remaining);
        let planned = plan_coupled(graph, &coupling, options, Some(&latency));
        // A correction may leave nothing that meets the limit: then it holds as far as it was measured to hold.
        let met = rounds.iter().any(|(beyond, ..)| *beyond <= WITHIN);
        let plan = match planned {
            Err(PlanningError::Select(_)) if met => break,
            planned => planned?,
        };
        if rounds.len() >= stopwatch.rounds {
            match rounds.is_empty() {
                true => return Ok(plan),
                false => break,
            }
        }
        if !observe(TimedProgress::Round(rounds.len() + 1)) {
            return Err(PlanningError::Interrupted);
        }
        let choice = plan.choice(graph, &coupling).map_err(timing)?;
        let remaining = Remaining::of_choice(&coupling, &choice);
        let smaller = smaller(graph, &coupling, &choice, (batch, &options.sizes), folder.path())?;
        let measured = stopwatch.time(vec![original.clone(), smaller])?;
        let (original_ms, measured_ms) = (measured[0], measured[1]);
        let predicted_ms = estimate.milliseconds(&remaining) / estimate.original_ms * original_ms;
        let round = LatencyRound { predicted_ms, measured_ms, original_ms, chosen: false };
        let beyond = beyond(&limit, &round);
        let same = |other: &Plan| other.groups == plan.groups && other.implants == plan.implants;
        let again = rounds.iter().any(|(_, other, _)| same(other));
        rounds.push((beyond, plan, round));
        if again
            || beyond.abs() <= WITHIN
            || beyond < 0.0 && predicted_ms < (1.0 - WITHIN) * limit.allowed(original_ms)
        {
            break;
        }
        estimate.original_ms = original_ms;
        estimate.correct(&remaining, measured_ms / original_ms);
    }
    Ok(closest(rounds))
}

/// How much of its limit a round is above it; negative below.
fn beyond(limit: &Limit, round: &LatencyRound) -> f64 {
    round.measured_ms / limit.allowed(round.original_ms) - 1.0
}

/// The plan of the best round: the largest that meets the limit within its tolerance, or else the one that is least above it.
fn closest(mut rounds: Vec<(f64, Plan, LatencyRound)>) -> Plan {
    let rank = |beyond: f64| if beyond <= WITHIN { (0, beyond.abs()) } else { (1, beyond) };
    let better = |a: &usize, b: &usize| {
        let (a, b) = (rank(rounds[*a].0), rank(rounds[*b].0));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    let best = (0..rounds.len()).min_by(better).unwrap_or(0);
    rounds[best].2.chosen = true;
    let ledger = rounds.iter().map(|(_, _, round)| round.clone()).collect();
    let (_, mut plan, round) = rounds.swap_remove(best);
    plan.latency = ledger;
    if let Some(reached) = plan.reached.get_mut(Resource::Latency.name()) {
        (reached.kept, reached.of) = (round.measured_ms, round.original_ms);
        reached.share = round.measured_ms / round.original_ms;
    }
    plan
}

impl Stopwatch<'_> {
    /// Medians in milliseconds of models that run in turns.
    fn time(&mut self, jobs: Vec<LatencyJob>) -> Result<Vec<f64>, PlanningError> {
        let request = LatencyRequest { jobs, options: self.options.clone() };
        let timings = (self.clock)(&request)?;
        Ok(timings.into_iter().map(|timing| timing.median_ms).collect())
    }
}

/// The model's file at the sizes that it is timed at, and its batch.
fn original(
    graph: &Graph,
    options: &PlanOptions,
    stopwatch: &Stopwatch,
) -> Result<(LatencyJob, usize), PlanningError> {
    let batch = batches(graph, &[stopwatch.batch], &options.sizes)[0];
    let job = latency_job(graph, Path::new(graph.source.file()), batch, &options.sizes);
    Ok((job.map_err(|e| PlanningError::Timing(e.to_string()))?, batch))
}

/// All sizes as numbers.
fn sizes(graph: &Graph, options: &PlanOptions, batch: usize) -> Bindings {
    macs_sizes(graph, &with_batch(graph, batch, &options.sizes))
}

/// The smaller model in a file, at the sizes that the original is timed at.
fn smaller(
    graph: &Graph,
    coupling: &Coupling,
    choice: &Choice,
    (batch, sizes): (usize, &Bindings),
    folder: &Path,
) -> Result<LatencyJob, PlanningError> {
    let smaller = coupling.carry_out(graph, choice, |_| Ok::<_, GraphError>(None)).map_err(timing)?.graph;
    let model = folder.join("smaller.onnx");
    write(&smaller.to_model(), &model, &WriteOptions::default()).map_err(timing)?;
    latency_job(&smaller, &model, batch, sizes).map_err(timing)
}

fn timing(error: impl ToString) -> PlanningError {
    PlanningError::Timing(error.to_string())
}

/// [`measure_in_child`](crate::runtime::measure_in_child) as a clock.
pub fn child_clock<'c>(
    (program, arguments): (&'c Path, &'c [&'c str]),
) -> impl FnMut(&LatencyRequest) -> Result<Vec<crate::runtime::Timing>, RuntimeError> + 'c {
    move |request| crate::runtime::measure_in_child(program, arguments, request)
}
