//! Activation: the mean size of a unit's activations where they are consumed.
//!
//! `s(u) = E |a|`. Scores of different layers do not compare well; `--scope layer` is meant for it.
//!
//! Source: a baseline; in the spirit of Hu et al., *Network Trimming*, 2016, arXiv 1607.03250, which counts zeros.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "activation",
    summary: "The mean size of the unit's activations",
    formula: "E |a|",
    source: "after Hu et al. 2016, arXiv 1607.03250",
    scorer: Scorer::Evidence(Score::Activation),
};
