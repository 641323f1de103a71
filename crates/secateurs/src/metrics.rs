//! How good logits are, against labels: accuracy and cross-entropy, added up batch by batch in f64.

use secateurs_onnx::Tensor;

/// Why logits and labels cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The output is not one row of logits per sample.
    #[error(
        "logits of shape {shape:?}: expected [samples, classes]; choose the output that holds the logits"
    )]
    Shape {
        /// The output's shape.
        shape: Vec<usize>,
    },
    /// The output does not consist of numbers.
    #[error("logits are {element_type}, not numbers")]
    ElementType {
        /// The element type.
        element_type: String,
    },
    /// There is not one label per sample.
    #[error("{samples} rows of logits, but {labels} labels")]
    Count {
        /// Rows of logits.
        samples: usize,
        /// Labels.
        labels: usize,
    },
    /// A label is not a class.
    #[error("label {label} of sample {sample} is not one of {classes} classes")]
    Label {
        /// The place in the batch.
        sample: usize,
        /// The label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
}

/// Rows of logits with their labels.
struct Rows {
    logits: Vec<f64>,
    classes: usize,
    labels: Vec<usize>,
}

impl Rows {
    /// Logits `[N, K]`, or with further axes of size 1, and N labels.
    fn new(logits: &Tensor, labels: &[i64]) -> Result<Rows, MetricError> {
        let shape = logits.shape();
        if shape.len() < 2 || shape[1] == 0 || shape[2..].iter().any(|size| *size != 1) {
            return Err(MetricError::Shape { shape: shape.to_vec() });
        }
        let (samples, classes) = (shape[0], shape[1]);
        if samples != labels.len() {
            return Err(MetricError::Count { samples, labels: labels.len() });
        }
        let class = |(sample, label): (usize, &i64)| {
            let class = usize::try_from(*label).ok().filter(|label| *label < classes);
            class.ok_or(MetricError::Label { sample, label: *label, classes })
        };
        let labels = labels.iter().enumerate().map(class).collect::<Result<_, _>>()?;
        let logits = logits
            .to_f64_vec()
            .map_err(|_| MetricError::ElementType { element_type: logits.element_type().to_string() })?;
        Ok(Rows { logits, classes, labels })
    }

    fn iter(&self) -> impl Iterator<Item = (&[f64], usize)> {
        self.logits.chunks_exact(self.classes).zip(self.labels.iter().copied())
    }
}

/// The share of samples whose label has the largest logit, or one of the five largest.
///
/// Of equal logits the one with the lower index counts as larger. A row with a NaN is wrong, and counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Samples so far.
    pub samples: u64,
    /// Samples whose label has the largest logit.
    pub top1: u64,
    /// Samples whose label has one of the five largest logits.
    pub top5: u64,
    /// Samples with a logit that is NaN.
    pub nan: u64,
}

impl Accuracy {
    /// Adds a batch of logits `[N, K]` and N labels.
    pub fn add(&mut self, logits: &Tensor, labels: &[i64]) -> Result<(), MetricError> {
        for (row, label) in Rows::new(logits, labels)?.iter() {
            self.samples += 1;
            if row.iter().any(|logit| logit.is_nan()) {
                self.nan += 1;
                continue;
            }
            let own = row[label];
            let rank = row[..label].iter().filter(|l| **l >= own).count()
                + row[label + 1..].iter().filter(|l| **l > own).count();
            self.top1 += u64::from(rank == 0);
            self.top5 += u64::from(rank < 5);
        }
        Ok(())
    }

    /// The share of samples whose label has the largest logit; NaN without samples.
    pub fn top1(&self) -> f64 {
        self.top1 as f64 / self.samples as f64
    }

    /// The share of samples whose label has one of the five largest logits; NaN without samples.
    pub fn top5(&self) -> f64 {
        self.top5 as f64 / self.samples as f64
    }

    /// The standard error of [`Accuracy::top1`].
    pub fn standard_error(&self) -> f64 {
        let share = self.top1();
        (share * (1.0 - share) / self.samples as f64).sqrt()
    }
}

/// The mean of −log softmax(logits)\[label\], in nats.
///
/// A row with a NaN, or with +∞ in more than one place, has no loss: it is counted and left out of the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CrossEntropy {
    /// Samples with a loss so far.
    pub samples: u64,
    /// Samples without one.
    pub nan: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl CrossEntropy {
    /// Adds a batch of logits `[N, K]` and N labels.
    pub fn add(&mut self, logits: &Tensor, labels: &[i64]) -> Result<(), MetricError> {
        for (row, label) in Rows::new(logits, labels)?.iter() {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|logit| (logit - largest).exp()).sum();
            let loss = sum.ln() - (row[label] - largest);
            if loss.is_nan() {
                self.nan += 1;
            } else {
                self.samples += 1;
                self.sum += loss;
                self.sum_of_squares += loss * loss;
            }
        }
        Ok(())
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

    fn logits(rows: &[&[f32]]) -> Tensor {
        Tensor::from_slice(vec![rows.len(), rows[0].len()], &rows.concat()).unwrap()
    }

    #[test]
    fn accuracy_counts_the_first_and_the_first_five() {
        let mut accuracy = Accuracy::default();
        let row: &[f32] = &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        accuracy.add(&logits(&[row, row, row]), &[0, 4, 5]).unwrap();
        accuracy.add(&logits(&[row]), &[1]).unwrap();
        assert_eq!((accuracy.samples, accuracy.top1, accuracy.top5), (4, 1, 3));
        assert_eq!((accuracy.top1(), accuracy.top5()), (0.25, 0.75));
        assert!((accuracy.standard_error() - (0.25_f64 * 0.75 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn of_equal_logits_one_is_right_and_nan_is_wrong() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&logits(&[&[1.0, 1.0], &[1.0, 1.0], &[f32::NAN, 9.0]]), &[0, 1, 1]).unwrap();
        assert_eq!((accuracy.top1, accuracy.top5, accuracy.nan), (1, 2, 1));
    }

    #[test]
    fn cross_entropy_is_exact_and_does_not_overflow() {
        let mut loss = CrossEntropy::default();
        loss.add(&logits(&[&[0.0, 0.0], &[1000.0, 0.0]]), &[0, 1]).unwrap();
        assert!((loss.mean() - (2.0_f64.ln() + 1000.0) / 2.0).abs() < 1e-9);
        loss.add(&logits(&[&[f32::NAN, 0.0], &[f32::INFINITY, f32::INFINITY]]), &[1, 0]).unwrap();
        assert_eq!((loss.samples, loss.nan), (2, 2));
        // ln(1 + e⁻² + e⁻⁴)
        let mut one = CrossEntropy::default();
        one.add(&logits(&[&[2.0, 0.0, -2.0]]), &[0]).unwrap();
        assert!((one.mean() - 0.142_931_628_499_899_9).abs() < 1e-12, "{}", one.mean());
        assert!(one.standard_error().is_nan());
    }

    #[test]
    fn standard_errors_are_those_of_the_sample() {
        let mut loss = CrossEntropy::default();
        // Losses ln 2 and ln 4.
        loss.add(&logits(&[&[0.0, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY], &[0.0; 4]]), &[0, 0]).unwrap();
        assert!((loss.standard_error() - 2.0_f64.ln() / 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let mut accuracy = Accuracy::default();
        let two = logits(&[&[0.0, 1.0], &[0.0, 1.0]]);
        assert_eq!(accuracy.add(&two, &[0]), Err(MetricError::Count { samples: 2, labels: 1 }));
        assert_eq!(accuracy.add(&two, &[0, 2]), Err(MetricError::Label { sample: 1, label: 2, classes: 2 }));
        assert_eq!(
            accuracy.add(&two, &[-1, 0]),
            Err(MetricError::Label { sample: 0, label: -1, classes: 2 })
        );
        let flat = Tensor::from_slice(vec![4], &[0.0_f32; 4]).unwrap();
        assert!(matches!(accuracy.add(&flat, &[0; 4]), Err(MetricError::Shape { .. })));
        let pixels = Tensor::from_slice(vec![1, 2, 2, 1], &[0.0_f32; 4]).unwrap();
        assert!(accuracy.add(&pixels, &[0]).is_err());
        assert!(accuracy.add(&pixels.reshaped(vec![1, 4, 1, 1]).unwrap(), &[0]).is_ok());
        assert_eq!(accuracy.samples, 1);
    }
}
