//! `Relu`: max(x, 0). ONNX opset 1, 6, 13, 14.

unary_op! {
    /// `Relu`.
    Relu, since: [1, 6, 13, 14],
    eval: |x| x.f_relu(),
    mixed: Follow,
    cases: vec![Case::new(14).float([2, 3, 4]), Case::new(9).float([5])],
}
