//! Regenerates `src/proto/onnx.rs` from `proto/onnx-ml.proto`, which is the file of that name in the
//! `onnx` Python package. To move to a newer ONNX: copy its `onnx-ml.proto` over ours, then run
//!
//! ```text
//! cargo run -p secateurs-onnx --example generate_proto && cargo fmt -p secateurs-onnx
//! ```
//!
//! protox parses the schema in Rust, so no `protoc` is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["onnx-ml.proto"], [root.join("proto")])?;
    prost_build::Config::new()
        // `Bytes`, so that decoding from a memory map shares the weights instead of copying them.
        .bytes(["."])
        // The schema's comments are long and partly indented by four spaces, which rustdoc takes for code.
        .disable_comments(["."])
        .out_dir(root.join("src/proto"))
        .compile_fds(descriptors)?;
    Ok(())
}
