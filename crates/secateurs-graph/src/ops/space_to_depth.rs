//! `SpaceToDepth`: blocks of pixels become channels. ONNX opset 1, 13, 28.

blocks_op! {
    /// `SpaceToDepth`.
    SpaceToDepth, since: [1, 13, 28], direction: ToDepth,
    cases: vec![
        Case::new(13).float([2, 3, 4, 6]).attr("blocksize", 2i64),
        Case::new(28).float([1, 2, 3, 6]).attr("blocksize", 3i64).attr("mode", "CRD").without_runtime(),
    ],
}
