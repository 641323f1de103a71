//! The report of a run, from its log and its models.

use std::collections::{BTreeMap, BTreeSet};

use secateurs_graph::graph::NodeId;
use secateurs_graph::op::Op;
use secateurs_graph::{Bindings, Dim, Graph, Source, ValueId};

use super::chosen::{self, Chosen};
use super::environment::environment;
use super::job::JobError;
use super::latency::batches;
use super::ledger::ledger;
use super::metric_drop::metric;
use super::record::{Record, Trial};
use super::samples::samples;
use super::sensitivity;
use super::stages::{Models, Stages, VALIDATION};
use super::timed::WITHIN;
use super::write::file_bytes;
use crate::data::LabelKind;
use crate::format::{count, significant};
use crate::plan::Plan;
use crate::report::{
    Change, ChosenState, Count, DataDescription, Figures, FileHash, LatencyBatch, LatencyConditions, Layer,
    LayerUnits, Measured, Metric, Note, NoteWeight, Quality, Report, Rollback, Training, TrainingEvaluation,
    TrainingStep,
};
use crate::run::{self, settings_table};
use crate::runtime::Timing;
use crate::search::{Limit, Resource};
use crate::tune::{Event, Head, Scores, heads};

pub(super) fn report(
    stages: &Stages,
    models: &Models,
    result: &Graph,
    date: String,
) -> Result<Report, JobError> {
    let config = &stages.config;
    let sizes = &config.sizes;
    let plan = match &config.plan {
        Some(_) => Some(Plan::read(&stages.directory.file(run::PLAN))?),
        None => None,
    };
    let units = stages.find(|record| match record {
        Record::Pruned { units, .. } => Some(units),
        _ => None,
    });
    let chosen = plan.as_ref().map(|plan| Chosen::of(plan, &models.original)).transpose()?;
    let (conditions, [original_times, result_times]) = latency(stages);
    let figures = |name: &str, graph: &Graph, units: Option<usize>, latency: Vec<Timing>| {
        let cost = graph.cost();
        Figures {
            test: stages.scores(name, "test").map(|s| quality(&s)),
            validation: stages.scores(name, "validation").map(|s| quality(&s)),
            parameters: cost.params as u64,
            macs: Count::from(&cost.macs.bind(sizes)),
            file_bytes: Some(file_bytes(graph)),
            latency,
            units: units.map(|n| n as u64),
        }
    };
    let (before, after) = (units.map(|u| u[0]), units.map(|u| u[1]));
    let untuned = untuned(stages);
    let frontier = chosen::frontier(stages, plan.as_ref())?;
    let heads = heads(&models.original, &stages.data, stages.job.outputs, config.tune.objective)?;
    let ledger = ledger(stages, plan.as_ref(), models, &heads, frontier.as_ref());
    let started = started(stages);
    let mut settings = settings_table(config);
    if let Some(Event::Started { resolved, .. }) = &started {
        settings.insert("tuned with".into(), settings_table(&**resolved).into());
    }
    Ok(Report {
        format_version: crate::report::FORMAT_VERSION,
        model: file_name(&models.original),
        date,
        seconds: ledger.iter().map(|step| step.seconds).sum(),
        command: stages.job.command.to_vec(),
        original: figures(Models::ORIGINAL, &models.original, before, original_times),
        pruned: models.pruned.as_ref().map(|graph| figures(untuned, graph, after, Vec::new())),
        result: figures(Models::RESULT, result, after, result_times),
        sizes: sizes.clone(),
        latency: conditions,
        notes: notes(stages, plan.as_ref()),
        layers: layers(
            &models.original,
            result,
            sizes,
            &chosen.as_ref().map_or_else(BTreeMap::new, Chosen::units),
        ),
        attention: chosen.as_ref().map_or_else(Vec::new, Chosen::attention),
        ledger,
        frontier,
        sensitivity: sensitivity::of_run(stages, plan.as_ref(), &models.original)?,
        training: training(stages),
        samples: samples(stages, &models.original, result)?,
        data: Some(description(stages, &heads)),
        settings,
        seeds: seeds(stages),
        environment: environment(&config.device, config.threads),
        files: files(stages, models, result),
    })
}

fn file_name(graph: &Graph) -> String {
    let path = std::path::Path::new(graph.source.file());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What tuning started from.
pub(super) fn untuned(stages: &Stages) -> &'static str {
    match stages.scores(Models::COMPENSATED, VALIDATION) {
        Some(_) => Models::COMPENSATED,
        None => Models::PRUNED,
    }
}

pub(super) fn quality(scores: &Scores) -> Quality {
    let values = [
        (Metric::Accuracy, scores.accuracy, scores.accuracy_standard_error),
        (Metric::loss(scores.accuracy.is_some()), scores.loss, None),
        (Metric::Agreement, scores.agreement, None),
        (Metric::divergence(scores.outputs, scores.agreement.is_some()), scores.divergence, None),
    ];
    let metrics = values.into_iter().filter_map(|(metric, value, standard_error)| {
        let change = scores.accuracy_change.filter(|_| metric == Metric::Accuracy);
        let change = change.map(|[by, error]| Change { by, standard_error: Some(error) });
        Some((metric, Measured { value: value?, standard_error, change }))
    });
    Quality { samples: scores.samples as u64, metrics: metrics.collect() }
}

/// How latency was measured, and that of the original and the result at each batch size.
fn latency(stages: &Stages) -> (Option<LatencyConditions>, [Vec<Timing>; 2]) {
    let (mut batches, mut times) = (Vec::new(), [Vec::new(), Vec::new()]);
    for record in stages.log.stages::<Record>() {
        if let Record::Timed { batch, shapes, original, result, .. } = record {
            batches.push(LatencyBatch { batch, shapes });
            times[0].push(original);
            times[1].push(result);
        }
    }
    let conditions = LatencyConditions { threads: stages.config.latency.threads, batches };
    (Some(conditions).filter(|conditions| !conditions.batches.is_empty()), times)
}

/// How the training began, as far as this log has it.
fn started(stages: &Stages) -> Option<Event> {
    stages.log.steps::<Event>().filter(|event| matches!(event, Event::Started { .. })).last()
}

/// Wall-clock time of the whole epochs of a training before it was interrupted.
pub(super) fn seconds_before(stages: &Stages) -> f64 {
    let events: Vec<Event> = stages.log.steps().collect();
    let last = events.iter().rposition(|event| matches!(event, Event::Started { .. })).unwrap_or(0);
    let epochs = events[..last].iter().map(|event| match event {
        Event::Epoch { seconds, .. } => *seconds,
        _ => 0.0,
    });
    epochs.sum()
}

fn notes(stages: &Stages, plan: Option<&Plan>) -> Vec<Note> {
    let (mut warnings, mut notes) = (Vec::new(), Vec::new());
    warnings.extend(missed_latency(stages, plan));
    warnings.extend(plan.and_then(Plan::missing_implants).map(|missing| format!("Implants: {missing}.")));
    if stages.validation.indices.is_empty() {
        warnings.push(
            "No samples were held out, so that nothing but the training data says which epoch is best."
                .into(),
        );
    }
    let own_validation = stages.config.validation.as_ref();
    if !stages.config.tune.reinit && own_validation.is_none() && !stages.validation.indices.is_empty() {
        notes.push(
            "The held-out samples are part of the training data. Where the original was trained on them too, its figures there \
             are better than on data that it has not seen, and choices between models lean towards what it remembers. Test data tell; \
             --validation-data makes choices on other data."
                .into(),
        );
    }
    if let Some(own) = own_validation
        && own.fingerprint == stages.config.data.fingerprint
    {
        warnings
            .push("The held-out data are the training data: choices lean towards what is remembered.".into());
    }
    if let (Some(own), Some(test)) = (own_validation, &stages.config.test)
        && own.fingerprint == test.fingerprint
    {
        warnings.push(
            "The held-out data are the test data: choices were made on them, so that figures there are better than on other data."
                .into(),
        );
    }
    if let Some(test) = &stages.config.test
        && test.fingerprint == stages.config.data.fingerprint
    {
        warnings.push(
            "The test data are the training data: what is measured on them says nothing of other data."
                .into(),
        );
    }
    let steps_and_choice = stages.find(|record| match record {
        Record::Tuned { chosen, optimizer_steps, .. } => Some((optimizer_steps, chosen)),
        _ => None,
    });
    if let Some((1.., 0)) = steps_and_choice {
        warnings.push(
            "Tuning has not helped: no epoch was better on the held-out samples than the model before, which is the result. A \
             lower learning rate, more epochs or more samples may."
                .into(),
        );
    }
    let checked = |what: &str, difference: Option<f64>| match difference {
        Some(difference) => format!(
            "{what} was run in ONNX Runtime before it got its name; it differs from what the interpreter says by \
             {difference:.0e} of the largest output."
        ),
        None => format!("{what} was not checked in ONNX Runtime (--no-check)."),
    };
    let mut tried = Vec::new();
    for record in stages.log.stages::<Record>() {
        match record {
            Record::Pruned { exact, left_alone, difference, notes: own, .. } => {
                notes.extend(own);
                if !exact {
                    warnings.push(
                        "Groups were pruned whose removal changes what the others compute (--allow-inexact)."
                            .into(),
                    );
                }
                if let Some((groups, reason)) = left_alone {
                    let (groups, them) = match groups {
                        1 => ("1 group was".to_owned(), "it"),
                        n => (format!("{} groups were", count(n)), "them"),
                    };
                    notes.push(format!(
                        "{groups} left alone, as pruning is not exact there ({reason}); --allow-inexact prunes {them}."
                    ));
                }
                let list = if difference.is_some() { &mut notes } else { &mut warnings };
                list.push(checked("The pruned model", difference));
            }
            Record::Measured { notes: own, .. } => notes.extend(own),
            Record::Tried(trial) => tried.push(trial),
            Record::Compensated { layers: [fitted, layers], samples, notes: own, difference, .. } => {
                notes.push(format!(
                    "{fitted} of {layers} layers were fitted to what the original makes of {samples} training samples, before tuning."
                ));
                notes.extend(own);
                let list = if difference.is_some() { &mut notes } else { &mut warnings };
                list.push(checked("The compensated model", difference));
            }
            Record::Tuned { notes: own, difference, .. } => {
                notes.extend(own);
                let list = if difference.is_some() { &mut notes } else { &mut warnings };
                list.push(checked("The result", difference));
            }
            _ => {}
        }
    }
    notes.extend(drop_held(&tried, plan));
    if let Some(units) = plan.and_then(|plan| plan.lossless) {
        notes.push(format!(
            "{units} units were provably dead and went first (--lossless): without them the model computes what it computed."
        ));
    }
    // Two stages may tell the same.
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let note = |weight| move |text| Note { weight, text };
    let warnings = warnings.into_iter().map(note(NoteWeight::Warning));
    warnings.chain(notes.into_iter().map(note(NoteWeight::Note))).collect()
}

/// How a limit on the drop of the metric was held.
fn drop_held(tried: &[Trial], plan: Option<&Plan>) -> Option<String> {
    let plan = plan?;
    let most = plan.asked.max_drop?;
    let asked = |trial: &&Trial| {
        trial.keep.iter().map(ToString::to_string).eq(plan.asked.keep.iter().cloned()) && trial.holds
    };
    let chosen = tried.iter().rfind(asked)?;
    Some(format!(
        "Of {} smaller models that were tried the smallest was chosen that loses at most {most} points of the {} before tuning: it loses \
         {:.2} on {} held-out samples.",
        tried.len(),
        metric(&chosen.scores),
        chosen.drop?,
        chosen.scores.samples
    ))
}

/// That the result is slower than a limit on latency, as measured.
fn missed_latency(stages: &Stages, plan: Option<&Plan>) -> Option<String> {
    let settings = stages.config.plan.as_ref()?;
    // Beside a limit on the drop it says how fast a model needs not become.
    let limit = settings.keep.iter().find(|limit| limit.resource == Resource::Latency)?;
    if settings.max_drop.is_some() {
        return None;
    }
    let job = stages.job;
    // The plan was made for this one.
    let planned = batches(job.graph, &job.settings.latency.batches, &job.sizes).first().copied();
    let timed = stages.find(|record| match record {
        Record::Timed { batch, original, result, .. } if Some(batch) == planned => {
            Some((batch, original.median_ms, result.median_ms))
        }
        _ => None,
    });
    missed(limit, timed, plan.and_then(Plan::beyond_latency))
}

/// The same by the batch size and the milliseconds of the original and the result, or else by what was measured while units were chosen.
fn missed(limit: &Limit, timed: Option<(usize, f64, f64)>, planned: Option<f64>) -> Option<String> {
    let (beyond, what) = match timed {
        Some((batch, original, result)) => {
            let allowed = limit.allowed(original);
            let text = format!(
                "the result takes {} ms at batch {batch}, where {limit} allows {} ms",
                significant(result, 3),
                significant(allowed, 3)
            );
            (result / allowed - 1.0, text)
        }
        None => (
            planned?,
            format!("the pruned model is slower than {limit} allows, as measured while units were chosen"),
        ),
    };
    (beyond > WITHIN).then(|| {
        format!(
            "The limit on latency is missed by {:.0} %: {what}. Times on this machine may vary, or smaller models may not be faster; ask for \
             less, or limit macs.",
            100.0 * beyond
        )
    })
}

/// Nodes with matrices, kernels or MACs, as they were and as they are; norms follow the layers before them. What a layer is in the result
/// is all that now makes what it made: the node itself, implants, and what puts both together.
fn layers(
    original: &Graph,
    result: &Graph,
    sizes: &Bindings,
    units: &BTreeMap<NodeId, LayerUnits>,
) -> Vec<Layer> {
    let (before, after) = (original.params_by_node(), result.params_by_node());
    let names: BTreeSet<&str> = original.values.values().map(|value| value.name.as_str()).collect();
    let made: BTreeMap<&str, ValueId> =
        result.values.iter().map(|(id, value)| (value.name.as_str(), id)).collect();
    let channels = |graph: &Graph, op: &dyn Op, value: Option<ValueId>| {
        let shape = value.and_then(|value| graph.values[value].fact.shape.as_ref());
        let size = shape.and_then(|shape| shape.get(op.channel_axis(shape.len()))?.bind(sizes).known());
        size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    };
    let sums = |graph: &Graph, of: &BTreeMap<NodeId, usize>, nodes: &[NodeId]| {
        let parameters: usize = nodes.iter().filter_map(|id| of.get(id)).sum();
        let macs = nodes.iter().fold(Dim::from(0), |sum, &id| sum + graph.macs(id));
        (parameters as u64, Count::from(&macs.bind(sizes)))
    };
    let layer = |&id: &NodeId| {
        let node = &original.nodes[id];
        let matrix =
            |input: &Option<_>| input.and_then(|v| original.tensor(v)).is_some_and(|t| t.shape().len() > 1);
        let (own, macs) = sums(original, &before, &[id]);
        if !(own > 0 && node.inputs.iter().any(matrix)) && original.macs(id).is(0) {
            return None;
        }
        let output = node.outputs.iter().flatten().next().copied();
        let new = output.and_then(|value| made.get(original.values[value].name.as_str()).copied());
        let (now, macs_now) = sums(result, &after, &new.map_or_else(Vec::new, |v| makers(result, v, &names)));
        Some(Layer {
            name: original.node_name(id),
            op: node.op.name().to_owned(),
            channels: [channels(original, &*node.op, output), channels(result, &*node.op, new)],
            parameters: [own, now],
            units: units.get(&id).cloned(),
            macs: [macs, macs_now],
        })
    };
    original.order.iter().filter_map(layer).collect()
}

/// The nodes that a value comes from, back to values of these names.
fn makers(graph: &Graph, value: ValueId, known: &BTreeSet<&str>) -> Vec<NodeId> {
    let (mut found, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        let Source::Node(id, _) = graph.values[value].source else { continue };
        if found.insert(id) {
            let inputs = graph.nodes[id].inputs.iter().flatten().copied();
            open.extend(inputs.filter(|&input| !known.contains(graph.values[input].name.as_str())));
        }
    }
    found.into_iter().collect()
}

fn training(stages: &Stages) -> Option<Training> {
    let Some(Event::Started { steps_per_epoch, .. }) = started(stages) else { return None };
    let events: Vec<Event> = stages.log.steps().collect();
    let metric = events.iter().find_map(|event| match event {
        Event::Epoch { scores: Scores { accuracy: Some(_), .. }, .. } => Some(Metric::Accuracy),
        Event::Epoch { scores: Scores { agreement: Some(_), .. }, .. } => Some(Metric::Agreement),
        Event::Epoch { scores: Scores { loss: Some(_), .. }, .. } => Some(Metric::SquaredError),
        Event::Epoch { scores, .. } => scores.divergence.map(|_| Metric::divergence(scores.outputs, false)),
        _ => None,
    });
    let metric = metric.unwrap_or(Metric::Distance);
    let value = |scores: &Scores| match metric {
        Metric::Accuracy => scores.accuracy,
        Metric::Agreement => scores.agreement,
        Metric::Loss | Metric::SquaredError => scores.loss,
        Metric::Divergence | Metric::Distance | Metric::Distances => scores.divergence,
    };
    let options = &stages.config.tune;
    let mut training = Training {
        epochs: options.epochs as u64,
        steps_per_epoch: steps_per_epoch as u64,
        metric,
        steps: Vec::new(),
        evaluations: Vec::new(),
        rollbacks: Vec::new(),
        chosen: None,
        stopped: None,
    };
    for event in &events {
        match event {
            Event::Started { .. } => {}
            Event::Step { step, loss, learning_rate, .. } => training.steps.push(TrainingStep {
                step: *step as u64,
                loss: *loss,
                learning_rate: *learning_rate,
            }),
            Event::Epoch { step, scores, raw, .. } => training.evaluations.push(TrainingEvaluation {
                step: *step as u64,
                weights: value(raw.as_ref().unwrap_or(scores)),
                averaged: raw.and_then(|_| value(scores)),
            }),
            Event::RolledBack { step, reason, .. } => {
                training.rollbacks.push(Rollback { step: *step as u64, reason: reason.clone() });
            }
            Event::Stopped { reason, .. } => training.stopped = Some(reason.clone()),
        }
    }
    if training.steps.is_empty() {
        return None;
    }
    let chosen = stages.find(|record| match record {
        Record::Tuned { chosen, .. } => Some(chosen),
        _ => None,
    });
    let state = |epoch: usize| ChosenState {
        step: (epoch * steps_per_epoch) as u64,
        averaged: options.ema.is_some(),
    };
    let chose = !stages.validation.indices.is_empty() && !training.evaluations.is_empty();
    training.chosen = chosen.filter(|_| chose).map(state);
    Some(training)
}

fn description(stages: &Stages, heads: &[Head]) -> DataDescription {
    let config = &stages.config;
    DataDescription {
        path: config.data.path.display().to_string(),
        validation_path: config.validation.as_ref().map(|own| own.path.display().to_string()),
        test_path: config.test.as_ref().map(|test| test.path.display().to_string()),
        training: stages.training.len() as u64,
        validation: stages.validation.indices.len() as u64,
        test: config.test.as_ref().map(|test| test.samples as u64),
        classes: class_names(stages, heads),
        preprocessing: lines(&config.reading.preprocess),
        augmentation: lines(&config.tune.augment),
    }
}

/// Names of the classes, or their numbers; of labels that hold or not 0 and 1.
fn class_names(stages: &Stages, heads: &[Head]) -> Vec<String> {
    let names = stages.data.class_names();
    let labelled = heads.first().filter(|head| head.labelled && names.is_empty());
    match labelled.map(|head| head.label_kind(stages.job.graph)) {
        Some(LabelKind::Classes(classes)) => {
            (0..classes.unwrap_or(0)).map(|class| class.to_string()).collect()
        }
        Some(LabelKind::Flags) => vec!["0".into(), "1".into()],
        Some(LabelKind::Numbers) | None => names.to_vec(),
    }
}

/// What a table of settings says, a line each.
fn lines(settings: &impl serde::Serialize) -> Vec<String> {
    settings_table(settings).iter().map(|(key, value)| format!("{key} = {value}")).collect()
}

fn seeds(stages: &Stages) -> BTreeMap<String, u64> {
    let tune = &stages.config.tune;
    let mut seeds = BTreeMap::from([("training".to_owned(), tune.seed)]);
    if stages.config.validation.is_none() {
        seeds.insert("choice of the held-out samples".to_owned(), tune.validation_seed);
    }
    seeds.extend(stages.config.plan.iter().map(|plan| ("plan".to_owned(), plan.seed)));
    seeds
}

fn files(stages: &Stages, models: &Models, result: &Graph) -> Vec<FileHash> {
    let config = &stages.config;
    let file = |role: &str, path: String, hash: String| FileHash { role: role.into(), path, hash };
    let path = |path: &std::path::Path| path.display().to_string();
    let mut files = vec![file("model", path(&config.model.path), config.model.hash.clone())];
    files.extend(config.teacher.iter().map(|m| file("teacher", path(&m.path), m.hash.clone())));
    files.extend(config.evidence.iter().map(|f| file("evidence", path(&f.path), f.fingerprint.clone())));
    files.push(file("training data", path(&config.data.path), config.data.fingerprint.clone()));
    files.extend(
        config.validation.iter().map(|d| file("held-out data", path(&d.path), d.fingerprint.clone())),
    );
    files.extend(config.test.iter().map(|d| file("test data", path(&d.path), d.fingerprint.clone())));
    if let (Some(_), Some(pruned)) = (&config.plan, &models.pruned) {
        files.push(file("pruned model", run::PRUNED.into(), pruned.hash()));
    }
    files.push(file("result", run::MODEL.into(), result.hash()));
    files
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

    use super::*;

    #[test]
    fn channels_of_convolutions_are_not_the_width_of_the_picture() {
        let weight = Tensor::from_slice(vec![5, 3, 3, 3], &[1u8; 135]).unwrap();
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Uint8, &["1", "3", "8", "9"])
            .constant("w", &weight)
            .node("ConvInteger", &["x", "w"], &["y"])
            .output("y");
        let graph = Graph::from_model(model.build().unwrap()).unwrap();
        let layers = layers(&graph, &graph, &Bindings::new(), &BTreeMap::new());
        assert_eq!(layers.iter().map(|layer| layer.channels).collect::<Vec<_>>(), [[5, 5]]);
    }

    #[test]
    fn a_limit_on_latency_that_is_missed_by_more_than_a_twentieth_is_told() {
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        let share = limit("latency=0.5");
        // 5.2 of 10 ms are 4 % too many, 5.5 ms 10 %.
        assert_eq!(missed(&share, Some((1, 10.0, 5.2)), None), None);
        let text = missed(&share, Some((1, 10.0, 5.5)), None).unwrap();
        assert!(text.contains(
            "missed by 10 %: the result takes 5.50 ms at batch 1, where latency=0.5 allows 5.00 ms"
        ));
        let text = missed(&limit("latency=3ms"), Some((32, 10.0, 4.5)), Some(0.0)).unwrap();
        assert!(text.contains("missed by 50 %") && text.contains("allows 3.00 ms"), "{text}");
        // Without a measurement of the result that of the plan counts.
        assert!(missed(&share, None, Some(0.2)).unwrap().contains("missed by 20 %"));
        assert_eq!(missed(&share, None, Some(0.03)), None);
        assert_eq!(missed(&share, None, None), None);
    }
}
