//! `HardSwish`: x · max(0, min(1, x / 6 + 0.5)). ONNX opset 14, 22.

unary_op! {
    /// `HardSwish`.
    HardSwish, since: [14, 22],
    eval: |x| x.f_hardswish(),
    mixed: Follow,
    cases: vec![Case::new(22).float_in([2, 3, 4], -4.0, 4.0), Case::new(14).float_in([5], -4.0, 4.0)],
}
