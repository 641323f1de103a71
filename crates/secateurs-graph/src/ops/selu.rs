//! `Selu`: gamma · (x where positive, alpha · (exp(x) − 1) elsewhere). ONNX opset 1, 6, 22.

#[cfg(feature = "torch")]
use super::shared::activation::exponential_unit;

activation_op! {
    /// `Selu`.
    Selu { alpha: 1.673_263_2, gamma: 1.050_701 }, since: [1, 6, 22],
    eval: |op, x| exponential_unit(x, op.alpha, 1.0)?.f_mul_scalar(f64::from(op.gamma)),
    cases: vec![
        Case::new(22).float([2, 3, 4]),
        Case::new(9).float([5]).attr("alpha", 2.0f32).attr("gamma", 3.0f32),
    ],
}
