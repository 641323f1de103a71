//! `ReduceMin`: the smallest element over axes. ONNX opset 1, 11, 12, 13, 18, 20.

reduce_op! {
    /// `ReduceMin`.
    ReduceMin, since: [1, 11, 12, 13, 18, 20],
    over: Role::Mixed("a minimum over the axis"),
    eval: |x, axes, keepdims| super::shared::reduce::extremum(x, axes, keepdims, false),
    ints: |a, b| a.min_with(b),
    cases: {
        let mut cases = super::shared::reduce::cases(-1.0, 2.0);
        cases.push(Case::new(20).bools([4, 3]).int_values(&[1]));
        cases.push(Case::new(18).int_values(&[3, 5, 4]).attr("keepdims", 0i64));
        cases
    },
}
