//! `Elu`: x where positive, alpha · (exp(x) − 1) elsewhere. ONNX opset 1, 6, 22.

#[cfg(feature = "torch")]
use super::shared::activation::exponential_unit;

activation_op! {
    /// `Elu`.
    Elu { alpha: 1.0 }, since: [1, 6, 22],
    eval: |op, x| match op.alpha == 1.0 {
        true => x.f_elu(),
        false => exponential_unit(x, op.alpha, 1.0),
    },
    cases: vec![
        Case::new(22).float([2, 3, 4]),
        Case::new(9).float([5]).attr("alpha", 2.0f32),
    ],
}
