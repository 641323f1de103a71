//! `Softsign`: x / (1 + |x|). ONNX opset 1, 22.

unary_op! {
    /// `Softsign`.
    Softsign, since: [1, 22],
    eval: |x| x.f_div(&x.f_abs()?.f_add_scalar(1.0)?),
    cases: vec![Case::new(22).float([2, 3, 4]), Case::new(9).float([5])],
}
