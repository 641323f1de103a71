//! What can go wrong with ONNX Runtime.

/// An error of finding, loading or running ONNX Runtime.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// No library was found.
    #[error(
        "ONNX Runtime was not found; install it with `cargo xtask setup` or `pip install onnxruntime`, or set \
         ORT_DYLIB_PATH to libonnxruntime.so. Looked at:{}",
        places.iter().map(|place| format!("\n  {place}")).collect::<String>()
    )]
    NotFound {
        /// Where it was looked for, and why each place did not serve.
        places: Vec<String>,
    },
    /// The library cannot be loaded or started.
    #[error("{library}: ONNX Runtime cannot be loaded: {message}")]
    Load {
        /// The library's path.
        library: String,
        /// The loader's reason.
        message: String,
    },
    /// ONNX Runtime does not take the model.
    #[error("{model}: ONNX Runtime cannot load the model: {message}")]
    Model {
        /// The model's path, or what it is.
        model: String,
        /// ONNX Runtime's reason.
        message: String,
    },
    /// The model cannot be run on these inputs.
    #[error("{model}: ONNX Runtime cannot run the model: {message}")]
    Run {
        /// The model's path, or what it is.
        model: String,
        /// ONNX Runtime's reason.
        message: String,
    },
    /// The process that measures latency failed.
    #[error("measuring latency in a process of its own failed: {message}")]
    Child {
        /// What happened.
        message: String,
    },
}

/// The result of using ONNX Runtime.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;
