//! `Sign`: −1, 0 or 1. ONNX opset 9, 13.

unary_op! {
    /// `Sign`.
    Sign, since: [9, 13],
    eval: |x| x.f_sign(),
    ints: |x| x.known().map(|n| n.signum().into()),
    floats: |x| if x == 0.0 { x } else { x.signum() },
    cases: vec![Case::new(13).float([2, 3, 4]), Case::new(9).ints([5], -2..2), Case::new(13).int_values(&[3, -2, 0])],
}
