//! `SkipLayerNormalization`: layer normalization of a sum. ONNX Runtime, version 1.
//!
//! input: [b, s, h], skip broadcast to it, gamma, beta, bias: [h] → y like the input, mean and 1/σ: [b, s, 1], and the sum.

skip_norm_op! {
    /// `SkipLayerNormalization`.
    SkipLayerNormalization, bias: 4,
    reason: "layer normalization",
    norm: |x, args, epsilon| {
        let width = x.size().split_off(x.dim() - 1);
        x.f_native_layer_norm(&width, Some(args.tensor(2)?), args.get(3), epsilon)?
    },
    cases: {
        let case = || Case::new(17).float([2, 3, 4]).float([2, 3, 4]).param([4]);
        vec![
            case().param([4]),
            case().param([4]).param([4]).attr("epsilon", 0.01f32),
            case().absent().param([4]).outputs(4).without_runtime(),
            Case::new(17).float([2, 3, 4]).param([3, 4]).param([4]).param([4]),
        ]
    },
}
