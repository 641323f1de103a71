//! `Acosh`: the inverse hyperbolic cosine. ONNX opset 9, 22.

unary_op! {
    /// `Acosh`.
    Acosh, since: [9, 22],
    eval: |x| x.f_acosh(),
    cases: vec![Case::new(22).float_in([2, 3, 4], 1.0, 4.0), Case::new(9).float_in([5], 1.0, 4.0)],
}
