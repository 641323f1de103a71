//! `Cos`: the cosine. ONNX opset 7, 22.

unary_op! {
    /// `Cos`.
    Cos, since: [7, 22],
    eval: |x| x.f_cos(),
    cases: vec![Case::new(22).float([2, 3, 4]), Case::new(9).float([5])],
}
