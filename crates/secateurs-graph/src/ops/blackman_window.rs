//! `BlackmanWindow`: the Blackman window of signal processing. ONNX opset 17.

window_op! {
    /// `BlackmanWindow`.
    BlackmanWindow, [0.42, 0.5, 0.08]
}
