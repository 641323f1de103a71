//! `ReduceSumSquare`: the sum of squares over axes. ONNX opset 1, 11, 13, 18.

reduce_op! {
    /// `ReduceSumSquare`.
    ReduceSumSquare, since: [1, 11, 13, 18],
    over: Role::Summed,
    eval: |x, axes, keepdims| x.f_square()?.f_sum_dim_intlist(axes, keepdims, None),
    cases: super::shared::reduce::cases(-1.0, 2.0),
}
