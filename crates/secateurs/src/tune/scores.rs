//! How good a model is on some samples: against labels, and against the original.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::{Run, Session, SessionOptions, Tap, to_device};
use secateurs_torch::tch::{self, Kind, TchError, Tensor};
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::loss::{Head, Meaning, counted, spread};
use super::options::Objective;
use super::outputs::{WeightedOutput, heads};
use crate::data::{Batch, Dataset};
use crate::metrics::Share;

const BATCH_SIZE: usize = 128;

/// How good a model is on some samples. What cannot be told is left out: without labels accuracy and loss, without an original
/// agreement and divergence.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Samples seen.
    pub samples: usize,
    /// Labels that are met: one a sample, or those of rows (tokens, pixels) and flags that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<u64>,
    /// Their share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The standard error of the accuracy, over samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_standard_error: Option<f64>,
    /// Labels that are met here and not by the original, and the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gained_and_lost: Option<[u64; 2]>,
    /// The change of the accuracy from the original's and its standard error, from the labels that only one of them meets (as McNemar
    /// 1947 compares them): the two are measured on the same samples, so that their errors are not independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_change: Option<[f64; 2]>,
    /// The mean loss of the labels: cross-entropy in nats, or the mean squared error of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The share of rows (samples, tokens that are no padding, pixels) whose highest score is that of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// The mean over rows of the KL divergence from the original's probabilities in nats, or for outputs that are no class scores the
    /// squared error over the variance; added up over the outputs, by their weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// The same in what evidence predicts: squared errors as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    /// How many outputs are compared with the original's.
    #[serde(default)]
    pub outputs: usize,
}

impl Scores {
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
    /// The outputs that are looked at, the one that labels are for first; all of floats where none is named.
    pub outputs: &'a [WeightedOutput],
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
    let heads = heads(graph, data, options.outputs, options.objective)?;
    evaluate(&session, original.as_ref(), &heads, data, samples, BATCH_SIZE, progress)
}

/// The inputs of a batch on the session's device.
pub(crate) fn inputs(session: &Session, batch: &Batch) -> Result<Vec<Tensor>, TuneError> {
    let device = session.options().device;
    let tensors = batch.inputs.iter().map(|(_, tensor)| to_device(tensor, device, session.floats()));
    tensors.collect::<Result<_, _>>().map_err(|e| secateurs_graph::GraphError::Run(e.to_string()).into())
}

/// What a model computes of a batch, read in the types of its own inputs: what is trained in 32 bits may have a teacher in 16.
pub(super) fn forward(session: &Session, batch: &Batch, taps: &[Tap]) -> Result<Run, TuneError> {
    Ok(session.forward(&inputs(session, batch)?, taps)?)
}

/// Whether there is neither an infinite number nor NaN in a tensor.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool, TchError> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

/// What is 1 for the tokens of a batch of texts and 0 for padding, `[N, length]`, where the model has an input that says it.
pub(crate) fn token_mask(data: &Dataset, batch: &Batch) -> Result<Option<Tensor>, TuneError> {
    let Some(input) = data.mask_input() else { return Ok(None) };
    let mask = &batch.inputs[input].1;
    let values = mask.to_f64_vec().map_err(|e| TuneError::Options(e.to_string()))?;
    let shape: Vec<i64> = mask.shape().iter().map(|&n| n as i64).collect();
    Ok(Some(Tensor::f_from_slice(&values)?.f_view(&shape[..])?))
}

/// The first of the samples of a batch for which there is an infinite number or NaN in a tensor.
fn bad_sample(tensor: &Tensor, samples: &[usize]) -> Result<Option<usize>, TchError> {
    if !tensor.f_is_floating_point()? || all_finite(tensor)? {
        return Ok(None);
    }
    // A single number is of no sample more than of another.
    let rows = tensor.size().first().map_or(0, |rows| *rows as usize);
    for (row, &sample) in samples.iter().enumerate().take(rows) {
        if !all_finite(&tensor.f_select(0, row as i64)?)? {
            return Ok(Some(sample));
        }
    }
    Ok(samples.first().copied())
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
    let name = |graph: &Graph, value| graph.values[value].name.clone();
    for (tensor, &value) in inputs.iter().zip(&session.graph().inputs) {
        if let Some(sample) = bad_sample(tensor, samples)? {
            let input = name(session.graph(), value);
            return Err(TuneError::Sample { data: data.path().to_owned(), sample, input });
        }
    }
    let Some((graph, outputs)) = original else { return Ok(()) };
    for head in heads {
        if let Some(sample) = bad_sample(&outputs[head.index], samples)? {
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
    let distances = original.map_or_else(Vec::new, |_| vec![Distance::default(); heads.len()]);
    let mut sums = Sums { distances, ..Sums::default() };
    for batch in data.counted(data.grouped(samples.to_vec(), usize::MAX), batch_size) {
        let (batch, counted) = batch?;
        tch::no_grad(|| -> Result<(), TuneError> {
            let inputs = inputs(session, &batch)?;
            let outputs = session.forward(&inputs, &[])?.outputs;
            let reference = original.map(|original| forward(original, &batch, &[])).transpose()?;
            let full = counted == batch.indices.len();
            let first = |tensor: &Tensor| match full {
                true => Ok(tensor.shallow_clone()),
                false => tensor.f_narrow(0, 0, counted as i64),
            };
            let mask = match original {
                Some(_) => token_mask(data, &batch)?.as_ref().map(first).transpose()?,
                None => None,
            };
            for (number, head) in heads.iter().enumerate() {
                let output = first(&outputs[head.index])?;
                let original = reference.as_ref().map(|run| first(&run.outputs[head.index])).transpose()?;
                if number == 0 {
                    let labels = head.labels(session.graph(), &output, batch.labels.as_ref(), data)?;
                    sums.classes(head, &output, original.as_ref(), labels.as_ref(), mask.as_ref())?;
                }
                if let Some(original) = original {
                    sums.distances[number].add(head, &output, &original, mask.as_ref())?;
                }
            }
            if !sums.scores()?.are_finite() {
                let original = original.zip(reference.as_ref());
                let original = original.map(|(session, run)| (&**session.graph(), &run.outputs[..]));
                check_finite(data, &batch.indices, session, &inputs, heads, original)?;
            }
            Ok(())
        })?;
        sums.samples += counted;
        progress(counted);
    }
    Ok(sums.scores()?)
}

/// How far an output is from the original's. Sums are over its numbers, whatever batch they come in.
#[derive(Default, Clone)]
struct Distance {
    numbers: f64,
    closeness: f64,
    /// Of outputs that are no class scores: the original's numbers and their squares.
    original: Option<[f64; 2]>,
}

impl Distance {
    /// `mask` is that of [`Head::tokens`].
    fn add(
        &mut self,
        head: &Head,
        output: &Tensor,
        original: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<(), TchError> {
        let [output, original] = head.without_padding([output, original], mask)?;
        let numbers = output.numel() as f64;
        self.closeness += head.closeness(&output, &original)?.f_double_value(&[])? * numbers;
        self.numbers += numbers;
        if head.meaning == Meaning::Values {
            let original = original.f_to_kind(Kind::Double)?;
            let sum = |tensor: Tensor| tensor.f_sum(None::<Kind>)?.f_double_value(&[]);
            let [first, second] = self.original.get_or_insert_default();
            *second += sum(original.f_square()?)?;
            *first += sum(original)?;
        }
        Ok(())
    }

    fn closeness(&self) -> f64 {
        self.closeness / self.numbers.max(1.0)
    }

    /// What that is over the original's variance, if it has numbers.
    fn divergence(&self) -> Result<f64, TchError> {
        let Some(sums) = self.original else { return Ok(self.closeness()) };
        let [mean, square] = sums.map(|sum| sum / self.numbers.max(1.0));
        let [variance, square] = [square - mean * mean, square].map(|x| Tensor::f_from_slice(&[x]));
        Ok(self.closeness() / spread(&variance?, &square?)?.f_double_value(&[0])?)
    }
}

#[derive(Default)]
struct Sums {
    samples: usize,
    right: Option<Share>,
    gained_and_lost: Option<[u64; 2]>,
    /// Gained less lost.
    change: Share,
    loss: Option<f64>,
    /// Samples of which a label counts.
    labelled: u64,
    agreeing: Option<u64>,
    rows: u64,
    /// Of every output, where there is an original.
    distances: Vec<Distance>,
}

impl Sums {
    /// What labels and the original say of the classes with the highest scores. `mask` is that of [`Head::tokens`].
    fn classes(
        &mut self,
        head: &Head,
        output: &Tensor,
        original: Option<&Tensor>,
        labels: Option<&Tensor>,
        mask: Option<&Tensor>,
    ) -> Result<(), TuneError> {
        let ours = head.classes(output)?;
        let theirs = original.map(|original| head.classes(original)).transpose()?.flatten();
        let count =
            |tensor: &Tensor| Ok::<_, TuneError>(tensor.f_sum(Kind::Int64)?.f_int64_value(&[])? as u64);
        if let (Some(ours), Some(theirs)) = (&ours, &theirs) {
            let equal = ours.f_eq_tensor(theirs)?;
            let equal = match head.tokens(output, mask)? {
                Some(tokens) => {
                    let all = output.size()[..2].iter().product::<i64>();
                    equal.f_view([all, -1])?.f_index_select(0, &tokens)?
                }
                None => equal,
            };
            *self.agreeing.get_or_insert(0) += count(&equal)?;
            self.rows += equal.numel() as u64;
        }
        let Some(labels) = labels else { return Ok(()) };
        let losses = head.label_losses(output, labels, 0.0)?;
        *self.loss.get_or_insert(0.0) += losses.f_sum(Kind::Double)?.f_double_value(&[])?;
        let Some(ours) = ours else {
            self.labelled += labels.size()[0] as u64;
            return Ok(());
        };
        let numbers = |tensor: &Tensor| -> Result<Vec<f64>, TchError> {
            Vec::try_from(tensor.f_to_kind(Kind::Double)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?)
        };
        // Labels that do not count are no class.
        let right = |classes: &Tensor| classes.f_view_as(labels)?.f_eq_tensor(labels);
        let of_sample = |rows: &Tensor| numbers(&rows.f_sum_dim_intlist(1i64, false, Kind::Int64)?);
        let of = numbers(&counted(labels)?)?;
        self.labelled += of.iter().filter(|of| **of > 0.0).count() as u64;
        let ours = right(&ours)?;
        self.right.get_or_insert_default().add_all(&of_sample(&ours)?, &of);
        if let Some(theirs) = theirs {
            let theirs = right(&theirs)?;
            let gained = ours.f_logical_and(&theirs.f_logical_not()?)?;
            let lost = theirs.f_logical_and(&ours.f_logical_not()?)?;
            let counts = self.gained_and_lost.get_or_insert_default();
            counts[0] += count(&gained)?;
            counts[1] += count(&lost)?;
            let change = gained.f_to_kind(Kind::Int64)?.f_sub(&lost.f_to_kind(Kind::Int64)?)?;
            self.change.add_all(&of_sample(&change)?, &of);
        }
        Ok(())
    }

    fn scores(&self) -> Result<Scores, TchError> {
        let divergence = self.distances.iter().map(Distance::divergence).sum::<Result<f64, _>>()?;
        let compared = !self.distances.is_empty();
        // Labels none of which count say nothing.
        let right = self.right.filter(|right| right.of() > 0.0);
        let gained_and_lost = self.gained_and_lost.filter(|_| right.is_some());
        Ok(Scores {
            samples: self.samples,
            correct: right.map(|right| right.count() as u64),
            accuracy: right.map(|right| right.value()),
            accuracy_standard_error: right.map(|right| right.standard_error()),
            gained_and_lost,
            accuracy_change: gained_and_lost.map(|_| [self.change.value(), self.change.standard_error()]),
            loss: self.loss.map(|sum| sum / self.labelled.max(1) as f64),
            agreement: self.agreeing.map(|count| count as f64 / self.rows.max(1) as f64),
            divergence: compared.then_some(divergence),
            change: compared.then(|| self.distances.iter().map(Distance::closeness).sum()),
            outputs: self.distances.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_that_is_no_number_is_named_also_where_a_number_is_of_all() {
        secateurs_torch::load().unwrap();
        let numbers = |numbers: &[f64]| Tensor::f_from_slice(numbers).unwrap();
        let samples = [7, 8, 9];
        assert_eq!(bad_sample(&numbers(&[1.0, 2.0, 3.0]), &samples).unwrap(), None);
        assert_eq!(bad_sample(&numbers(&[1.0, f64::NAN, 3.0]), &samples).unwrap(), Some(8));
        let single = numbers(&[f64::INFINITY]).f_view([0i64; 0]).unwrap();
        assert_eq!(bad_sample(&single, &samples).unwrap(), Some(7));
    }

    #[test]
    fn labels_none_of_which_count_give_no_accuracy() {
        let sums = |right: Share| Sums {
            samples: 4,
            right: Some(right),
            gained_and_lost: Some([0, 0]),
            agreeing: Some(3),
            rows: 4,
            ..Sums::default()
        };
        let none = sums(Share::default()).scores().unwrap();
        assert_eq!((none.accuracy, none.accuracy_change, none.agreement), (None, None, Some(0.75)));
        let mut right = Share::default();
        right.add(1.0, 2.0);
        assert_eq!(sums(right).scores().unwrap().accuracy, Some(0.5));
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
