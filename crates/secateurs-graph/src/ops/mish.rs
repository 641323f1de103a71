//! `Mish`: x · tanh(ln(1 + exp(x))). ONNX opset 18, 22.

unary_op! {
    /// `Mish`.
    Mish, since: [18, 22],
    eval: |x| x.f_mish(),
    mixed: Follow,
    cases: vec![Case::new(22).float_in([2, 3, 4], -4.0, 4.0), Case::new(18).float_in([5], -4.0, 4.0)],
}
