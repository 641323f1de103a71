//! `LeakyRelu`: x where positive, alpha · x elsewhere. ONNX opset 1, 6, 16.

activation_op! {
    /// `LeakyRelu`.
    LeakyRelu { alpha: 0.01 }, since: [1, 6, 16],
    eval: |op, x| {
        let slope = Tensor::f_full([0i64; 0], f64::from(op.alpha), (x.f_kind()?, x.device()))?;
        x.f_internal_prelu_kernel(&slope)
    },
    cases: vec![
        Case::new(16).float([2, 3, 4]),
        Case::new(9).float([5]).attr("alpha", 0.25f32),
    ],
}
