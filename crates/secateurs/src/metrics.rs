//! How good scores are, against labels: accuracy and losses, added up batch by batch in f64.

use secateurs_onnx::Tensor;

/// Why scores and labels cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The output has no axis of classes.
    #[error("scores of shape {shape:?} have no classes along axis {axis}; choose the output that holds them")]
    Shape {
        /// The output's shape.
        shape: Vec<usize>,
        /// The axis of the classes.
        axis: usize,
    },
    /// The output does not consist of numbers.
    #[error("scores are {element_type}, not numbers")]
    ElementType {
        /// The element type.
        element_type: String,
    },
    /// There is not one label for every row of scores.
    #[error("{rows} rows of scores, but {labels} labels")]
    Count {
        /// Rows of scores.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// A label is not a class.
    #[error("label {label} of row {row} is not one of {classes} classes")]
    Label {
        /// The row of scores, counted through the batch.
        row: usize,
        /// The label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
}

/// A count as a share of what was counted, of which a sample may have several; errors are over samples (the ratio estimator; Cochran 1977,
/// chapter 6). With one of each sample it is the share of the samples and its binomial error.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    count: f64,
    of: f64,
    count_squares: f64,
    of_squares: f64,
    products: f64,
}

impl Share {
    /// Adds a sample.
    pub fn add(&mut self, count: f64, of: f64) {
        self.count += count;
        self.of += of;
        self.count_squares += count * count;
        self.of_squares += of * of;
        self.products += count * of;
    }

    /// Adds samples.
    pub fn add_all(&mut self, counts: &[f64], of: &[f64]) {
        counts.iter().zip(of).for_each(|(count, of)| self.add(*count, *of));
    }

    /// What was counted.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Among how many.
    pub fn of(&self) -> f64 {
        self.of
    }

    /// The share; NaN of nothing.
    pub fn value(&self) -> f64 {
        self.count / self.of
    }

    /// The standard error of the share.
    pub fn standard_error(&self) -> f64 {
        let share = self.value();
        let squares = self.count_squares - 2.0 * share * self.products + share * share * self.of_squares;
        squares.max(0.0).sqrt() / self.of
    }
}

/// Rows of scores with their labels.
struct Rows {
    scores: Vec<f64>,
    classes: usize,
    /// Numbers from one class to the next.
    step: usize,
    /// `None` where a row does not count.
    labels: Vec<Option<usize>>,
    /// Rows of a sample.
    of_sample: usize,
}

impl Rows {
    /// Scores `[N, …]` with classes along an axis, and labels of all other places in their order; negative ones do not count.
    fn new(scores: &Tensor, axis: usize, labels: &[i64]) -> Result<Rows, MetricError> {
        let shape = scores.shape();
        if axis == 0 || axis >= shape.len() || shape.contains(&0) {
            return Err(MetricError::Shape { shape: shape.to_vec(), axis });
        }
        let classes = shape[axis];
        let rows = scores.len() / classes;
        if rows != labels.len() {
            return Err(MetricError::Count { rows, labels: labels.len() });
        }
        let class = |(row, &label): (usize, &i64)| match usize::try_from(label) {
            Err(_) => Ok(None),
            Ok(class) if class < classes => Ok(Some(class)),
            Ok(_) => Err(MetricError::Label { row, label, classes }),
        };
        let labels = labels.iter().enumerate().map(class).collect::<Result<_, _>>()?;
        let step = shape[axis + 1..].iter().product();
        let of_sample = rows / shape[0];
        let scores = scores
            .to_f64_vec()
            .map_err(|_| MetricError::ElementType { element_type: scores.element_type().to_string() })?;
        Ok(Rows { scores, classes, step, labels, of_sample })
    }

    /// For every sample the rows that count.
    fn samples(&self) -> impl Iterator<Item = Vec<(Vec<f64>, usize)>> {
        let row = |row: usize| {
            let first = row / self.step * self.classes * self.step + row % self.step;
            let scores = (0..self.classes).map(|class| self.scores[first + class * self.step]).collect();
            Some((scores, self.labels[row]?))
        };
        let first = (0..self.labels.len()).step_by(self.of_sample);
        first.map(move |first| (first..first + self.of_sample).filter_map(row).collect())
    }
}

/// The share of rows (of samples, tokens, pixels) whose label has the largest score, or one of the five largest.
///
/// Of equal scores the one with the lower index counts as larger. A row with a NaN is wrong, and counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Accuracy {
    /// Whose label has the largest score.
    pub top1: Share,
    /// Whose label has one of the five largest scores.
    pub top5: Share,
    /// Rows with a score that is NaN.
    pub nan: u64,
}

impl Accuracy {
    /// Adds a batch of scores `[N, …]` with classes along an axis, and the labels of all other places in their order, of which negative
    /// ones do not count.
    pub fn add(&mut self, scores: &Tensor, axis: usize, labels: &[i64]) -> Result<(), MetricError> {
        for rows in Rows::new(scores, axis, labels)?.samples() {
            let (mut top1, mut top5) = (0.0, 0.0);
            for (row, label) in &rows {
                if row.iter().any(|score| score.is_nan()) {
                    self.nan += 1;
                    continue;
                }
                let own = row[*label];
                let rank = row[..*label].iter().filter(|l| **l >= own).count()
                    + row[label + 1..].iter().filter(|l| **l > own).count();
                top1 += f64::from(u8::from(rank == 0));
                top5 += f64::from(u8::from(rank < 5));
            }
            self.top1.add(top1, rows.len() as f64);
            self.top5.add(top5, rows.len() as f64);
        }
        Ok(())
    }
}

/// The mean over samples of the labels' loss.
///
/// A sample with a NaN, or with a row of +∞ in more than one place, has no loss: it is counted and left out of the mean. One of which no
/// label counts is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LabelLoss {
    /// Samples with a loss so far.
    pub samples: u64,
    /// Samples without one.
    pub nan: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl LabelLoss {
    /// Adds the cross-entropies of a batch, −log softmax(scores)\[label\] in nats, the mean over the rows of a sample that count; arguments
    /// as for [`Accuracy::add`].
    pub fn cross_entropy(&mut self, scores: &Tensor, axis: usize, labels: &[i64]) -> Result<(), MetricError> {
        for rows in Rows::new(scores, axis, labels)?.samples().filter(|rows| !rows.is_empty()) {
            let loss = |(row, label): &(Vec<f64>, usize)| {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|score| (score - largest).exp()).sum();
                sum.ln() - (row[*label] - largest)
            };
            self.add(rows.iter().map(loss).sum::<f64>() / rows.len() as f64);
        }
        Ok(())
    }

    /// Adds the mean squared errors of a batch `[N, …]` from as many numbers.
    pub fn squared_error(&mut self, output: &Tensor, labels: &[f64]) -> Result<(), MetricError> {
        let values = output
            .to_f64_vec()
            .map_err(|_| MetricError::ElementType { element_type: output.element_type().to_string() })?;
        if values.len() != labels.len() {
            return Err(MetricError::Count { rows: values.len(), labels: labels.len() });
        }
        let width = (values.len() / output.shape().first().map_or(1, |n| (*n).max(1))).max(1);
        for (values, labels) in values.chunks_exact(width).zip(labels.chunks_exact(width)) {
            let squares = values.iter().zip(labels).map(|(a, b)| (a - b) * (a - b));
            self.add(squares.sum::<f64>() / width as f64);
        }
        Ok(())
    }

    fn add(&mut self, loss: f64) {
        if loss.is_nan() {
            self.nan += 1;
        } else {
            self.samples += 1;
            self.sum += loss;
            self.sum_of_squares += loss * loss;
        }
    }

    /// The mean over the samples that have a loss; NaN without any.
    pub fn mean(&self) -> f64 {
        self.sum / self.samples as f64
    }

    /// The standard error of the mean; NaN for fewer than two samples.
    pub fn standard_error(&self) -> f64 {
        if self.samples < 2 {
            return f64::NAN;
        }
        let n = self.samples as f64;
        let variance = (self.sum_of_squares - self.sum * self.sum / n) / (n - 1.0);
        (variance.max(0.0) / n).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(rows: &[&[f32]]) -> Tensor {
        Tensor::from_slice(vec![rows.len(), rows[0].len()], &rows.concat()).unwrap()
    }

    #[test]
    fn accuracy_counts_the_first_and_the_first_five() {
        let mut accuracy = Accuracy::default();
        let row: &[f32] = &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        accuracy.add(&scores(&[row, row, row]), 1, &[0, 4, 5]).unwrap();
        accuracy.add(&scores(&[row]), 1, &[1]).unwrap();
        let Accuracy { top1, top5, .. } = accuracy;
        assert_eq!((top1.of(), top1.count(), top5.count()), (4.0, 1.0, 3.0));
        assert_eq!((top1.value(), top5.value()), (0.25, 0.75));
        assert!((top1.standard_error() - (0.25_f64 * 0.75 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn of_equal_scores_one_is_right_and_nan_is_wrong() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&scores(&[&[1.0, 1.0], &[1.0, 1.0], &[f32::NAN, 9.0]]), 1, &[0, 1, 1]).unwrap();
        assert_eq!((accuracy.top1.count(), accuracy.top5.count(), accuracy.nan), (1.0, 2.0, 1));
    }

    #[test]
    fn rows_count_unless_their_label_is_negative_whichever_axis_has_the_classes() {
        // Two samples of three tokens with two classes.
        let last = [[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [0.0, 3.0], [0.0, 4.0], [1.0, 0.0f32]];
        let labels = [0, 0, -100, 1, 1, 1];
        let tokens = Tensor::from_slice(vec![2, 3, 2], &last.concat()).unwrap();
        let turned: Vec<f32> = (0..2)
            .flat_map(|n| (0..2).flat_map(move |class| (0..3).map(move |t| last[3 * n + t][class])))
            .collect();
        let pixels = Tensor::from_slice(vec![2, 2, 3, 1], &turned).unwrap();
        for (scores, axis) in [(tokens, 2), (pixels, 1)] {
            let (mut accuracy, mut loss) = (Accuracy::default(), LabelLoss::default());
            accuracy.add(&scores, axis, &labels).unwrap();
            loss.cross_entropy(&scores, axis, &labels).unwrap();
            assert_eq!((accuracy.top1.count(), accuracy.top1.of()), (3.0, 5.0));
            // Residuals of the samples from 3/5 of their rows: 1 − 6/5 and 2 − 9/5.
            assert!((accuracy.top1.standard_error() - 0.08f64.sqrt() / 5.0).abs() < 1e-12);
            let softplus = |x: f64| (1.0 + x.exp()).ln();
            let means = [
                (softplus(-2.0) + softplus(1.0)) / 2.0,
                (softplus(-3.0) + softplus(-4.0) + softplus(1.0)) / 3.0,
            ];
            assert!((loss.mean() - (means[0] + means[1]) / 2.0).abs() < 1e-9);
        }
        // A sample of which nothing counts has no loss.
        let mut loss = LabelLoss::default();
        loss.cross_entropy(&scores(&[&[0.0, 0.0], &[9.0, 0.0]]), 1, &[0, -1]).unwrap();
        assert_eq!((loss.samples, loss.nan, loss.mean()), (1, 0, 2f64.ln()));
    }

    #[test]
    fn cross_entropy_is_exact_and_does_not_overflow() {
        let mut loss = LabelLoss::default();
        loss.cross_entropy(&scores(&[&[0.0, 0.0], &[1000.0, 0.0]]), 1, &[0, 1]).unwrap();
        assert!((loss.mean() - (2.0_f64.ln() + 1000.0) / 2.0).abs() < 1e-9);
        loss.cross_entropy(&scores(&[&[f32::NAN, 0.0], &[f32::INFINITY, f32::INFINITY]]), 1, &[1, 0])
            .unwrap();
        assert_eq!((loss.samples, loss.nan), (2, 2));
        // ln(1 + e⁻² + e⁻⁴)
        let mut one = LabelLoss::default();
        one.cross_entropy(&scores(&[&[2.0, 0.0, -2.0]]), 1, &[0]).unwrap();
        assert!((one.mean() - 0.142_931_628_499_899_9).abs() < 1e-12, "{}", one.mean());
        assert!(one.standard_error().is_nan());
    }

    #[test]
    fn squared_errors_are_means_over_the_numbers_of_a_sample() {
        let mut loss = LabelLoss::default();
        loss.squared_error(&scores(&[&[0.0, 1.0], &[2.0, 2.0]]), &[1.0, 1.0, 0.0, 4.0]).unwrap();
        assert_eq!((loss.samples, loss.mean()), (2, 2.25));
        assert!(loss.squared_error(&scores(&[&[0.0, 1.0]]), &[1.0]).is_err());
    }

    #[test]
    fn standard_errors_are_those_of_the_sample() {
        let mut loss = LabelLoss::default();
        // Losses ln 2 and ln 4.
        let rows = scores(&[&[0.0, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY], &[0.0; 4]]);
        loss.cross_entropy(&rows, 1, &[0, 0]).unwrap();
        assert!((loss.standard_error() - 2.0_f64.ln() / 2.0).abs() < 1e-12);
    }

    #[test]
    fn changes_are_counted_on_the_samples_where_models_differ() {
        let mut change = Share::default();
        let differences = [[1.0; 2].to_vec(), [-1.0; 6].to_vec(), [0.0; 92].to_vec()].concat();
        change.add_all(&differences, &[1.0; 100]);
        assert_eq!(change.value(), -0.04);
        let variance: f64 = (2.0 * 1.04 * 1.04 + 6.0 * 0.96 * 0.96 + 92.0 * 0.04 * 0.04) / 100.0;
        assert!((change.standard_error() - (variance / 100.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let mut accuracy = Accuracy::default();
        let two = scores(&[&[0.0, 1.0], &[0.0, 1.0]]);
        assert_eq!(accuracy.add(&two, 1, &[0]), Err(MetricError::Count { rows: 2, labels: 1 }));
        assert_eq!(accuracy.add(&two, 1, &[0, 2]), Err(MetricError::Label { row: 1, label: 2, classes: 2 }));
        let flat = Tensor::from_slice(vec![4], &[0.0_f32; 4]).unwrap();
        assert!(matches!(accuracy.add(&flat, 1, &[0; 4]), Err(MetricError::Shape { .. })));
        assert_eq!(accuracy.top1.of(), 0.0);
    }
}
