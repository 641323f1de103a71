//! `Cosh`: the hyperbolic cosine. ONNX opset 9, 22.

unary_op! {
    /// `Cosh`.
    Cosh, since: [9, 22],
    eval: |x| x.f_cosh(),
    cases: vec![Case::new(22).float([2, 3, 4]), Case::new(9).float([5])],
}
