//! Measured values with standard errors, and whether a change is more than noise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoding;
use crate::format::{bytes, count, error_decimals, significant};
use crate::pipeline::Evaluation;

/// How good a model is on data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Samples that it was measured on.
    pub samples: u64,
    /// Values by metric.
    pub metrics: BTreeMap<Metric, Measured>,
}

impl From<&Evaluation> for Quality {
    fn from(evaluation: &Evaluation) -> Quality {
        let e = evaluation;
        let measured =
            |value, standard_error| Measured { value, standard_error: Some(standard_error), change: None };
        let loss = Metric::loss(e.met.is_some());
        let mut metrics = BTreeMap::from([(loss, measured(e.loss, e.loss_standard_error))]);
        let accuracy = e.met.as_ref().map(|met| measured(met.accuracy, met.accuracy_standard_error));
        metrics.extend(accuracy.map(|accuracy| (Metric::Accuracy, accuracy)));
        Quality { samples: e.samples, metrics }
    }
}

/// What is measured on data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The share of samples whose label has the highest score.
    Accuracy,
    /// Mean cross-entropy, in nats.
    Loss,
    /// Mean squared error of labels that are numbers.
    SquaredError,
    /// The share of samples for which the original has the same class.
    Agreement,
    /// Mean KL divergence of the outputs from the original's, in nats.
    Divergence,
    /// Mean squared error of outputs that are numbers from the original's, over the variance of those.
    Distance,
    /// Both of several outputs, added up by their weights.
    Distances,
}

impl Metric {
    /// All metrics, in the order in which they are shown.
    pub const ALL: [Metric; 7] = [
        Metric::Accuracy,
        Metric::Loss,
        Metric::SquaredError,
        Metric::Agreement,
        Metric::Divergence,
        Metric::Distance,
        Metric::Distances,
    ];

    /// The loss of labels, which are classes or numbers.
    pub fn loss(of_classes: bool) -> Metric {
        if of_classes { Metric::Loss } else { Metric::SquaredError }
    }

    /// How far so many outputs are from the original's, which are scores of classes or numbers.
    pub fn divergence(outputs: usize, of_classes: bool) -> Metric {
        match (outputs, of_classes) {
            (2.., _) => Metric::Distances,
            (_, true) => Metric::Divergence,
            (_, false) => Metric::Distance,
        }
    }

    /// The name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::Loss => "loss (cross-entropy)",
            Metric::SquaredError => "loss (mean squared error)",
            Metric::Agreement => "agreement with the original",
            Metric::Divergence => "KL divergence from the original",
            Metric::Distance => "squared error from the original, of its variance",
            Metric::Distances => "distance from the original, of all outputs by their weights",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> Unit {
        match self {
            Metric::Accuracy | Metric::Agreement => Unit::Share,
            Metric::Loss | Metric::Divergence => Unit::Nats,
            Metric::SquaredError | Metric::Distance | Metric::Distances => Unit::Number,
        }
    }
}

/// What a value is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A part of 1, shown in percent.
    Share,
    /// Nats.
    Nats,
    /// What has no unit that is known.
    Number,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Whole things.
    Count,
}

impl Unit {
    /// A value, and its standard error with as many decimals, if it has one.
    pub fn texts(self, value: f64, standard_error: Option<f64>) -> (String, Option<String>) {
        if !value.is_finite() {
            return ("not a number".to_owned(), None);
        }
        let error = standard_error.filter(|e| e.is_finite());
        let (scale, decimals, unit) = match self {
            Unit::Share => (100.0, 2, " %"),
            Unit::Nats | Unit::Number => (1.0, 4, ""),
            Unit::Milliseconds => {
                let error = error.map(|e| significant(e, 2));
                return (format!("{} ms", significant(value, 3)), error);
            }
            Unit::Bytes => return (bytes(value.max(0.0) as u64), error.map(|e| bytes(e as u64))),
            Unit::Count => return (count(value.round()), error.map(|e| count(e.round()))),
        };
        let decimals = error.and_then(|e| error_decimals(scale * e)).unwrap_or(decimals);
        let text = |x: f64| format!("{:.decimals$}", scale * x);
        (text(value) + unit, error.map(text))
    }
}

/// A value with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The value.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub value: f64,
    /// Its standard error; `None` where it is not known.
    pub standard_error: Option<f64>,
    /// The change from the original, where it was taken sample by sample.
    pub change: Option<Change>,
}

impl Measured {
    /// A value of which nothing more is known.
    pub fn exact(value: f64) -> Measured {
        Measured { value, standard_error: None, change: None }
    }

    /// The change from `original`: sample by sample where that was taken, otherwise as if the samples were not the same,
    /// which calls more of it noise.
    pub fn change_from(&self, original: &Measured) -> Change {
        self.change.unwrap_or_else(|| Change {
            by: self.value - original.value,
            standard_error: self.standard_error.zip(original.standard_error).map(|(a, b)| a.hypot(b)),
        })
    }
}

/// By how much a value changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The change.
    #[serde(deserialize_with = "encoding::or_nan")]
    pub by: f64,
    /// Its standard error; `None` where it is not known.
    pub standard_error: Option<f64>,
}

impl Change {
    /// Whether it is within two standard errors; `None` where they are not known.
    pub fn within_noise(&self) -> Option<bool> {
        self.standard_error.filter(|e| e.is_finite()).map(|e| self.by.abs() <= 2.0 * e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64, standard_error: f64) -> Measured {
        Measured { value, standard_error: Some(standard_error), change: None }
    }

    #[test]
    fn noise_is_two_standard_errors_of_the_difference() {
        let original = measured(0.918, 0.0027);
        assert_eq!(measured(0.915, 0.0028).change_from(&original).within_noise(), Some(true));
        assert_eq!(measured(0.905, 0.0029).change_from(&original).within_noise(), Some(false));
        assert_eq!(Measured::exact(0.915).change_from(&original).within_noise(), None);
        // The same drop is no noise if the samples that changed are few.
        let change = Some(Change { by: -0.003, standard_error: Some(0.0012) });
        let paired = Measured { change, ..measured(0.915, 0.0028) };
        assert_eq!(paired.change_from(&original).within_noise(), Some(false));
    }

    #[test]
    fn values_have_the_decimals_of_their_errors() {
        let texts = |unit: Unit, value, error| unit.texts(value, error);
        assert_eq!(texts(Unit::Share, 0.91834, Some(0.0027)), ("91.83 %".into(), Some("0.27".into())));
        assert_eq!(texts(Unit::Share, 0.9, Some(0.03)), ("90.0 %".into(), Some("3.0".into())));
        assert_eq!(texts(Unit::Nats, 0.26341, Some(0.0081)), ("0.2634".into(), Some("0.0081".into())));
        assert_eq!(texts(Unit::Nats, 0.26341, None), ("0.2634".into(), None));
        assert_eq!(texts(Unit::Milliseconds, 1.4182, None), ("1.42 ms".into(), None));
        assert_eq!(texts(Unit::Bytes, 1.6e6, None).0, "1.60 MB");
        assert_eq!(texts(Unit::Count, 156_043.0, None).0, "156,043");
        assert_eq!(texts(Unit::Nats, f64::NAN, Some(0.1)), ("not a number".into(), None));
    }

    #[test]
    fn a_value_that_is_no_number_survives_json() {
        let json = serde_json::to_string(&measured(f64::NAN, 0.1)).unwrap();
        let back: Measured = serde_json::from_str(&json).unwrap();
        assert!(back.value.is_nan() && back.standard_error == Some(0.1));
    }
}
