//! `ArgMax`: the index of the largest element along an axis. ONNX opset 1, 11, 12, 13.

arg_op! {
    /// `ArgMax`.
    ArgMax, blocks: "an index of the largest element",
    eval: |x, axis| x.f_argmax(axis, true),
}
