//! `Abs`: the absolute value. ONNX opset 1, 6, 13.

unary_op! {
    /// `Abs`.
    Abs, since: [1, 6, 13],
    eval: |x| x.f_abs(),
    mixed: Follow,
    ints: |x| x.known()?.checked_abs().map(Dim::from),
    floats: f64::abs,
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).ints([5], -9..9), Case::new(13).int_values(&[3, -2, 0]), Case::new(13).float_values(&[0.5, -0.1])],
}
