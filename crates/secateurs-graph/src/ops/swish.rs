//! `Swish`: x · sigmoid(alpha · x). ONNX opset 24.

activation_op! {
    /// `Swish`.
    Swish { alpha: 1.0 }, since: [24],
    eval: |op, x| super::shared::activation::swish(x, op.alpha),
    cases: vec![
        Case::new(24).float([2, 3, 4]),
        Case::new(24).float([5]).attr("alpha", 2.0f32),
    ],
}
