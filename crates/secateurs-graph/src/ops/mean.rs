//! `Mean`: the mean of the inputs, with broadcasting. ONNX opset 1, 6, 8, 13.

variadic_op! {
    /// `Mean`.
    Mean, since: [1, 6, 8, 13],
    eval: |a, b| a.f_add(b),
    ints: |_, _| None,
    floats: |_, _| None,
    finish: |sum, n| sum.f_div_scalar(n),
    cases: vec![
        Case::new(13).float([2, 3, 4]).float([3, 1]).float([4]),
        Case::new(8).float([4]),
        Case::new(13).float_values(&[0.7, -7.5]).float_values(&[0.1]),
    ],
}
