//! `LogSoftmax`: the logarithm of the softmax along an axis. ONNX opset 1, 11, 13.

softmax_op! {
    /// `LogSoftmax`.
    LogSoftmax, mixes: "a softmax",
    eval: |x, axis| x.f_log_softmax(axis, None),
}
