//! `SkipSimplifiedLayerNormalization`: a sum divided by its root mean square. ONNX Runtime, version 1.
//!
//! input: [b, s, h], skip broadcast to it, gamma, bias: [h] → y like the input, nothing, 1/rms: [b, s, 1], and the sum.

skip_norm_op! {
    /// `SkipSimplifiedLayerNormalization`.
    SkipSimplifiedLayerNormalization, bias: 3,
    reason: "division by the root mean square of a sum",
    norm: |x, args, epsilon| {
        let inverse = x.f_square()?.f_mean_dim(-1, true, None)?.f_add_scalar(epsilon)?.f_rsqrt()?;
        let y = x.f_mul(&inverse)?.f_mul(args.tensor(2)?)?;
        (y, inverse.f_zeros_like()?, inverse)
    },
    cases: {
        let case = || Case::new(17).float([2, 3, 4]).float([2, 3, 4]).param([4]);
        vec![case(), case().param([4]).attr("epsilon", 0.01f32), case().outputs(4).without_runtime()]
    },
}
