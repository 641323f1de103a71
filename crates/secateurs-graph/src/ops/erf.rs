//! `Erf`: the error function. ONNX opset 9, 13.

unary_op! {
    /// `Erf`.
    Erf, since: [9, 13],
    eval: |x| x.f_erf(),
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).float([5])],
}
