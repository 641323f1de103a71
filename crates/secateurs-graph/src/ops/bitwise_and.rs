//! `BitwiseAnd`: the bits set in both, with broadcasting. ONNX opset 18.

binary_op! {
    /// `BitwiseAnd`.
    BitwiseAnd, since: [18],
    eval: |a, b| a.f_bitwise_and_tensor(b),
    ints: |a, b| super::shared::known(a, b, |a, b| Some(a & b)),
    cases: vec![
        Case::new(18).ints([2, 3, 4], -9..9).ints([3, 1], -9..9),
        Case::new(18).int_values(&[5, -6, 3]).int_values(&[3, 3, -1]),
    ],
}
