//! `GreaterOrEqual`: whether a ≥ b, with broadcasting. ONNX opset 12, 16.

use std::cmp::Ordering;

binary_op! {
    /// `GreaterOrEqual`.
    GreaterOrEqual, since: [12, 16],
    eval: |a, b| a.f_ge_tensor(b),
    output: Bool,
    ints: |a, b| super::shared::ordered(a, b, Ordering::is_ge),
    floats: |a, b| Some(super::shared::truth(a >= b)),
    cases: vec![
        Case::new(16).ints([2, 3, 4], 0..3).ints([3, 1], 0..3),
        Case::new(12).float([4]).float([2, 4]),
        Case::new(13).int_values(&[1, 2, 3]).int_values(&[2, 2, 2]),
        Case::new(13).float_values(&[0.7, 0.1]).float_values(&[0.1]),
    ],
}
