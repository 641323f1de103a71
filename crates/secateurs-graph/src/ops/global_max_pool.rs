//! `GlobalMaxPool`: the maximum over all spatial axes. ONNX opset 1, 22. x: [N, C, D1, …] → y: [N, C, 1, …].

global_pool! {
    /// `GlobalMaxPool`.
    GlobalMaxPool,
    spatial: Role::Mixed("a maximum over the axis"),
    eval: |x, spatial| x.f_amax(spatial, true),
}
