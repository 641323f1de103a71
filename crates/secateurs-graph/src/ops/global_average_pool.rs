//! `GlobalAveragePool`: the mean over all spatial axes. ONNX opset 1, 22. x: [N, C, D1, …] → y: [N, C, 1, …].

global_pool! {
    /// `GlobalAveragePool`.
    GlobalAveragePool,
    spatial: Role::Averaged,
    eval: |x, spatial| x.f_mean_dim(spatial, true, None),
}
