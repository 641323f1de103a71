//! `ReduceL1`: the sum of absolute values over axes. ONNX opset 1, 11, 13, 18.

reduce_op! {
    /// `ReduceL1`.
    ReduceL1, since: [1, 11, 13, 18],
    over: Role::Summed,
    eval: |x, axes, keepdims| x.f_abs()?.f_sum_dim_intlist(axes, keepdims, None),
    cases: super::shared::reduce::cases(-1.0, 2.0),
}
