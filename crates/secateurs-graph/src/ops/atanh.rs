//! `Atanh`: the inverse hyperbolic tangent. ONNX opset 9, 22.

unary_op! {
    /// `Atanh`.
    Atanh, since: [9, 22],
    eval: |x| x.f_atanh(),
    cases: vec![Case::new(22).float_in([2, 3, 4], -0.9, 0.9), Case::new(9).float_in([5], -0.9, 0.9)],
}
