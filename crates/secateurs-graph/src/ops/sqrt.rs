//! `Sqrt`: the square root. ONNX opset 1, 6, 13.

unary_op! {
    /// `Sqrt`.
    Sqrt, since: [1, 6, 13],
    eval: |x| x.f_sqrt(),
    floats: f64::sqrt,
    cases: vec![Case::new(13).float_in([2, 3, 4], 0.1, 3.0), Case::new(9).float_values(&[4.0, 2.0])],
}
