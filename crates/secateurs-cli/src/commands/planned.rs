//! The plan of `plan` and `prune`, and what is told while latency is measured for it.

use indicatif::ProgressBar;
use secateurs::format::significant;
use secateurs::pipeline::{ROUNDS, Stopwatch, TimedProgress, WITHIN, child_clock, plan_timed};
use secateurs::plan::Plan;
use secateurs::runtime::{LatencyOptions, cache_folder};
use secateurs_graph::Graph;

use crate::arguments::{ModelArguments, PlanningArguments};
use crate::error::{CliError, Result};
use crate::progress::{self, say};

/// Reads the model and chooses its units.
pub fn plan(model: &ModelArguments, pruning: &PlanningArguments) -> Result<(Graph, Plan)> {
    let (graph, sizes) = model.read_unbound()?;
    let options = pruning.options(sizes)?;
    let executable = std::env::current_exe()?;
    let cache = cache_folder();
    let mut stopwatch = Stopwatch {
        options: LatencyOptions { threads: pruning.threads(), ..LatencyOptions::default() },
        batch: 1,
        cache: cache.as_deref(),
        rounds: ROUNDS,
        clock: &mut child_clock((&executable, &["latency-child"])),
    };
    let mut bar = ProgressBar::hidden();
    let plan = plan_timed(&graph, &options, &mut stopwatch, &mut |progress| {
        match progress {
            TimedProgress::Layers { done: 0, total } if total > 0 => {
                say(format_args!("timing {total} layers in ONNX Runtime, once for this machine"));
                bar = progress::bar(total, "layers");
            }
            TimedProgress::Layers { done, .. } => bar.set_position(done as u64),
            TimedProgress::Round(round) => {
                bar.finish_and_clear();
                let what = match round {
                    0 => "timing the model".to_owned(),
                    _ => format!("timing a smaller model beside it, round {round}"),
                };
                say(&what);
                bar = progress::busy(what);
            }
        }
        true
    });
    bar.finish_and_clear();
    let plan = plan.map_err(|e| CliError::planning(e, &model.model))?;
    warn(&plan);
    Ok((graph, plan))
}

/// Says what was predicted and measured, and where the limit is not met.
fn warn(plan: &Plan) {
    if let Some(units) = plan.lossless {
        let go = if units > 0 { ", and go at no loss" } else { "" };
        say(format_args!("{units} units are provably dead{go}"));
    }
    for (i, round) in plan.latency.iter().enumerate() {
        let [predicted, measured, original] =
            [round.predicted_ms, round.measured_ms, round.original_ms].map(|ms| significant(ms, 3));
        let chosen = if round.chosen { " (chosen)" } else { "" };
        say(format_args!(
            "round {}: {predicted} ms predicted, {measured} ms measured, of {original} ms{chosen}",
            i + 1
        ));
    }
    if let Some(share) = plan.beyond_latency().filter(|share| *share > WITHIN) {
        say(format_args!(
            "warning: the latency measured is {:.0} % above its limit; times on this machine may vary, or smaller models may not be faster",
            100.0 * share
        ));
    }
}
