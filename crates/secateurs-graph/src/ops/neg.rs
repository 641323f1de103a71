//! `Neg`: the negative. ONNX opset 1, 6, 13.

unary_op! {
    /// `Neg`.
    Neg, since: [1, 6, 13],
    eval: |x| x.f_neg(),
    mixed: Follow,
    ints: |x| Some(-x.clone()),
    floats: |x| -x,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float([5]), Case::new(13).int_values(&[3, -2, 0]), Case::new(13).float_values(&[0.5, -0.1])],
}
