//! HAP's trace: units whose weights are small where the loss is flat go first.
//!
//! `s(u) = Tr(H_uu) / 2p · ‖w_u‖²`, with `w_u` the p weights of the kernels and matrices that make the unit, and `H` the Hessian
//! of closeness to the model's own outputs in them. The block of the Hessian is taken for a multiple of the identity, and what norms and
//! activations do to the weights is not seen; `quadratic` needs neither. All units of all layers are ranked together.
//!
//! Source: Yu, Yao, Gholami et al., *Hessian-Aware Pruning and Optimal Neural Implant*, WACV 2022, arXiv 2101.08940, equation 7.

use super::{Method, Scorer};
use crate::evidence::Score;

pub(super) const METHOD: Method = Method {
    name: "hap-trace",
    summary: "Trace of the Hessian in the unit's weights, times their mean square",
    formula: "Tr(H_uu) / 2p · ‖w_u‖²",
    source: "Yu et al. 2022 (HAP), arXiv 2101.08940",
    scorer: Scorer::Evidence(Score::HapTrace),
};
