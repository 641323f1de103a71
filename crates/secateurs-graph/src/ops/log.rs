//! `Log`: the natural logarithm. ONNX opset 1, 6, 13.

unary_op! {
    /// `Log`.
    Log, since: [1, 6, 13],
    eval: |x| x.f_log(),
    cases: vec![Case::new(13).float_in([2, 3, 4], 0.1, 3.0), Case::new(9).float_in([5], 0.1, 3.0)],
}
