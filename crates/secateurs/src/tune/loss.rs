//! What training makes small: distance from the labels and from the teacher's outputs.

use std::fmt;

use secateurs_graph::Graph;
use secateurs_onnx::Tensor as HostTensor;
use secateurs_torch::tch::{Kind, Reduction, TchError, Tensor};
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use crate::data::{Dataset, IGNORED};

/// Smaller probabilities, which may have been rounded to 0, count as this one, so that losses are finite.
pub(crate) const LEAST_PROBABILITY: f64 = 1e-30;

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Class scores before a softmax, along this axis.
    Logits {
        /// The axis of the classes.
        axis: usize,
    },
    /// Class probabilities along this axis.
    Probabilities {
        /// The axis of the classes.
        axis: usize,
    },
    /// Scores of labels that hold or not, each by itself, before a sigmoid.
    BinaryLogits,
    /// Probabilities of labels that hold or not, each by itself.
    BinaryProbabilities,
    /// Numbers.
    Values,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Logits { axis } => write!(f, "class scores along axis {axis}"),
            Meaning::Probabilities { axis } => write!(f, "class probabilities along axis {axis}"),
            Meaning::BinaryLogits => f.write_str("scores of labels that hold or not"),
            Meaning::BinaryProbabilities => f.write_str("probabilities of labels that hold or not"),
            Meaning::Values => f.write_str("numbers"),
        }
    }
}

impl Meaning {
    /// The loss that is closeness to the model's own output, in words.
    pub fn closeness(&self) -> &'static str {
        match self {
            Meaning::Logits { .. } => "KL divergence from the model's own softmax",
            Meaning::Probabilities { .. } => "KL divergence from the model's own probabilities",
            Meaning::BinaryLogits => "KL divergence from the model's own sigmoids, the mean over labels",
            Meaning::BinaryProbabilities => {
                "KL divergence from the model's own probabilities, the mean over labels"
            }
            Meaning::Values => "mean squared error from the model's own numbers",
        }
    }

    /// The loss of labels, in words; means are over the labels of a sample that count.
    pub fn label_loss(&self) -> &'static str {
        match self {
            Meaning::Logits { .. } | Meaning::Probabilities { .. } => "mean cross-entropy",
            Meaning::BinaryLogits | Meaning::BinaryProbabilities => "mean binary cross-entropy",
            Meaning::Values => "mean squared error",
        }
    }

    /// The shape of the labels for an output of a shape, none of whose sizes but the first is 1.
    pub(crate) fn label_shape(&self, output: &[usize]) -> Vec<usize> {
        let classes = match self {
            Meaning::Logits { axis } | Meaning::Probabilities { axis } => Some(*axis),
            _ => None,
        };
        let sizes = output.iter().enumerate().filter(|(i, _)| Some(*i) != classes);
        sizes.filter(|(i, size)| *i == 0 || **size != 1).map(|(_, size)| *size).collect()
    }

    /// Refuses labels whose shape is not that for an output's.
    pub(crate) fn check_labels(
        &self,
        output: &str,
        shape: &[usize],
        labels: &HostTensor,
        data: &Dataset,
    ) -> Result<(), TuneError> {
        let expected = self.label_shape(shape);
        if labels.shape() == expected {
            return Ok(());
        }
        let remedy = match self {
            Meaning::Logits { .. } | Meaning::Probabilities { .. } => {
                "of one-hot rows take the argmax, for labels of which several may hold give --objective multi-label; or name another \
                 output with --output"
            }
            _ => "give one for every number of the output, or name another output with --output",
        };
        let message = format!(
            "labels of shape {:?} do not fit output '{output}' of shape {shape:?}, which is taken for {self} and needs labels of shape \
             {expected:?}; {remedy}",
            labels.shape()
        );
        Err(TuneError::Labels { data: data.path().to_owned(), message })
    }
}

/// An output that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Its place among the graph's outputs.
    pub index: usize,
    pub meaning: Meaning,
    /// The weight of its loss.
    pub weight: f64,
    /// Whether the data's labels are for it.
    pub labelled: bool,
    /// Why it is taken for that, where no one has said so.
    pub reason: &'static str,
}

impl Head {
    /// Log-probabilities `[rows, classes]` in at least 32 bits, at a temperature; `None` for values. A label that holds or not is a row
    /// of two classes: with the scores 0 and z, a softmax is the sigmoid of z.
    pub(crate) fn log_probabilities(
        &self,
        output: &Tensor,
        temperature: f64,
    ) -> Result<Option<Tensor>, TchError> {
        let kind = if output.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let logarithms = |p: Tensor| p.f_clamp_min(LEAST_PROBABILITY)?.f_log();
        let along = |axis: usize| {
            let classes = output.size()[axis];
            output.f_movedim_int(axis as i64, -1)?.f_reshape([-1, classes])?.f_to_kind(kind)
        };
        let flat = || output.f_reshape([-1])?.f_to_kind(kind);
        let rows = match self.meaning {
            Meaning::Logits { axis } => along(axis)?,
            Meaning::Probabilities { axis } => logarithms(along(axis)?)?,
            Meaning::BinaryLogits => {
                let scores = flat()?;
                Tensor::f_stack(&[scores.f_zeros_like()?, scores], -1)?
            }
            Meaning::BinaryProbabilities => {
                let p = flat()?;
                logarithms(Tensor::f_stack(&[p.f_neg()?.f_add_scalar(1.0)?, p], -1)?)?
            }
            Meaning::Values => return Ok(None),
        };
        let rows = if temperature == 1.0 { rows } else { rows.f_div_scalar(temperature)? };
        Ok(Some(rows.f_log_softmax(-1, None)?))
    }

    /// The labels of a batch as [`Head::label_losses`] takes them, `[N, rows]`, for an output `[N, …]` of its first N samples; `None`
    /// where there are none for this output.
    pub fn labels(
        &self,
        graph: &Graph,
        output: &Tensor,
        labels: Option<&HostTensor>,
        data: &Dataset,
    ) -> Result<Option<Tensor>, TuneError> {
        let Some(labels) = labels.filter(|_| self.labelled) else { return Ok(None) };
        let mut shape: Vec<usize> = output.size().iter().map(|n| *n as usize).collect();
        let counted = shape.first().copied().unwrap_or(0) as i64;
        if let Some(samples) = shape.first_mut() {
            *samples = labels.shape()[0];
        }
        self.meaning.check_labels(&graph.values[graph.outputs[self.index]].name, &shape, labels, data)?;
        let unread = |e: secateurs_onnx::TensorError| TuneError::Options(e.to_string());
        let tensor = match self.meaning {
            Meaning::Values => {
                Tensor::f_from_slice(&labels.to_f64_vec().map_err(unread)?)?.f_to_kind(output.f_kind()?)?
            }
            _ => Tensor::f_from_slice(&labels.to_i64_vec().map_err(unread)?)?,
        };
        let tensor = tensor.f_view([labels.shape()[0] as i64, -1])?.f_narrow(0, 0, counted)?;
        Ok(Some(tensor.f_to_device(output.device())?))
    }

    /// The loss of labels `[N, rows]`, a number a sample: the mean cross-entropy over the rows that count, in nats, 0 where none does;
    /// for values the mean squared error.
    pub fn label_losses(&self, output: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor, TchError> {
        match self.log_probabilities(output, 1.0)? {
            Some(logs) => {
                let labels_of_all = labels.f_reshape([-1])?;
                let losses = logs.f_cross_entropy_loss(
                    &labels_of_all,
                    None::<Tensor>,
                    Reduction::None,
                    IGNORED,
                    smoothing,
                )?;
                let sums = losses.f_view_as(labels)?.f_sum_dim_intlist(1i64, false, None::<Kind>)?;
                sums.f_div(&counted(labels)?.f_clamp_min(1)?)
            }
            None => {
                let difference = output.f_reshape(labels.size())?.f_sub(labels)?;
                difference.f_square()?.f_mean_dim(1i64, false, None::<Kind>)
            }
        }
    }

    /// What training makes small of labels: their mean loss over the samples of which something counts; for values, the squared error over
    /// the variance of the labels, as [`Head::distance`] has it from a teacher.
    pub fn label_loss(&self, output: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor, TchError> {
        match self.meaning {
            Meaning::Values => self.distance(output, &labels.f_reshape(output.size())?, 1.0),
            _ => {
                let samples = counted(labels)?.f_gt(0)?.f_sum(Kind::Int64)?.f_clamp_min(1)?;
                self.label_losses(output, labels, smoothing)?.f_sum(None::<Kind>)?.f_div(&samples)
            }
        }
    }

    /// Distance from a teacher's output: T²·KL(teacher ‖ student) at temperature T, the mean over rows, in nats (Hinton, Vinyals and
    /// Dean 2015); for values the squared error over the variance of the teacher's output, or over its
    /// mean square where it does not vary (one number), or over 1 where that is 0 as well.
    pub fn distance(&self, output: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
        let logs = self.log_probabilities(output, temperature)?;
        match logs.zip(self.log_probabilities(teacher, temperature)?) {
            Some((student, teacher)) => {
                let rows = student.size()[0] as f64;
                let divergence = student.f_kl_div(&teacher, Reduction::Sum, true)?;
                divergence.f_mul_scalar(temperature * temperature / rows)
            }
            None => {
                let teacher = teacher.f_to_kind(output.f_kind()?)?;
                let spread = spread(&teacher.f_var(false)?, &teacher.f_square()?.f_mean(None)?)?;
                output.f_mse_loss(&teacher, Reduction::Mean)?.f_div(&spread)
            }
        }
    }

    /// The loss that evidence is of, times the output's weight: the same at temperature 1, but for values the squared error as it is.
    pub fn closeness(&self, output: &Tensor, reference: &Tensor) -> Result<Tensor, TchError> {
        let distance = match self.meaning {
            Meaning::Values => output.f_mse_loss(&reference.f_to_kind(output.f_kind()?)?, Reduction::Mean)?,
            _ => self.distance(output, reference, 1.0)?,
        };
        distance.f_mul_scalar(self.weight)
    }

    /// Which rows of an output with some for every token, `[N, length, …]`, are of no padding, all samples' tokens being counted through:
    /// those where `mask`, `[N, length]`, is not 0. `None` where that are all rows, or the output's are of something else.
    pub fn tokens(&self, output: &Tensor, mask: Option<&Tensor>) -> Result<Option<Tensor>, TchError> {
        let size = output.size();
        let by_token = match self.meaning {
            Meaning::Logits { axis } | Meaning::Probabilities { axis } => axis >= 2,
            _ => true,
        };
        let fits = |mask: &&Tensor| by_token && size.len() > 2 && mask.size()[..] == size[..2];
        let Some(mask) = mask.filter(fits) else { return Ok(None) };
        let tokens = mask.f_reshape([-1])?.f_nonzero()?.f_reshape([-1])?;
        match tokens.numel() {
            0 => Ok(None),
            all if all == mask.numel() => Ok(None),
            _ => Ok(Some(tokens.f_to_device(output.device())?)),
        }
    }

    /// [`Head::distance`] over the rows of [`Head::tokens`]: what models make of padding is nobody's concern.
    pub fn distance_of_tokens(
        &self,
        output: &Tensor,
        teacher: &Tensor,
        temperature: f64,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let [output, teacher] = self.without_padding([output, teacher], mask)?;
        self.distance(&output, &teacher, temperature)
    }

    /// The rows of [`Head::tokens`] of some outputs, as if they were all of one sample, so that the axes keep their places.
    pub fn without_padding<const N: usize>(
        &self,
        outputs: [&Tensor; N],
        mask: Option<&Tensor>,
    ) -> Result<[Tensor; N], TchError> {
        let tokens = match outputs.first() {
            Some(output) => self.tokens(output, mask)?,
            None => None,
        };
        let mut own = outputs.map(Tensor::shallow_clone);
        if let Some(tokens) = tokens {
            for output in &mut own {
                *output = output.f_flatten(0, 1)?.f_index_select(0, &tokens)?.f_unsqueeze(0)?;
            }
        }
        Ok(own)
    }

    /// The class with the highest score, for every row (of a label that holds or not 1 where its probability is above ½); −1, which is none, where a score is no number. `None` for values.
    pub fn classes(&self, output: &Tensor) -> Result<Option<Tensor>, TchError> {
        let Some(logs) = self.log_probabilities(output, 1.0)? else { return Ok(None) };
        let nan = logs.f_isnan()?.f_any_dim(-1, false)?;
        Ok(Some(logs.f_argmax(-1, false)?.f_masked_fill(&nan, -1)?))
    }
}

/// What squared errors of numbers are counted in: their variance, or their mean square where they do not vary, or 1 where that is 0 too.
pub(super) fn spread(variance: &Tensor, square: &Tensor) -> Result<Tensor, TchError> {
    let square = square.f_where_self(&square.f_gt(0.0)?, &square.f_ones_like()?)?;
    let varies = variance.f_gt_tensor(&square.f_mul_scalar(1e-12)?)?;
    variance.f_where_self(&varies, &square)
}

/// How many of the labels `[N, rows]` of every sample count.
pub(crate) fn counted(labels: &Tensor) -> Result<Tensor, TchError> {
    labels.f_ne(IGNORED)?.f_sum_dim_intlist(1i64, false, Kind::Int64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(meaning: Meaning) -> Head {
        Head { index: 0, meaning, weight: 1.0, labelled: true, reason: "" }
    }

    fn tensor(shape: &[i64], values: &[f64]) -> Tensor {
        Tensor::f_from_slice(values).unwrap().f_view(shape).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.f_to_kind(Kind::Double).unwrap().f_reshape([-1]).unwrap()).unwrap()
    }

    fn assert_near(found: &Tensor, expected: &[f64]) {
        let found = numbers(found);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    fn sigmoid(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    #[test]
    fn labels_that_hold_or_not_have_bernoulli_losses() {
        secateurs_torch::load().unwrap();
        let (ours, theirs) = ([0.3, -1.2, 2.0, 0.0], [1.0, -0.5, 3.0, -2.0]);
        let y = [1i64, 0, IGNORED, 1];
        let labels = Tensor::f_from_slice(&y).unwrap().f_view([2, 2]).unwrap();
        let bce = |z: f64, y: i64| -(if y == 1 { sigmoid(z) } else { 1.0 - sigmoid(z) }).ln();
        let divergence = |t: f64| {
            let of = |(z, q): (&f64, &f64)| {
                let (p, q) = (sigmoid(q / t), sigmoid(z / t));
                p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
            };
            t * t * ours.iter().zip(&theirs).map(of).sum::<f64>() / 4.0
        };
        let through = |meaning: Meaning, z: [f64; 4]| match meaning {
            Meaning::BinaryLogits => tensor(&[2, 2], &z),
            _ => tensor(&[2, 2], &z.map(sigmoid)),
        };
        for meaning in [Meaning::BinaryLogits, Meaning::BinaryProbabilities] {
            let head = head(meaning);
            let (output, teacher) = (through(meaning, ours), through(meaning, theirs));
            let losses = head.label_losses(&output, &labels, 0.0).unwrap();
            assert_near(&losses, &[(bce(0.3, 1) + bce(-1.2, 0)) / 2.0, bce(0.0, 1)]);
            for t in [1.0, 2.0] {
                assert_near(&head.distance(&output, &teacher, t).unwrap(), &[divergence(t)]);
            }
            assert_eq!(numbers(&head.classes(&output).unwrap().unwrap()), [1.0, 0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn rows_have_their_mean_cross_entropy_along_either_axis() {
        secateurs_torch::load().unwrap();
        // Two samples of two rows with two classes; of the second sample one row does not count.
        let last = tensor(&[2, 2, 2], &[1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.5]);
        let labels = Tensor::f_from_slice(&[0i64, 0, IGNORED, 1]).unwrap().f_view([2, 2]).unwrap();
        let softplus = |x: f64| (1.0 + x.exp()).ln();
        let expected = [(softplus(-1.0) + softplus(2.0)) / 2.0, softplus(-0.5)];
        for (axis, output) in [(2, last.shallow_clone()), (1, last.f_transpose(1, 2).unwrap())] {
            let head = head(Meaning::Logits { axis });
            assert_near(&head.label_losses(&output, &labels, 0.0).unwrap(), &expected);
            let mean = (expected[0] + expected[1]) / 2.0;
            assert_near(&head.label_loss(&output, &labels, 0.0).unwrap(), &[mean]);
            // A sample of which nothing counts leaves the mean alone.
            let nothing = Tensor::f_from_slice(&[0i64, 0, IGNORED, IGNORED]).unwrap().f_view([2, 2]).unwrap();
            assert_near(&head.label_loss(&output, &nothing, 0.0).unwrap(), &expected[..1]);
        }
    }

    #[test]
    fn padding_is_no_part_of_the_distance_of_tokens() {
        secateurs_torch::load().unwrap();
        // Two samples of two tokens with two scores; the last token is padding, and the scores of it alone lie far apart.
        let ours = tensor(&[2, 2, 2], &[1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 9.0, -9.0]);
        let theirs = tensor(&[2, 2, 2], &[0.5, 0.0, 0.0, 1.0, 2.0, 0.0, -9.0, 9.0]);
        let mask = tensor(&[2, 2], &[1.0, 1.0, 1.0, 0.0]);
        let rows = |all: &Tensor| all.f_view([4, 2]).unwrap().f_narrow(0, 0, 3).unwrap();
        for (meaning, of_rows) in [
            (Meaning::Logits { axis: 2 }, Meaning::Logits { axis: 1 }),
            (Meaning::BinaryLogits, Meaning::BinaryLogits),
            (Meaning::Values, Meaning::Values),
        ] {
            let expected = head(of_rows).distance(&rows(&ours), &rows(&theirs), 2.0).unwrap();
            let distance = head(meaning).distance_of_tokens(&ours, &theirs, 2.0, Some(&mask)).unwrap();
            assert_near(&distance, &numbers(&expected));
        }
        // Neither classes along the axis of the mask's length nor rows of another length are tokens.
        assert!(head(Meaning::Logits { axis: 1 }).tokens(&ours, Some(&mask)).unwrap().is_none());
        let longer = tensor(&[2, 3], &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        assert!(head(Meaning::Logits { axis: 2 }).tokens(&ours, Some(&longer)).unwrap().is_none());
    }

    #[test]
    fn numbers_have_their_mean_squared_error() {
        secateurs_torch::load().unwrap();
        let head = head(Meaning::Values);
        let (output, labels) =
            (tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), tensor(&[2, 2], &[1.0, 0.0, 0.0, 4.0]));
        assert_near(&head.label_losses(&output, &labels, 0.0).unwrap(), &[2.0, 4.5]);
        // Over the variance of the labels, 43/16.
        assert_near(&head.label_loss(&output, &labels, 0.0).unwrap(), &[3.25 / (43.0 / 16.0)]);
    }
}
