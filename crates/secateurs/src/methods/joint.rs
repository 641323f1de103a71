//! Joint: what second order predicts for whole sets of units. Where what stays is fitted to the original afterwards, units take over what
//! they can. The default where units are measured.
//!
//! The next unit to go is that of the smallest `½ w(u)² / [H_KK⁻¹]_uu` over what its removal saves, with K the units that are left and
//! w(u) the scale that u has by then; or, where nothing is fitted, of the smallest `½ H_uu + ½ Σ_S H_uv`, S the units that are gone; see
//! [`Joint`](crate::evidence::Joint). A single unit's score is `quadratic` with its mean absorbed.
//!
//! Source: Yu, Yao, Gholami et al., *Hessian-Aware Pruning and Optimal Neural Implant*, WACV 2022, section 3.1: the Schur complement
//! H_pp − H_pl H_ll⁻¹ H_lp, which the authors drop; one unit at a time as in Optimal Brain Surgeon (Hassibi and Stork, NIPS 1993).

use super::{Method, Scorer};

pub(super) const METHOD: Method = Method {
    name: "joint",
    summary: "The change that second order predicts for whole sets, over what they save; kept units take over what they can where they are fitted",
    formula: "½ w(u)² / [H_KK⁻¹]_uu, K the units that are left; not fitted: ½ H_uu + ½ Σ_S H_uv, S those gone",
    source: "Yu et al. 2022 (HAP, the term it drops), Hassibi and Stork 1993, for masks on units",
    scorer: Scorer::Joint,
};
