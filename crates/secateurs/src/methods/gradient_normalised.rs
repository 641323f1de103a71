//! Gradient, normalised: the same over the norm of its group, so that every layer counts alike.
//!
//! `s(u) = g(u) / ‖g‖₂` with `g` the scores of `gradient` of all units of the group, which for heads is a layer's. Needs labels.
//!
//! Source: Michel, Levy and Neubig, *Are Sixteen Heads Really Better than One?*, NeurIPS 2019, arXiv 1905.10650, section 4.1, after
//! Molchanov et al. 2017, arXiv 1611.06440.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "gradient-normalised",
    summary: "The size of the loss's derivative by a mask on the unit, over that of its layer",
    formula: "g(u) / ‖g‖₂, g = E |Σ a·∂ℓ/∂a|",
    source: "Michel et al. 2019, arXiv 1905.10650",
    scorer: Scorer::Normalised(Score::Gradient),
};
