//! How good a model is on some samples: against labels, and against the original.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions, to_device};
use secateurs_torch::tch::{self, Kind, TchError, Tensor};
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::loss::Head;
use super::options::Objective;
use crate::data::{Batch, Dataset};

const BATCH_SIZE: usize = 128;

/// How good a model is on some samples. What cannot be told is left out: without labels accuracy and loss, without an original
/// agreement and divergence.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Samples seen.
    pub samples: usize,
    /// Samples whose label has the highest score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<u64>,
    /// Their share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The standard error of the accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_standard_error: Option<f64>,
    /// Samples that are right here and wrong by the original, and the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gained_and_lost: Option<[u64; 2]>,
    /// The mean cross-entropy with the labels, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The share of rows (samples, tokens, pixels) whose highest score is that of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// The mean KL divergence from the original's probabilities in nats, or for outputs that are no class scores the squared error
    /// over the variance; added up over the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
}

impl Scores {
    /// The change of the accuracy from the original's and its standard error, from the samples on which only one of them is right
    /// (as McNemar 1947 compares them): the two are measured on the same samples, so that their errors are not independent.
    pub fn accuracy_change(&self) -> Option<(f64, f64)> {
        let [gained, lost] = self.gained_and_lost?.map(|count| count as f64);
        let n = self.samples.max(1) as f64;
        let change = (gained - lost) / n;
        Some((change, ((gained + lost) / n - change * change).max(0.0).sqrt() / n.sqrt()))
    }

    /// Whether loss and divergence, where they are known, are numbers.
    pub(super) fn are_finite(&self) -> bool {
        [self.loss, self.divergence].into_iter().flatten().all(f64::is_finite)
    }

    /// Whether these scores are better than others: by accuracy, else by agreement, and of equal ones by the loss or divergence.
    pub fn is_better_than(&self, other: &Scores) -> bool {
        let rank = |s: &Scores| {
            let share = s.accuracy.or(s.agreement).unwrap_or(0.0);
            let distance = s.loss.or(s.divergence).unwrap_or(f64::INFINITY);
            (share, if distance.is_nan() { f64::NEG_INFINITY } else { -distance })
        };
        rank(self) > rank(other)
    }
}

/// How scores are taken.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions<'a> {
    /// The output with the scores; all outputs that are floats by default, of which the first is the one that labels are for.
    pub output: Option<&'a str>,
    /// What outputs are taken for.
    pub objective: Objective,
    /// How models are run.
    pub session: SessionOptions,
}

/// Runs a graph, and the original if it is given, on some samples of a dataset. `progress` is told the samples done, batch by
/// batch.
pub fn scores(
    graph: &Arc<Graph>,
    original: Option<&Arc<Graph>>,
    data: &Arc<Dataset>,
    samples: &[usize],
    options: &ScoreOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<Scores, TuneError> {
    let session = Session::new(graph.clone(), options.session)?;
    let original = original.map(|graph| Session::new(graph.clone(), options.session)).transpose()?;
    let heads = heads(graph, data, options.output, options.objective)?;
    evaluate(&session, original.as_ref(), &heads, data, samples, BATCH_SIZE, progress)
}

/// The outputs that training and scores look at: the one that is named, or all; the first is the one that labels are for.
pub(crate) fn heads(
    graph: &Graph,
    data: &Dataset,
    output: Option<&str>,
    objective: Objective,
) -> Result<Vec<Head>, TuneError> {
    let name = |i: usize| graph.values[graph.outputs[i]].name.as_str();
    let labelled = |first: bool| first && data.has_labels();
    match output {
        Some(wanted) => match (0..graph.outputs.len()).find(|&i| name(i) == wanted) {
            Some(index) => Ok(vec![Head::of(graph, index, labelled(true), objective)]),
            None => {
                let known = (0..graph.outputs.len()).map(name).collect::<Vec<_>>().join(", ");
                Err(TuneError::NoOutput { wanted: wanted.into(), known })
            }
        },
        None => {
            let float = |i: &usize| {
                graph.values[graph.outputs[*i]]
                    .fact
                    .element_type
                    .is_none_or(|element_type| element_type.is_float())
            };
            let floats: Vec<usize> = (0..graph.outputs.len()).filter(float).collect();
            match floats.is_empty() {
                true => Err(TuneError::NoOutput { wanted: "(of floats)".into(), known: "none".into() }),
                false => {
                    let head = |(n, &i): (usize, &usize)| Head::of(graph, i, labelled(n == 0), objective);
                    Ok(floats.iter().enumerate().map(head).collect())
                }
            }
        }
    }
}

/// The inputs of a batch on the session's device.
pub(crate) fn inputs(session: &Session, batch: &Batch) -> Result<Vec<Tensor>, TuneError> {
    let device = session.options().device;
    let tensors = batch.inputs.iter().map(|(_, tensor)| to_device(tensor, device, session.floats()));
    tensors.collect::<Result<_, _>>().map_err(|e| secateurs_graph::GraphError::Run(e.to_string()).into())
}

/// Whether there is neither an infinite number nor NaN in a tensor.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool, TchError> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

/// Refuses a batch whose inputs, or outputs of the original, are infinite or no numbers, naming the sample.
pub(super) fn check_finite(
    data: &Dataset,
    samples: &[usize],
    session: &Session,
    inputs: &[Tensor],
    heads: &[Head],
    original: Option<(&Graph, &[Tensor])>,
) -> Result<(), TuneError> {
    let bad = |tensor: &Tensor| -> Result<Option<usize>, TuneError> {
        if !tensor.f_is_floating_point()? || all_finite(tensor)? {
            return Ok(None);
        }
        for (row, &sample) in samples.iter().enumerate() {
            if row < tensor.size()[0] as usize && !all_finite(&tensor.f_select(0, row as i64)?)? {
                return Ok(Some(sample));
            }
        }
        Ok(samples.first().copied())
    };
    let name = |graph: &Graph, value| graph.values[value].name.clone();
    for (tensor, &value) in inputs.iter().zip(&session.graph().inputs) {
        if let Some(sample) = bad(tensor)? {
            let input = name(session.graph(), value);
            return Err(TuneError::Sample { data: data.path().to_owned(), sample, input });
        }
    }
    let Some((graph, outputs)) = original else { return Ok(()) };
    for head in heads {
        if let Some(sample) = bad(&outputs[head.index])? {
            return Err(TuneError::Teacher {
                model: graph.source.file().into(),
                output: name(graph, graph.outputs[head.index]),
                data: data.path().to_owned(),
                sample,
            });
        }
    }
    Ok(())
}

/// Scores of a session that is set to inference.
pub(super) fn evaluate(
    session: &Session,
    original: Option<&Session>,
    heads: &[Head],
    data: &Arc<Dataset>,
    samples: &[usize],
    batch_size: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Scores, TuneError> {
    let mut sums = Sums::default();
    let batch_size = data.fixed_batch_size().unwrap_or(batch_size);
    // What is added is not counted.
    let order = data.filled(samples.to_vec());
    let mut left = samples.len();
    for batch in data.loader(order, batch_size, data.reading_threads()) {
        let batch = batch?;
        let counted = batch.indices.len().min(left);
        left -= counted;
        tch::no_grad(|| -> Result<(), TuneError> {
            let inputs = inputs(session, &batch)?;
            let outputs = session.forward(&inputs, &[])?.outputs;
            let reference = original.map(|original| original.forward(&inputs, &[])).transpose()?;
            let full = counted == batch.indices.len();
            for (number, head) in heads.iter().enumerate() {
                let first = |tensor: &Tensor| match full {
                    true => Ok(tensor.shallow_clone()),
                    false => tensor.f_narrow(0, 0, counted as i64),
                };
                let output = first(&outputs[head.index])?;
                let original = reference.as_ref().map(|run| first(&run.outputs[head.index])).transpose()?;
                if number == 0 {
                    let labels = match &batch.labels {
                        Some(labels) => {
                            Some(Tensor::f_from_slice(&labels[..counted])?.f_to_device(output.device())?)
                        }
                        None => None,
                    };
                    sums.classes(head, &output, original.as_ref(), labels.as_ref())?;
                }
                if let Some(original) = original {
                    let distance = head.distance(&output, &original, 1.0)?.f_double_value(&[])?;
                    *sums.divergence.get_or_insert(0.0) += distance * counted as f64;
                }
            }
            if !sums.scores().are_finite() {
                let original = original.zip(reference.as_ref());
                let original = original.map(|(session, run)| (&**session.graph(), &run.outputs[..]));
                check_finite(data, &batch.indices, session, &inputs, heads, original)?;
            }
            Ok(())
        })?;
        sums.samples += counted;
        progress(counted);
    }
    Ok(sums.scores())
}

#[derive(Default)]
struct Sums {
    samples: usize,
    correct: Option<u64>,
    gained_and_lost: Option<[u64; 2]>,
    loss: Option<f64>,
    agreeing: Option<u64>,
    rows: u64,
    divergence: Option<f64>,
}

impl Sums {
    /// What labels and the original say of the classes with the highest scores.
    fn classes(
        &mut self,
        head: &Head,
        output: &Tensor,
        original: Option<&Tensor>,
        labels: Option<&Tensor>,
    ) -> Result<(), TuneError> {
        let Some(ours) = head.classes(output)? else { return Ok(()) };
        let theirs = original.map(|original| head.classes(original)).transpose()?.flatten();
        let count =
            |tensor: Tensor| Ok::<_, TuneError>(tensor.f_sum(Kind::Int64)?.f_int64_value(&[])? as u64);
        if let Some(theirs) = &theirs {
            *self.agreeing.get_or_insert(0) += count(ours.f_eq_tensor(theirs)?)?;
            self.rows += ours.numel() as u64;
        }
        let Some(labels) = labels else { return Ok(()) };
        if ours.size() != labels.size() {
            return Err(TuneError::Labels { shape: output.size(), samples: labels.numel() });
        }
        let right = ours.f_eq_tensor(labels)?;
        *self.correct.get_or_insert(0) += count(right.shallow_clone())?;
        if let Some(theirs) = theirs {
            let theirs = theirs.f_eq_tensor(labels)?;
            let [gained, lost] = self.gained_and_lost.get_or_insert_default();
            *gained += count(right.f_logical_and(&theirs.f_logical_not()?)?)?;
            *lost += count(theirs.f_logical_and(&right.f_logical_not()?)?)?;
        }
        if let Some(loss) = head.cross_entropy(output, labels, 0.0)? {
            *self.loss.get_or_insert(0.0) += loss.f_double_value(&[])? * labels.numel() as f64;
        }
        Ok(())
    }

    fn scores(&self) -> Scores {
        let n = self.samples.max(1) as f64;
        let accuracy = self.correct.map(|correct| correct as f64 / n);
        Scores {
            samples: self.samples,
            correct: self.correct,
            accuracy,
            accuracy_standard_error: accuracy.map(|share| (share * (1.0 - share) / n).sqrt()),
            gained_and_lost: self.gained_and_lost,
            loss: self.loss.map(|sum| sum / n),
            agreement: self.agreeing.map(|count| count as f64 / self.rows.max(1) as f64),
            divergence: self.divergence.map(|sum| sum / n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_on_the_samples_where_models_differ() {
        let scores = Scores { samples: 100, gained_and_lost: Some([2, 6]), ..Scores::default() };
        let (change, error) = scores.accuracy_change().unwrap();
        assert_eq!(change, -0.04);
        // Of 100 differences two are 1, six −1 and the others 0.
        let variance: f64 = (2.0 * 1.04 * 1.04 + 6.0 * 0.96 * 0.96 + 92.0 * 0.04 * 0.04) / 100.0;
        assert!((error - (variance / 100.0).sqrt()).abs() < 1e-12, "{error}");
        assert_eq!(Scores::default().accuracy_change(), None);
    }

    #[test]
    fn the_better_scores_win() {
        let scores = |accuracy, loss| Scores { accuracy, loss: Some(loss), ..Scores::default() };
        assert!(scores(Some(0.9), 1.0).is_better_than(&scores(Some(0.8), 0.1)));
        assert!(scores(Some(0.9), 0.1).is_better_than(&scores(Some(0.9), 0.2)));
        assert!(!scores(Some(0.9), 0.1).is_better_than(&scores(Some(0.9), 0.1)));
        assert!(scores(None, 0.1).is_better_than(&scores(None, f64::NAN)));
        let agreement = |agreement| Scores { agreement: Some(agreement), ..Scores::default() };
        assert!(agreement(0.5).is_better_than(&agreement(0.4)));
    }
}
