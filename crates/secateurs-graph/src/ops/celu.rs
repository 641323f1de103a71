//! `Celu`: max(0, x) + min(0, alpha · (exp(x / alpha) − 1)). ONNX opset 12, 28.

#[cfg(feature = "torch")]
use super::shared::activation::exponential_unit;

activation_op! {
    /// `Celu`.
    Celu { alpha: 1.0 }, since: [12, 28],
    eval: |op, x| exponential_unit(x, op.alpha, op.alpha),
    cases: vec![
        Case::new(28).float([2, 3, 4]),
        Case::new(12).float([5]).attr("alpha", 2.0f32),
    ],
}
