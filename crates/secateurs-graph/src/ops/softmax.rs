//! `Softmax`: exponentials divided by their sum along an axis. ONNX opset 1, 11, 13.

softmax_op! {
    /// `Softmax`.
    Softmax, mixes: "a softmax",
    eval: |x, axis| x.f_softmax(axis, None),
}
