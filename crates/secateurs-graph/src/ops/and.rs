//! `And`: logical and, with broadcasting. ONNX opset 1, 7.

binary_op! {
    /// `And`.
    And, since: [7],
    eval: |a, b| a.f_logical_and(b),
    ints: |a, b| match (a.known(), b.known()) {
        (Some(0), _) | (_, Some(0)) => Some(Dim::from(0)),
        _ => super::shared::known(a, b, |a, b| Some(a & b)),
    },
    cases: vec![
        Case::new(7).bools([2, 3, 4]).bools([3, 1]),
        Case::new(13).flag_values(&[true, false, true, false]).flag_values(&[true, true, false, false]),
    ],
}
