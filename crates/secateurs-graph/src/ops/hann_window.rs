//! `HannWindow`: the Hann window of signal processing. ONNX opset 17.

window_op! {
    /// `HannWindow`.
    HannWindow, [0.5, 0.5, 0.0]
}
