//! `ThresholdedRelu`: x where above alpha, 0 elsewhere. ONNX opset 10, 22.

activation_op! {
    /// `ThresholdedRelu`.
    ThresholdedRelu { alpha: 1.0 }, since: [10, 22],
    eval: |op, x| x.f_threshold(f64::from(op.alpha), 0.0),
    cases: vec![
        Case::new(22).float([2, 3, 4]),
        Case::new(10).float([5]).attr("alpha", 0.3f32),
    ],
}
