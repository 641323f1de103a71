//! `Acos`: the inverse cosine. ONNX opset 7, 22.

unary_op! {
    /// `Acos`.
    Acos, since: [7, 22],
    eval: |x| x.f_acos(),
    cases: vec![Case::new(22).float_in([2, 3, 4], -1.0, 1.0), Case::new(9).float_in([5], -1.0, 1.0)],
}
