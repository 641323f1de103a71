//! `ReduceSum`: the sum over axes. ONNX opset 1, 11, 13.

reduce_op! {
    /// `ReduceSum`.
    ReduceSum, since: [1, 11, 13],
    over: Role::Summed,
    eval: |x, axes, keepdims| x.f_sum_dim_intlist(axes, keepdims, None),
    ints: |a, b| a.clone() + b.clone(),
    cases: {
        let case = |opset| Case::new(opset).float_in([2, 3, 4], -1.0, 2.0);
        vec![
            case(11).attr("axes", vec![1i64]),
            case(11),
            case(13).int_values(&[-1, 0]).attr("keepdims", 0i64),
            case(13).attr("noop_with_empty_axes", 1i64),
            Case::new(13).int_values(&[3, 4, 5]).int_values(&[0]),
            Case::new(13).float([]),
        ]
    },
}
