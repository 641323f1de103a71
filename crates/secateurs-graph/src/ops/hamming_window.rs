//! `HammingWindow`: the Hamming window of signal processing. ONNX opset 17.

window_op! {
    /// `HammingWindow`.
    HammingWindow, [25.0 / 46.0, 21.0 / 46.0, 0.0]
}
