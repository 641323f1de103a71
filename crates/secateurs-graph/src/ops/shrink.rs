//! `Shrink`: x moved towards zero by bias where |x| > lambd, 0 elsewhere. ONNX opset 9.

activation_op! {
    /// `Shrink`.
    Shrink { bias: 0.0, lambd: 0.5 }, since: [9],
    eval: |op, x| {
        let (bias, lambd) = (f64::from(op.bias), f64::from(op.lambd));
        let above = x.f_sub_scalar(bias)?.f_where_scalarother(&x.f_gt(lambd)?, 0.0)?;
        x.f_add_scalar(bias)?.f_where_self(&x.f_lt(-lambd)?, &above)
    },
    cases: vec![
        Case::new(9).float([2, 3, 4]),
        Case::new(9).float([5]).attr("lambd", 1.0f32).attr("bias", 0.7f32),
    ],
}
