//! Gradient: how much the labels' loss reacts to a mask on the unit.
//!
//! `s(u) = E |Σ aₗ·∂ℓ/∂aₗ|`. Needs labels.
//!
//! Source: Michel, Levy and Neubig, *Are Sixteen Heads Really Better than One?*, NeurIPS 2019, arXiv 1905.10650, equation 2.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "gradient",
    summary: "The size of the loss's derivative by a mask on the unit",
    formula: "E |Σ a·∂ℓ/∂a|",
    source: "Michel et al. 2019, arXiv 1905.10650",
    scorer: Scorer::Evidence(Score::Gradient),
};
