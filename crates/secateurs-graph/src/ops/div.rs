//! `Div`: elementwise quotient with broadcasting; of integers, rounded towards zero. ONNX opset 1, 6, 7, 13, 14.

binary_op! {
    /// `Div`.
    Div, since: [7, 13, 14],
    eval: |a, b| match a.f_is_floating_point()? {
        true => a.f_div(b),
        false => divide_ints(a, b),
    },
    ints: super::shared::truncated_quotient,
    floats: |a, b| Some(a / b),
    cases: vec![
        Case::new(14).float([2, 3, 4]).float_in([3, 1], 0.5, 2.0),
        Case::new(7).float([4]).float_in([2, 4], 0.5, 2.0),
        Case::new(13).ints([3], -9..9).ints([], 1..9),
        Case::new(13).ints([2], i64::MIN..i64::MIN + 1).int_values(&[-1]).without_runtime(),
        Case::new(13).int_values(&[7, -7, 3]).int_values(&[2, 2, -2]),
        Case::new(13).float_values(&[0.7, -7.5]).float_values(&[0.1]),
    ],
}

/// libtorch's kernel traps on the smallest integer divided by −1.
#[cfg(feature = "torch")]
fn divide_ints(a: &Tensor, b: &Tensor) -> Result<Tensor, secateurs_torch::tch::TchError> {
    if !matches!(b.f_kind()?, Kind::Int | Kind::Int64) {
        return a.f_div_tensor_mode(b, "trunc");
    }
    let negates = b.f_eq(-1)?;
    let quotient = a.f_div_tensor_mode(&b.f_masked_fill(&negates, 1)?, "trunc")?;
    a.f_neg()?.f_where_self(&negates, &quotient)
}
