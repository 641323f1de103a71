//! `Asinh`: the inverse hyperbolic sine. ONNX opset 9, 22.

unary_op! {
    /// `Asinh`.
    Asinh, since: [9, 22],
    eval: |x| x.f_asinh(),
    cases: vec![Case::new(22).float([2, 3, 4]), Case::new(9).float([5])],
}
