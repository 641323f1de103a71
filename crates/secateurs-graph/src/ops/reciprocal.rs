//! `Reciprocal`: 1 / x. ONNX opset 1, 6, 13.

unary_op! {
    /// `Reciprocal`.
    Reciprocal, since: [1, 6, 13],
    eval: |x| x.f_reciprocal(),
    floats: f64::recip,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float_values(&[4.0, -3.0])],
}
