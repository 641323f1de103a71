//! `ArgMin`: the index of the smallest element along an axis. ONNX opset 1, 11, 12, 13.

arg_op! {
    /// `ArgMin`.
    ArgMin, blocks: "an index of the smallest element",
    eval: |x, axis| x.f_argmin(axis, true),
}
