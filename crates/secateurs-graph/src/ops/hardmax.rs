//! `Hardmax`: 1 at the first largest element along an axis, 0 elsewhere. ONNX opset 1, 11, 13.

softmax_op! {
    /// `Hardmax`.
    Hardmax, mixes: "a maximum over the axis",
    eval: |x, axis| x.f_zeros_like()?.f_scatter_value(axis, &x.f_argmax(axis, true)?, 1.0),
}
