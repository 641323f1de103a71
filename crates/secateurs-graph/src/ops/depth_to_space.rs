//! `DepthToSpace`: channels become blocks of pixels. ONNX opset 1, 11, 13, 28.

blocks_op! {
    /// `DepthToSpace`.
    DepthToSpace, since: [1, 11, 13, 28], direction: ToSpace,
    cases: vec![
        Case::new(13).float([2, 12, 2, 3]).attr("blocksize", 2i64),
        Case::new(11).float([1, 8, 2, 3]).attr("blocksize", 2i64).attr("mode", "CRD"),
        Case::new(9).float([1, 3, 2, 2]).attr("blocksize", 1i64),
    ],
}
