//! Loss: the change of the labels' loss that first and second order predict for a unit's removal.
//!
//! `s(u) = −E Σ aₗ·∂ℓ/∂aₗ + ½ E (Σ aₗ·gₗ)²`. Needs labels. The first order is noisy on data that the model was not measured on.
//!
//! Source: the Taylor expansion of LeCun, Denker and Solla (NIPS 1989), both terms kept.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "loss",
    summary: "The change of the labels' loss that first and second order predict",
    formula: "−E Σ a·∂ℓ/∂a + ½ E (Σ a·g)²",
    source: "LeCun et al. 1989 (Optimal Brain Damage), with the first order",
    scorer: Scorer::Evidence(Score::Loss),
};
