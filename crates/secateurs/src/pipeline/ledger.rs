//! What the steps of a run predicted and measured, from its log.

use secateurs_graph::Graph;

use super::metric_drop::metric;
use super::outcome::{quality, untuned};
use super::record::{Record, Trial};
use super::stages::{Models, Stages, VALIDATION};
use crate::plan::{Plan, PlannedShare};
use crate::recipe::PlanSettings;
use crate::report::{Measured, Metric, Quantity, Step, Unit};
use crate::runtime::Timing;
use crate::search::Resource;

/// What units are measured for.
const CHANGE: &str = "change of the outputs";

fn quantity(name: &str, unit: Unit, predicted: Option<f64>, measured: Option<f64>) -> Quantity {
    Quantity {
        name: name.into(),
        unit,
        predicted: predicted.map(Measured::exact),
        measured: measured.map(Measured::exact),
    }
}

/// A smaller model that was tried on the way to the choice.
fn tried(trial: &Trial, settings: Option<&PlanSettings>) -> (String, Vec<Quantity>) {
    let steps = settings.map_or(1, |plan| plan.steps);
    let step = if steps > 1 { format!(", step {} of {steps}", trial.of_step) } else { String::new() };
    let most = settings.and_then(|plan| plan.max_drop);
    let mut quantities = Vec::new();
    if trial.predicted.is_some() || trial.change.is_some() {
        let from = if trial.of_step > 1 { " from the step before" } else { "" };
        quantities.push(quantity(&format!("{CHANGE}{from}"), Unit::Nats, trial.predicted, trial.change));
    }
    quantities.extend(trial.loss_change.map(|by| quantity("change of the loss", Unit::Nats, None, Some(by))));
    quantities.extend(trial.drop.map(|drop| {
        let limit = most.map_or(String::new(), |most| {
            format!(", {} {most} points", if trial.holds { "within" } else { "beyond" })
        });
        let name = format!("drop of the {}{limit}", metric(&trial.scores));
        quantity(&name, Unit::Share, None, Some(drop / 100.0))
    }));
    (format!("trial {}{step}: {}", trial.number, trial.kept()), quantities)
}

/// The steps, in their order.
pub(super) fn ledger(stages: &Stages, plan: Option<&Plan>, models: &Models) -> Vec<Step> {
    // In one step the plan predicts what the model that tuning starts from is measured to change.
    let untuned = untuned(stages);
    let predicted = plan.filter(|plan| plan.asked.max_drop.is_none()).and_then(|plan| plan.predicted);
    let predicted = predicted.filter(|_| stages.config.plan.as_ref().is_some_and(|plan| plan.steps == 1));
    let step = |record: Record| {
        let seconds = record.seconds();
        let (name, quantities) = match record {
            Record::Scored { model, on, scores, .. } => {
                let metrics = quality(&scores).metrics.into_iter();
                let is_predicted = model == untuned && on == VALIDATION;
                let quantities = metrics.map(|(metric, measured)| Quantity {
                    name: metric.name().into(),
                    unit: metric.unit(),
                    predicted: predicted
                        .filter(|_| is_predicted && matches!(metric, Metric::Divergence | Metric::Distance))
                        .map(Measured::exact),
                    measured: Some(measured),
                });
                (format!("{model} model on {on} data"), quantities.collect())
            }
            Record::Tried(trial) => tried(&trial, stages.config.plan.as_ref()),
            Record::Measured { for_step, samples, reliability, .. } => {
                let quantities = vec![
                    quantity("samples", Unit::Count, None, Some(samples as f64)),
                    quantity("reliability of the ranking", Unit::Share, None, Some(reliability)),
                ];
                let step = if for_step > 1 { format!(" for step {for_step}") } else { String::new() };
                (format!("measure{step}"), quantities)
            }
            Record::Compensated { layers, samples, .. } => {
                let quantities = vec![
                    quantity("layers fitted", Unit::Count, None, Some(layers[0] as f64)),
                    quantity("samples", Unit::Count, None, Some(samples as f64)),
                ];
                ("compensate".into(), quantities)
            }
            Record::Planned { .. } => {
                let reached = plan.iter().flat_map(|plan| &plan.reached);
                let kept = |(resource, share): (&String, &PlannedShare)| {
                    quantity(&format!("{resource} kept"), Unit::Share, Some(share.share), None)
                };
                let rounds = plan.iter().flat_map(|plan| &plan.latency).enumerate();
                let timed = rounds.map(|(i, round)| {
                    let name =
                        format!("latency, round {}{}", i + 1, if round.chosen { ", chosen" } else { "" });
                    quantity(&name, Unit::Milliseconds, Some(round.predicted_ms), Some(round.measured_ms))
                });
                // What was measured of latency is told by round.
                let counted = reached.filter(|(resource, _)| *resource != Resource::Latency.name());
                let predicted = plan.and_then(|plan| plan.predicted);
                let change = predicted.map(|change| quantity(CHANGE, Unit::Nats, Some(change), None));
                ("plan".into(), counted.map(kept).chain(change).chain(timed).collect())
            }
            Record::Pruned { .. } => {
                let cost = |graph: &Graph| graph.cost();
                let (before, after) = (cost(&models.original), models.pruned.as_deref().map(cost));
                let macs =
                    |dim: &secateurs_graph::Dim| dim.bind(&stages.config.sizes).known().map(|n| n as f64);
                let measured = |resource: &str| {
                    let after = after.as_ref()?;
                    match resource {
                        "params" => Some(after.params as f64 / before.params.max(1) as f64),
                        "bytes" => Some(after.bytes as f64 / before.bytes.max(1) as f64),
                        "macs" => Some(macs(&after.macs)? / macs(&before.macs)?),
                        _ => None,
                    }
                };
                let reached = plan.iter().flat_map(|plan| &plan.reached);
                let kept = reached.filter_map(|(resource, share)| {
                    let measured = measured(resource)?;
                    Some(quantity(
                        &format!("{resource} kept"),
                        Unit::Share,
                        Some(share.share),
                        Some(measured),
                    ))
                });
                ("prune".into(), kept.collect())
            }
            Record::Tuned { optimizer_steps, .. } => {
                let steps = quantity("steps", Unit::Count, None, Some(optimizer_steps as f64));
                ("tune".into(), vec![steps])
            }
            Record::Timed { batch, original, result, .. } => {
                let time =
                    |name, timing: &Timing| quantity(name, Unit::Milliseconds, None, Some(timing.median_ms));
                let times = vec![time("original, median", &original), time("result, median", &result)];
                (format!("latency at batch {batch}"), times)
            }
            Record::Unmeetable { .. } | Record::Finished { .. } => return None,
        };
        Some(Step { name, seconds, quantities })
    };
    stages.log.stages::<Record>().filter_map(step).collect()
}
