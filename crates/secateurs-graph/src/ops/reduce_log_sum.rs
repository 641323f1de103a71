//! `ReduceLogSum`: the logarithm of the sum over axes. ONNX opset 1, 11, 13, 18, 28.

reduce_op! {
    /// `ReduceLogSum`.
    ReduceLogSum, since: [1, 11, 13, 18, 28],
    over: Role::Summed,
    eval: |x, axes, keepdims| {
        super::shared::reduce::as_float(x)?.f_sum_dim_intlist(axes, keepdims, None)?.f_log()
    },
    cases: super::shared::reduce::cases(0.5, 2.0),
}
