//! `HardSigmoid`: max(0, min(1, alpha · x + beta)). ONNX opset 1, 6, 22.

activation_op! {
    /// `HardSigmoid`.
    HardSigmoid { alpha: 0.2, beta: 0.5 }, since: [1, 6, 22],
    eval: |op, x| match op.alpha == 1.0 / 6.0 && op.beta == 0.5 {
        true => x.f_hardsigmoid(),
        false => {
            x.f_mul_scalar(f64::from(op.alpha))?.f_add_scalar(f64::from(op.beta))?.f_clamp(0.0, 1.0)
        }
    },
    cases: vec![
        Case::new(22).float([2, 3, 4]),
        Case::new(9).float_in([5], -4.0, 4.0).attr("alpha", 1.0f32 / 6.0),
        Case::new(9).float([5]).attr("alpha", 0.5f32).attr("beta", 0.25f32),
    ],
}
