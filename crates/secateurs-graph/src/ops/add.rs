//! `Add`: elementwise sum with broadcasting. ONNX opset 1, 6, 7, 13, 14.

binary_op! {
    /// `Add`.
    Add, since: [7, 13, 14],
    eval: |a, b| a.f_add(b),
    mixed: Follow,
    ints: |a, b| Some(a.clone() + b.clone()),
    floats: |a, b| Some(a + b),
    cases: vec![
        Case::new(14).float([2, 3, 4]).float([3, 1]),
        Case::new(7).float([4]).float([2, 4]),
        Case::new(13).ints([3], 0..9).ints([], 0..9),
    ],
}
