//! `Xor`: logical exclusive or, with broadcasting. ONNX opset 1, 7.

binary_op! {
    /// `Xor`.
    Xor, since: [7],
    eval: |a, b| a.f_logical_xor(b),
    ints: |a, b| super::shared::known(a, b, |a, b| Some(a ^ b)),
    cases: vec![
        Case::new(7).bools([2, 3, 4]).bools([3, 1]),
        Case::new(13).flag_values(&[true, false, true, false]).flag_values(&[true, true, false, false]),
    ],
}
