//! `Softplus`: ln(1 + exp(x)). ONNX opset 1, 22.

unary_op! {
    /// `Softplus`.
    Softplus, since: [1, 22],
    eval: |x| x.f_softplus(),
    cases: vec![Case::new(22).float_in([2, 3, 4], -4.0, 4.0), Case::new(9).float_in([5], -4.0, 4.0)],
}
