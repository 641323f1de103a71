//! `ReduceLogSumExp`: the logarithm of the sum of exponentials over axes. ONNX opset 1, 11, 13, 18, 28.

reduce_op! {
    /// `ReduceLogSumExp`.
    ReduceLogSumExp, since: [1, 11, 13, 18, 28],
    over: Role::Mixed("the logarithm of a sum of exponentials over the axis"),
    eval: |x, axes, keepdims| super::shared::reduce::as_float(x)?.f_logsumexp(axes, keepdims),
    cases: super::shared::reduce::cases(-1.0, 2.0),
}
