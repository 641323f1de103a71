//! `ReduceProd`: the product over axes. ONNX opset 1, 11, 13, 18.

reduce_op! {
    /// `ReduceProd`.
    ReduceProd, since: [1, 11, 13, 18],
    over: Role::Mixed("a product over the axis"),
    eval: |x, axes, keepdims| {
        // libtorch takes one axis at a time; from the last, so that the others keep their places.
        axes.iter().rev().try_fold(x.shallow_clone(), |x, &axis| x.f_prod_dim_int(axis, keepdims, None))
    },
    ints: |a, b| a.clone() * b.clone(),
    cases: {
        let mut cases = super::shared::reduce::cases(0.5, 1.5);
        cases.push(Case::new(13).int_values(&[3, 5, 4]).attr("keepdims", 0i64));
        cases.push(Case::new(18).ints([2, 3, 2], 0..5).int_values(&[1]));
        cases
    },
}
