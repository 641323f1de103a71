//! What the steps of a run predicted and measured, from its log.

use secateurs_graph::cost::Cost;
use secateurs_graph::coupling::{Costs, CouplingOptions, Remaining};
use secateurs_graph::{Bindings, Graph};

use super::metric_drop::metric;
use super::outcome::{quality, seconds_before, untuned};
use super::record::{Record, Trial};
use super::stages::{Models, Stages, VALIDATION};
use crate::plan::Plan;
use crate::recipe::PlanSettings;
use crate::report::{Frontier, Measured, Metric, Quantity, Step, Unit};
use crate::runtime::Timing;
use crate::search::{Parts, Resource};
use crate::tune::{Head, Meaning};

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

/// What is left of a resource, in the parts of the model that are counted.
fn kept(plan: &Plan, resource: &str) -> String {
    let parts = plan.counted(resource);
    let of = if parts.is_empty() { String::new() } else { format!(" of {}", parts.join(", ")) };
    format!("{resource}{of} kept")
}

/// A smaller model that was tried on the way to the choice.
fn tried(trial: &Trial, settings: Option<&PlanSettings>, unit: Unit) -> (String, Vec<Quantity>) {
    let steps = settings.map_or(1, |plan| plan.steps);
    let step = if steps > 1 { format!(", step {} of {steps}", trial.of_step) } else { String::new() };
    let most = settings.and_then(|plan| plan.max_drop);
    let mut quantities = Vec::new();
    if trial.predicted.is_some() || trial.change.is_some() {
        let from = if trial.of_step > 1 { " from the step before" } else { "" };
        quantities.push(quantity(&format!("{CHANGE}{from}"), unit, trial.predicted, trial.change));
    }
    quantities.extend(trial.loss_change.map(|by| {
        let unit = Metric::loss(trial.scores.accuracy.is_some()).unit();
        quantity("change of the loss", unit, None, Some(by))
    }));
    quantities.extend(trial.drop.map(|drop| {
        let limit = most.map_or(String::new(), |most| {
            format!(", {} {most} points", if trial.holds { "within" } else { "beyond" })
        });
        let name = format!("drop of the {}{limit}", metric(&trial.scores));
        quantity(&name, Unit::Share, None, Some(drop / 100.0))
    }));
    (format!("trial {}{step}: {}", trial.number, trial.kept()), quantities)
}

/// What the pruned model costs, in the parts that the plan counts; `None` where that cannot be told.
fn pruned_cost(plan: &Plan, pruned: &Graph, sizes: &Bindings) -> Option<Cost> {
    if plan.asked.count.is_empty() {
        return Some(pruned.cost());
    }
    // Which part an implant belongs to, its name does not tell.
    if !plan.implants.is_empty() {
        return None;
    }
    let (parts, coupling) = (Parts(plan.asked.count.clone()), pruned.coupling(&CouplingOptions::default()));
    let costs = Costs::of_parts(pruned, &coupling, sizes, &|name| parts.has(name));
    let all = Remaining::new(&coupling);
    Some(Cost { params: costs.params(&all), statistics: 0, bytes: costs.bytes(&all), macs: costs.macs(&all) })
}

/// The steps, in their order.
pub(super) fn ledger(
    stages: &Stages,
    plan: Option<&Plan>,
    models: &Models,
    heads: &[Head],
    frontier: Option<&Frontier>,
) -> Vec<Step> {
    let unit = match heads {
        [head] if head.meaning != Meaning::Values => Unit::Nats,
        _ => Unit::Number,
    };
    // In one step the plan predicts what the model that tuning starts from is measured to change.
    let untuned = untuned(stages);
    let predicted = plan.filter(|plan| plan.asked.max_drop.is_none()).and_then(|plan| plan.predicted);
    let predicted = predicted.filter(|_| stages.config.plan.as_ref().is_some_and(|plan| plan.steps == 1));
    let reached = || {
        plan.iter().flat_map(|plan| {
            plan.reached.iter().map(|(resource, share)| (resource.as_str(), kept(plan, resource), share))
        })
    };
    let mut interrupted = 0.0;
    let step = |record: Record| {
        let mut seconds = record.seconds();
        let (name, quantities) = match record {
            Record::Scored { model, on, scores, .. } => {
                let metrics = quality(&scores).metrics.into_iter();
                let metrics = metrics.map(|(metric, measured)| Quantity {
                    name: metric.name().into(),
                    unit: metric.unit(),
                    predicted: None,
                    measured: Some(measured),
                });
                let predicted = predicted.filter(|_| model == untuned && on == VALIDATION);
                let change = predicted.map(|change| quantity(CHANGE, unit, Some(change), scores.change));
                (format!("{model} model on {on} data"), metrics.chain(change).collect())
            }
            Record::Tried(trial) => tried(&trial, stages.config.plan.as_ref(), unit),
            Record::Interrupted { .. } => {
                interrupted += seconds;
                return None;
            }
            Record::Measured { for_step, samples, reliability, .. } => {
                seconds += std::mem::take(&mut interrupted);
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
                // What was measured of latency is told by round.
                let counted = reached().filter(|(resource, ..)| *resource != Resource::Latency.name());
                let kept =
                    counted.map(|(_, name, share)| quantity(&name, Unit::Share, Some(share.share), None));
                let rounds = plan.iter().flat_map(|plan| &plan.latency).enumerate();
                let timed = rounds.map(|(i, round)| {
                    let name =
                        format!("latency, round {}{}", i + 1, if round.chosen { ", chosen" } else { "" });
                    quantity(&name, Unit::Milliseconds, Some(round.predicted_ms), Some(round.measured_ms))
                });
                // That of all steps.
                let change = frontier.map(|own| quantity(CHANGE, unit, Some(own.chosen.change), None));
                ("plan".into(), kept.chain(change).chain(timed).collect())
            }
            Record::Pruned { .. } => {
                let sizes = &stages.config.sizes;
                let both = plan.zip(models.pruned.as_deref());
                let cost = both.and_then(|(plan, pruned)| pruned_cost(plan, pruned, sizes));
                let measured = |resource: &str| {
                    let cost = cost.as_ref()?;
                    match resource {
                        "params" => Some(cost.params as f64),
                        "bytes" => Some(cost.bytes as f64),
                        "macs" => cost.macs.bind(sizes).known().map(|macs| macs as f64),
                        _ => None,
                    }
                };
                let kept = reached().filter_map(|(resource, name, share)| {
                    let measured = measured(resource)? / share.of.max(1.0);
                    Some(quantity(&name, Unit::Share, Some(share.share), Some(measured)))
                });
                ("prune".into(), kept.collect())
            }
            Record::Tuned { optimizer_steps, .. } => {
                seconds += seconds_before(stages);
                let steps = quantity("steps", Unit::Count, None, Some(optimizer_steps as f64));
                ("tune".into(), vec![steps])
            }
            Record::Timed { batch, original, result, .. } => {
                let time =
                    |name, timing: &Timing| quantity(name, Unit::Milliseconds, None, Some(timing.median_ms));
                let times = vec![time("original, median", &original), time("result, median", &result)];
                (format!("latency at batch {batch}"), times)
            }
            Record::Target { .. } | Record::Unmeetable { .. } | Record::Finished { .. } => return None,
        };
        Some(Step { name, seconds, quantities })
    };
    stages.log.stages::<Record>().filter_map(step).collect()
}
