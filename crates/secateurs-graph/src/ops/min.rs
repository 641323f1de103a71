//! `Min`: the smallest of the inputs, with broadcasting. ONNX opset 1, 6, 8, 12, 13.

variadic_op! {
    /// `Min`.
    Min, since: [1, 6, 8, 12, 13],
    eval: |a, b| a.f_minimum(b),
    ints: |a, b| Some(a.min_with(b)),
    floats: |a, b| Some(if a <= b || a.is_nan() { *a } else { *b }),
    cases: vec![
        Case::new(13).float([2, 3, 4]).float([3, 1]).float([4]),
        Case::new(8).float([4]),
        Case::new(13).ints([3], -9..9).ints([], 1..9),
        Case::new(13).int_values(&[7, -7, 3]).int_values(&[2, 2, -2]),
        Case::new(13).float_values(&[0.7, -7.5]).float_values(&[0.1]),
    ],
}
