//! `Sigmoid`: 1 / (1 + exp(−x)). ONNX opset 1, 6, 13.

unary_op! {
    /// `Sigmoid`.
    Sigmoid, since: [1, 6, 13],
    eval: |x| x.f_sigmoid(),
    mixed: Follow,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float([5])],
}
