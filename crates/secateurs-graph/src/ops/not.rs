//! `Not`: logical negation. ONNX opset 1.

unary_op! {
    /// `Not`.
    Not, since: [1],
    eval: |x| x.f_logical_not(),
    ints: |x| x.known().map(|n| super::shared::truth(n == 0)),
    cases: vec![Case::new(13).bools([2, 3, 4]), Case::new(9).constant(secateurs_onnx::Tensor::from_slice(vec![2], &[true, false]).unwrap())],
}
