//! `Or`: logical or, with broadcasting. ONNX opset 1, 7.

binary_op! {
    /// `Or`.
    Or, since: [7],
    eval: |a, b| a.f_logical_or(b),
    ints: |a, b| match (a.known(), b.known()) {
        (Some(1), _) | (_, Some(1)) => Some(Dim::from(1)),
        _ => super::shared::known(a, b, |a, b| Some(a | b)),
    },
    cases: vec![
        Case::new(7).bools([2, 3, 4]).bools([3, 1]),
        Case::new(13).flag_values(&[true, false, true, false]).flag_values(&[true, true, false, false]),
    ],
}
