//! `Round`: rounding to the nearest integer, halves to the even one. ONNX opset 11, 22.

unary_op! {
    /// `Round`.
    Round, since: [11, 22],
    eval: |x| x.f_round(),
    floats: f64::round_ties_even,
    cases: vec![Case::new(22).float([2, 3, 4]), Case::new(11).float_values(&[0.5, 1.5, -2.5, 1.2])],
}
