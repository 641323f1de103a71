//! Joint: what second order predicts for whole sets of units, where the units that stay take over what they can. The default where units
//! are measured.
//!
//! The next unit to go is that of the smallest `½ w(u)² / [H_KK⁻¹]_uu` over what its removal saves, with K the units that are left and
//! w(u) the scale that u has by then; see [`Joint`](crate::evidence::Joint). A single unit's score is `quadratic` with its mean absorbed.
//!
//! Source: Yu, Yao, Gholami et al., *Hessian-Aware Pruning and Optimal Neural Implant*, WACV 2022, section 3.1: the Schur complement
//! H_pp − H_pl H_ll⁻¹ H_lp, which the authors drop; one unit at a time as in Optimal Brain Surgeon (Hassibi and Stork, NIPS 1993).

use super::{Method, Scorer};

pub(super) const METHOD: Method = Method {
    name: "joint",
    summary: "The change that second order predicts for whole sets, over what they save; kept units take over what they can",
    formula: "½ w(u)² / [H_KK⁻¹]_uu, K the units that are left",
    source: "Yu et al. 2022 (HAP, the term it drops), Hassibi and Stork 1993, for masks on units",
    scorer: Scorer::Joint,
};
