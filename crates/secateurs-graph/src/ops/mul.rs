//! `Mul`: elementwise product with broadcasting. ONNX opset 1, 6, 7, 13, 14.

binary_op! {
    /// `Mul`.
    Mul, since: [7, 13, 14],
    eval: |a, b| a.f_mul(b),
    annihilates: crate::op::PRODUCT,
    mixed: Follow,
    ints: |a, b| Some(a.clone() * b.clone()),
    floats: |a, b| Some(a * b),
    cases: vec![
        Case::new(14).float([2, 3, 4]).float([3, 1]),
        Case::new(7).float([4]).float([2, 4]),
        Case::new(13).ints([3], -9..9).ints([], 1..9),
        Case::new(13).int_values(&[7, -7, 3]).int_values(&[2, 2, -2]),
        Case::new(13).float_values(&[0.7, -7.5]).float_values(&[0.1]),
    ],
}
