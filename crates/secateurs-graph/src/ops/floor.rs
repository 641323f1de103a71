//! `Floor`: rounding down. ONNX opset 1, 6, 13.

unary_op! {
    /// `Floor`.
    Floor, since: [1, 6, 13],
    eval: |x| x.f_floor(),
    floats: f64::floor,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float_values(&[1.5, -1.5, 2.0])],
}
