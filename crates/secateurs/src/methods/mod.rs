//! Methods that say what a unit is worth. One method is one file, which says what it measures, by which formula, and where
//! it comes from; [`METHODS`] is the list that `--method` and `secateurs methods` read.
//!
//! A method knows groups, units and parameters, and no op.

mod magnitude;
mod random;

use secateurs_graph::Graph;
use secateurs_graph::coupling::Coupling;

/// A score for every unit of every group; the lowest go first. Scores compare across groups.
pub type Scores = Vec<Vec<f64>>;

/// A way to score units without data.
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
    /// Scores the units of a graph. The seed matters to methods that draw.
    pub score: fn(&Graph, &Coupling, seed: u64) -> Result<Scores, MethodError>,
}

/// All methods.
pub const METHODS: &[Method] = &[magnitude::METHOD, random::METHOD];

/// The method of this name.
pub fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}

/// Why units cannot be scored.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MethodError {
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
