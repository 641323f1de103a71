//! Methods that say what a unit is worth. One method is one file, which says what it measures, by which formula, and where
//! it comes from; [`METHODS`] is the list that `--method` and `secateurs methods` read.
//!
//! A method knows groups, units and parameters, and no op.

mod activation;
mod gradient;
mod gradient_normalised;
mod hap_trace;
mod joint;
mod loss;
mod magnitude;
mod quadratic;
mod random;
mod taylor;

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;

use crate::evidence::{Evidence, Score};

/// A score for every unit of every group; the lowest go first. Scores compare across groups.
pub type Scores = Vec<Vec<f64>>;

/// A way to score units.
#[derive(Debug)]
pub struct Method {
    /// What `--method` calls it.
    pub name: &'static str,
    /// What a unit's score is, in one line.
    pub summary: &'static str,
    /// The formula, with `u` a unit.
    pub formula: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What gives the scores.
    pub scorer: Scorer,
}

/// What gives scores.
#[derive(Debug, Clone, Copy)]
pub enum Scorer {
    /// The model alone, and for methods that draw a seed.
    Model(fn(&Graph, &Coupling, seed: u64) -> Result<Scores, MethodError>),
    /// What was measured on data.
    Evidence(Score),
    /// The same over the 2-norm of its group.
    Normalised(Score),
    /// The same of whole sets: what is left of the model says what the next unit is worth.
    Joint,
}

/// All methods.
pub const METHODS: &[Method] = &[
    joint::METHOD,
    quadratic::METHOD,
    loss::METHOD,
    hap_trace::METHOD,
    gradient::METHOD,
    gradient_normalised::METHOD,
    taylor::METHOD,
    activation::METHOD,
    magnitude::METHOD,
    random::METHOD,
];

/// What a method of whole sets says of a single unit.
const JOINT_SINGLE: Score = Score::QuadraticAbsorbed;

/// What scores units that are measured, where nothing else is asked for.
pub const MEASURED: &Method = &joint::METHOD;
/// What scores units of which nothing is measured, where nothing else is asked for.
pub const UNMEASURED: &Method = &magnitude::METHOD;

impl Method {
    /// Whether units must have been measured.
    pub fn needs_evidence(&self) -> bool {
        !matches!(self.scorer, Scorer::Model(_))
    }

    /// Whether traces must have been measured.
    pub fn needs_trace(&self) -> bool {
        self.measured().is_some_and(Score::needs_trace)
    }

    /// What is measured of single units.
    pub fn measured(&self) -> Option<Score> {
        match self.scorer {
            Scorer::Model(_) => None,
            Scorer::Evidence(score) | Scorer::Normalised(score) => Some(score),
            Scorer::Joint => Some(JOINT_SINGLE),
        }
    }

    /// Refuses units that are measured without what its score needs.
    pub fn check_measured(&self, labels: bool, traces: bool) -> Result<(), MethodError> {
        let lacks = |score: &Score| score.needs_trace() && !traces || score.needs_labels() && !labels;
        self.measured().filter(lacks).map_or(Ok(()), |score| Err(self.unmeasured(score)))
    }

    /// What is lacking where a score was not measured.
    fn unmeasured(&self, score: Score) -> MethodError {
        match score.needs_trace() {
            true => MethodError::NoTrace { method: self.name },
            false => MethodError::NoLabels { method: self.name },
        }
    }

    /// Whether what a unit is worth depends on which others go.
    pub fn goes_by_sets(&self) -> bool {
        matches!(self.scorer, Scorer::Joint)
    }

    /// Scores single units of a graph. Evidence must be of this graph, with the units of this coupling.
    pub fn score(
        &self,
        graph: &Graph,
        coupling: &Coupling,
        seed: u64,
        evidence: Option<&Evidence>,
    ) -> Result<Scores, MethodError> {
        let score = match self.scorer {
            Scorer::Model(score) => return score(graph, coupling, seed),
            Scorer::Evidence(score) | Scorer::Normalised(score) => score,
            Scorer::Joint => JOINT_SINGLE,
        };
        let evidence = evidence.ok_or(MethodError::NoEvidence { method: self.name })?;
        let scored = evidence.score(score).ok_or_else(|| self.unmeasured(score))?;
        let mut values = scored.values.into_iter();
        let mut scores: Scores =
            coupling.groups.iter().map(|group| values.by_ref().take(group.units.len()).collect()).collect();
        if matches!(self.scorer, Scorer::Normalised(_)) {
            scores.iter_mut().for_each(|group| normalise(group));
        }
        Ok(scores)
    }
}

/// Divides by the 2-norm; zeros stay.
fn normalise(scores: &mut [f64]) {
    let norm = scores.iter().map(|score| score * score).sum::<f64>().sqrt();
    if norm > 0.0 {
        scores.iter_mut().for_each(|score| *score /= norm);
    }
}

/// The method of this name.
pub fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}

/// Why units cannot be scored.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MethodError {
    /// Nothing was measured.
    #[error(
        "method '{method}' scores units by what was measured on data: run `secateurs measure` and give --evidence, or use `compress`, \
         which measures by itself"
    )]
    NoEvidence {
        /// The method.
        method: &'static str,
    },
    /// The score needs labels.
    #[error(
        "method '{method}' needs labels, and units are measured without; use --method quadratic, or data with labels"
    )]
    NoLabels {
        /// The method.
        method: &'static str,
    },
    /// The score needs traces.
    #[error("method '{method}' needs traces, and the evidence was measured without; measure with --trace")]
    NoTrace {
        /// The method.
        method: &'static str,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "parameter '{parameter}' has a weight that is {value}, so its units have no score; repair or train the model again"
    )]
    NotFinite {
        /// The parameter.
        parameter: String,
        /// The weight.
        value: f64,
    },
    /// A parameter of an element type that is no real number.
    #[error("parameter '{parameter}': {reason}")]
    Unreadable {
        /// The parameter.
        parameter: String,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_scores_have_length_one_and_zeros_stay() {
        let mut scores = [vec![3.0, 4.0], vec![0.0, 0.0]];
        scores.iter_mut().for_each(|group| normalise(group));
        assert_eq!(scores, [vec![0.6, 0.8], vec![0.0, 0.0]]);
    }
}
