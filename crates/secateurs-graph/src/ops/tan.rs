//! `Tan`: the tangent. ONNX opset 7, 22.

unary_op! {
    /// `Tan`.
    Tan, since: [7, 22],
    eval: |x| x.f_tan(),
    cases: vec![Case::new(22).float_in([2, 3, 4], -1.2, 1.2), Case::new(9).float_in([5], -1.2, 1.2)],
}
