//! Taylor: the squared first-order change of the labels' loss.
//!
//! `s(u) = E (Σ aₗ·∂ℓ/∂aₗ)²`. Needs labels.
//!
//! Source: Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019, arXiv 1906.10771, with a gate on the unit.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "taylor",
    summary: "The squared first-order change of the labels' loss",
    formula: "E (Σ a·∂ℓ/∂a)²",
    source: "Molchanov et al. 2019, arXiv 1906.10771",
    scorer: Scorer::Evidence(Score::Taylor),
};
