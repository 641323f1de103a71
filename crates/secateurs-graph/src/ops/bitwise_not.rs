//! `BitwiseNot`: negation of every bit. ONNX opset 18.

unary_op! {
    /// `BitwiseNot`.
    BitwiseNot, since: [18],
    eval: |x| x.f_bitwise_not(),
    ints: |x| x.known().map(|n| Dim::from(!n)),
    cases: vec![Case::new(18).ints([2, 3], -9..9), Case::new(18).int_values(&[5, -1, 0])],
}
