//! Evidence held against the truth: units and sets of units are removed, and what that changes is compared with what was predicted.
//!
//! A removed unit is zeroed where it is consumed, which is what the smaller model computes (`secateurs_graph::surgery`).

use std::collections::HashSet;
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Remaining};
use secateurs_graph::session::{Mask, Session, SessionOptions};
use secateurs_graph::surgery::Consumed;
use secateurs_torch::tch::{self, Tensor};
use serde::Serialize;

use super::error::EvidenceError;
use super::rank::spearman;
use super::{Evidence, Score};
use crate::data::Dataset;
use crate::resizable::coupling;
use crate::rng::Rng;
use crate::run::DataIdentity;
use crate::tune::{Head, heads, inputs};

/// How evidence is verified.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Single units that are removed, spread evenly over the ranking.
    pub units: usize,
    /// Random sets of a group that are removed, and as many of the whole net.
    pub sets: usize,
    /// The smallest and the largest share of a group or the net in a set.
    pub shares: [f64; 2],
    /// The groups whose units are removed; all where there are none.
    pub groups: Option<Vec<usize>>,
    /// At most so many samples.
    pub samples: usize,
    /// Whether they are those that were measured, or others.
    pub same_samples: bool,
    /// Samples in a batch.
    pub batch_size: usize,
    /// Seed of the choice of samples and sets.
    pub seed: u64,
    /// How the model is run.
    pub session: SessionOptions,
}

/// What is removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One unit.
    Unit,
    /// Several units of a group.
    Group,
    /// Units of all groups.
    Net,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Unit, Kind::Group, Kind::Net];

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Unit => "single units",
            Kind::Group => "sets of a layer",
            Kind::Net => "sets of the net",
        }
    }
}

/// A removal, as predicted and as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Removal {
    /// What is removed together.
    pub kind: Kind,
    /// The units, numbered through all groups.
    pub units: Vec<usize>,
    /// The change of the outputs that was predicted.
    pub predicted: f64,
    /// The change of the outputs that came of it.
    pub change: f64,
    /// The change of the labels' loss that was predicted; `None` without labels.
    pub predicted_loss: Option<f64>,
    /// The change of the labels' loss that came of it.
    pub loss_change: Option<f64>,
}

/// How well a score ranks removals.
#[derive(Debug, Clone, Serialize)]
pub struct Correlation {
    /// The score; the sum over a set for all but `quadratic` and `loss`, which predict sets.
    pub score: String,
    /// What was removed.
    pub kind: Kind,
    /// How many removals.
    pub removals: usize,
    /// Spearman's correlation with the change of the outputs.
    pub outputs: f64,
    /// With the change of the labels' loss.
    pub loss: Option<f64>,
}

/// What verification found.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Samples that were run.
    pub samples: usize,
    /// Whether they are those that were measured.
    pub same_samples: bool,
    /// The mean over samples of the highest probability of the first output; `None` where it holds no class scores.
    pub mean_p_max: Option<f64>,
    /// The removals.
    pub removals: Vec<Removal>,
    /// Rank correlations.
    pub correlations: Vec<Correlation>,
}

/// Removes units and sets of units, one after another, and compares. `baselines` are other scores of all units, by name; `progress` is
/// told the samples done.
pub fn verify(
    evidence: &Evidence,
    graph: &Arc<Graph>,
    data: &Arc<Dataset>,
    options: &VerifyOptions,
    baselines: &[(&str, Vec<f64>)],
    progress: &mut dyn FnMut(usize),
) -> Result<Verification, EvidenceError> {
    let settings = &evidence.header.settings;
    let coupling = coupling(graph, settings.split, &settings.resizable)?;
    evidence.check(graph, &coupling, settings.split, &settings.resizable)?;
    let samples = samples(evidence, data, options)?;
    let heads = heads(graph, data, &settings.outputs, settings.objective)?;
    let mut session = Session::new(graph.clone(), SessionOptions { wide: true, ..options.session })?;
    let consumed = coupling.consumed(graph)?;
    session.unfold(consumed.iter().map(|at| at.node));
    let numbering = Numbering::new(&coupling);
    let sets = removals(evidence, &coupling, &numbering, options);
    if sets.is_empty() {
        return Err(EvidenceError::Options(
            "there is nothing to verify: no units and no sets were asked for, or none of the units that were meant can be removed exactly \
             and alone (`secateurs inspect --groups` lists them)"
                .into(),
        ));
    }
    let masks: Vec<Vec<Mask>> = sets.iter().map(|(_, units)| masks(&consumed, &numbering, units)).collect();
    let mut truth = Truth { change: vec![0.0; sets.len()], loss: vec![0.0; sets.len()], p_max: 0.0 };
    let labelled = evidence.header.labels && heads[0].labelled;
    for batch in data.counted(samples.clone(), options.batch_size) {
        let (batch, counted) = batch?;
        tch::no_grad(|| -> Result<(), EvidenceError> {
            let inputs = inputs(&session, &batch)?;
            let first = |outputs: &[Tensor], head: &Head| outputs[head.index].f_narrow(0, 0, counted as i64);
            let reference = session.forward_masked(&inputs, &[])?.outputs;
            let labels = batch.labels.as_ref().filter(|_| labelled);
            let labels = heads[0].labels(graph, &first(&reference, &heads[0])?, labels, data)?;
            let loss = |outputs: &[Tensor]| -> Result<f64, EvidenceError> {
                let Some(labels) = &labels else { return Ok(0.0) };
                let losses = heads[0].label_losses(&first(outputs, &heads[0])?, labels, 0.0)?;
                Ok(heads[0].weight * losses.f_sum(tch::Kind::Double)?.f_double_value(&[])?)
            };
            if let Some(logs) = heads[0].log_probabilities(&first(&reference, &heads[0])?, 1.0)? {
                let top = logs.f_amax(-1i64, false)?.f_exp()?.f_mean(None)?;
                truth.p_max += top.f_double_value(&[])? * counted as f64;
            }
            let before = loss(&reference)?;
            for (number, masks) in masks.iter().enumerate() {
                let outputs = session.forward_masked(&inputs, masks)?.outputs;
                for head in &heads {
                    let change = head.closeness(&first(&outputs, head)?, &first(&reference, head)?)?;
                    truth.change[number] += change.f_double_value(&[])? * counted as f64;
                }
                truth.loss[number] += loss(&outputs)? - before;
            }
            Ok(())
        })?;
        progress(counted);
    }
    Ok(compared(evidence, sets, &truth, samples.len(), labelled, options, baselines))
}

/// What removals did, added up over samples.
struct Truth {
    change: Vec<f64>,
    loss: Vec<f64>,
    p_max: f64,
}

/// Units numbered through all groups.
struct Numbering {
    /// The first unit of every group.
    first: Vec<usize>,
    /// The group of every unit.
    group_of: Vec<usize>,
}

impl Numbering {
    fn new(coupling: &Coupling) -> Numbering {
        let mut numbering = Numbering { first: Vec::new(), group_of: Vec::new() };
        for (number, group) in coupling.groups.iter().enumerate() {
            numbering.first.push(numbering.group_of.len());
            numbering.group_of.extend(std::iter::repeat_n(number, group.units.len()));
        }
        numbering
    }
}

/// The samples to verify on.
fn samples(
    evidence: &Evidence,
    data: &Arc<Dataset>,
    options: &VerifyOptions,
) -> Result<Vec<usize>, EvidenceError> {
    let fingerprint = DataIdentity::of(data)?.fingerprint;
    let measured = evidence.header.data.iter().find(|own| own.fingerprint == fingerprint);
    let ranges = measured.map(|own| &own.samples[..]).unwrap_or_default();
    let is_measured = |sample: &usize| {
        let after = ranges.partition_point(|range| range[1] <= *sample);
        ranges.get(after).is_some_and(|range| range[0] <= *sample)
    };
    let mut samples: Vec<usize> =
        (0..data.len()).filter(|sample| is_measured(sample) == options.same_samples).collect();
    Rng::new(options.seed, "verification", 0, 0).shuffle(&mut samples);
    samples.truncate(options.samples);
    match samples.is_empty() {
        false => Ok(samples),
        true => Err(EvidenceError::Options(match options.same_samples {
            true => "the evidence was measured on other data, so that no sample is the same".into(),
            false => "all samples of the data were measured, and none is left to verify on; measure fewer (--samples), or give \
                      other data"
                .into(),
        })),
    }
}

/// What is removed: single units over the whole ranking, then random sets.
fn removals(
    evidence: &Evidence,
    coupling: &Coupling,
    numbering: &Numbering,
    options: &VerifyOptions,
) -> Vec<(Kind, Vec<usize>)> {
    let scores = evidence.score(Score::Quadratic).map(|scored| scored.values).unwrap_or_default();
    // What goes inexactly is not what the smaller model computes.
    let eligible = |g: &usize| {
        coupling.groups[*g].inexact.is_none()
            && options.groups.as_ref().is_none_or(|groups| groups.contains(g))
    };
    let mut ranked: Vec<usize> =
        (0..scores.len()).filter(|&unit| eligible(&numbering.group_of[unit])).collect();
    ranked.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let alone: Vec<usize> =
        ranked.iter().copied().filter(|&unit| removable(coupling, numbering, [unit]).len() == 1).collect();
    let count = options.units.min(alone.len());
    let spread = (0..count).map(|i| alone[(2 * i + 1) * alone.len() / (2 * count)]);
    let mut all: Vec<(Kind, Vec<usize>)> = spread.map(|unit| (Kind::Unit, vec![unit])).collect();
    let wide: Vec<usize> =
        (0..coupling.groups.len()).filter(|g| eligible(g) && coupling.groups[*g].units.len() >= 8).collect();
    for (kind, purpose) in [(Kind::Group, "layer sets"), (Kind::Net, "net sets")] {
        for set in 0..options.sets {
            let mut rng = Rng::new(options.seed, purpose, set as u64, 0);
            let mut units: Vec<usize> = match kind {
                Kind::Net => ranked.clone(),
                _ if wide.is_empty() => break,
                _ => {
                    let group = wide[rng.below(wide.len())];
                    let first = numbering.first[group];
                    (first..first + coupling.groups[group].units.len()).collect()
                }
            };
            let [low, high] = options.shares;
            let share = low + (high - low) * rng.uniform();
            rng.shuffle(&mut units);
            units.truncate(((units.len() as f64 * share).round() as usize).max(1));
            let mut units = removable(coupling, numbering, units);
            units.sort_unstable();
            if !units.is_empty() {
                all.push((kind, units));
            }
        }
    }
    all
}

/// Those of some units that can go together: no axis loses its last index.
fn removable(
    coupling: &Coupling,
    numbering: &Numbering,
    units: impl IntoIterator<Item = usize>,
) -> Vec<usize> {
    let mut remaining = Remaining::new(coupling);
    let goes = |unit: &usize| {
        let group = numbering.group_of[*unit];
        remaining.remove(group, unit - numbering.first[group])
    };
    units.into_iter().filter(goes).collect()
}

fn masks(consumed: &[Consumed], numbering: &Numbering, units: &[usize]) -> Vec<Mask> {
    let gone: HashSet<usize> = units.iter().copied().collect();
    let mask = |at: &Consumed| Mask {
        node: at.node,
        input: at.input,
        axis: at.axis,
        indices: at.removed(|group, unit| gone.contains(&(numbering.first[group] + unit))),
    };
    consumed.iter().map(mask).filter(|mask| !mask.indices.is_empty()).collect()
}

fn compared(
    evidence: &Evidence,
    sets: Vec<(Kind, Vec<usize>)>,
    truth: &Truth,
    samples: usize,
    labelled: bool,
    options: &VerifyOptions,
    baselines: &[(&str, Vec<f64>)],
) -> Verification {
    let n = samples as f64;
    let first_order = evidence.score(Score::FirstOrder).filter(|_| labelled);
    let removal = |(number, (kind, units)): (usize, (Kind, Vec<usize>))| {
        let (predicted, _) = evidence.predicted(&units);
        let linear =
            first_order.as_ref().map(|scored| units.iter().map(|&unit| scored.values[unit]).sum::<f64>());
        Removal {
            kind,
            predicted,
            change: truth.change[number] / n,
            predicted_loss: linear.map(|linear| linear + predicted),
            loss_change: labelled.then(|| truth.loss[number] / n),
            units,
        }
    };
    let removals: Vec<Removal> = sets.into_iter().enumerate().map(removal).collect();
    // Sums of single scores, for baselines.
    let sum = |values: &[f64]| -> Vec<f64> {
        removals.iter().map(|removal| removal.units.iter().map(|&unit| values[unit]).sum()).collect()
    };
    let mut scores: Vec<(String, Vec<f64>)> =
        vec![("quadratic".into(), removals.iter().map(|removal| removal.predicted).collect())];
    if labelled {
        let losses = removals.iter().map(|removal| removal.predicted_loss.unwrap_or(f64::NAN));
        scores.push(("loss".into(), losses.collect()));
    }
    for score in [Score::Quadratic, Score::HapTrace, Score::Gradient, Score::Taylor, Score::Activation] {
        let name = if score == Score::Quadratic { "quadratic, summed" } else { score.name() };
        scores.extend(evidence.score(score).map(|scored| (name.to_owned(), sum(&scored.values))));
    }
    scores.extend(baselines.iter().map(|(name, values)| ((*name).to_owned(), sum(values))));
    let mut correlations = Vec::new();
    for kind in Kind::ALL {
        let of_kind: Vec<usize> = (0..removals.len()).filter(|&i| removals[i].kind == kind).collect();
        if of_kind.len() < 3 {
            continue;
        }
        let pick = |values: &[f64]| of_kind.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        let change = pick(&removals.iter().map(|removal| removal.change).collect::<Vec<_>>());
        let loss =
            pick(&removals.iter().map(|removal| removal.loss_change.unwrap_or(f64::NAN)).collect::<Vec<_>>());
        for (name, values) in &scores {
            // One unit has no sum.
            if kind == Kind::Unit && name == "quadratic, summed" {
                continue;
            }
            correlations.push(Correlation {
                score: name.clone(),
                kind,
                removals: of_kind.len(),
                outputs: spearman(&pick(values), &change),
                loss: labelled.then(|| spearman(&pick(values), &loss)),
            });
        }
    }
    let mean_p_max = (truth.p_max > 0.0).then(|| truth.p_max / n);
    Verification { samples, same_samples: options.same_samples, mean_p_max, removals, correlations }
}
