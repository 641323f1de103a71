//! `ReduceMean`: the mean over axes. ONNX opset 1, 11, 13, 18.

reduce_op! {
    /// `ReduceMean`.
    ReduceMean, since: [1, 11, 13, 18],
    over: Role::Averaged,
    eval: |x, axes, keepdims| super::shared::reduce::as_float(x)?.f_mean_dim(axes, keepdims, None),
    cases: {
        let mut cases = super::shared::reduce::cases(-1.0, 2.0);
        cases.push(Case::new(18).ints([2, 3], -9..9).int_values(&[1]));
        cases
    },
}
