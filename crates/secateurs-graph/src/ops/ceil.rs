//! `Ceil`: rounding up. ONNX opset 1, 6, 13.

unary_op! {
    /// `Ceil`.
    Ceil, since: [1, 6, 13],
    eval: |x| x.f_ceil(),
    floats: f64::ceil,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float_values(&[1.5, -1.5, 2.0])],
}
