//! Quadratic: the change of the model's outputs that second order predicts for a unit's removal. The default.
//!
//! `s(u) = ½ E (Σ aₗ·gₗ)²`, with `aₗ` the unit's activations where they are consumed and `gₗ` what arrives there of a root of the
//! outputs' Hessian; needs no labels. See [`evidence`](crate::evidence).
//!
//! Source: the quadratic term of Optimal Brain Damage (LeCun, Denker and Solla, NIPS 1989) for a mask on a unit, with the Gauss–Newton
//! Hessian of the outputs' divergence, which is exact at the model itself.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "quadratic",
    summary: "The change of the outputs that second order predicts for the removal",
    formula: "½ E (Σ a·g)², g from a root of the Hessian in the outputs",
    source: "LeCun et al. 1989 (Optimal Brain Damage), for masks on units where they are consumed",
    scorer: Scorer::Evidence(Score::Quadratic),
};
