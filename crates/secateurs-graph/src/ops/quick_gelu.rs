//! `QuickGelu`: x · sigmoid(alpha · x). ONNX Runtime, version 1.

use super::shared::MICROSOFT;

activation_op! {
    /// `QuickGelu`.
    QuickGelu { alpha: 1.702 }, since: [1], domain: MICROSOFT,
    eval: |op, x| super::shared::activation::swish(x, op.alpha),
    cases: vec![
        Case::new(17).float([2, 3, 4]),
        Case::new(17).float([5]).attr("alpha", 1.0f32),
    ],
}
