//! `ReduceL2`: the root of the sum of squares over axes. ONNX opset 1, 11, 13, 18.

reduce_op! {
    /// `ReduceL2`.
    ReduceL2, since: [1, 11, 13, 18],
    over: Role::Summed,
    eval: |x, axes, keepdims| super::shared::reduce::as_float(x)?.f_norm_scalaropt_dim(2, axes, keepdims),
    cases: {
        let mut cases = super::shared::reduce::cases(-1.0, 2.0);
        cases.push(Case::new(18).ints([2, 3], -9..9).int_values(&[1]));
        cases
    },
}
