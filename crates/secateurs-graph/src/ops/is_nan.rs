//! `IsNaN`: whether an element is not a number. ONNX opset 9, 13, 20.

unary_op! {
    /// `IsNaN`.
    IsNaN, since: [9, 13, 20],
    eval: |x| x.f_isnan(),
    output: Bool,
    cases: vec![Case::new(20).float([2, 3]), Case::new(9).float_values(&[1.0, f32::NAN, f32::INFINITY])],
}
