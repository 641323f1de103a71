//! Why sensitivity cannot be measured.

use std::path::PathBuf;

use secateurs_graph::GraphError;
use secateurs_torch::tch::TchError;

use crate::compensate::CompensateError;
use crate::data::DataError;
use crate::resizable::ResizableError;
use crate::tune::TuneError;

/// Why sensitivity cannot be measured, or evidence not be used.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The outputs.
    #[error(transparent)]
    Outputs(#[from] TuneError),
    /// What implants can make.
    #[error(transparent)]
    Implants(Box<CompensateError>),
    /// Inputs and outputs that cannot shrink.
    #[error(transparent)]
    Resizable(#[from] ResizableError),
    /// Settings that make no sense.
    #[error("{0}")]
    Options(String),
    /// There is nothing to measure.
    #[error(
        "{model}: no unit of the model can be removed, so there is nothing to measure; `secateurs inspect --groups` says why"
    )]
    NoUnits {
        /// The model's file.
        model: String,
    },
    /// A value is infinite or no number.
    #[error(
        "{model}: node {node} computes numbers that are infinite or NaN for sample {sample} (counted from 0) of {data}; sensitivity \
         cannot be measured through it"
    )]
    NotFinite {
        /// The model's file.
        model: String,
        /// The node.
        node: String,
        /// A sample for which it does.
        sample: usize,
        /// The data.
        data: PathBuf,
    },
    /// Samples cannot be told apart, and the model takes several at once.
    #[error(
        "{model}: samples cannot be told apart at node {node}, and the model takes exactly {batch} at once; export it with a batch \
         size that can be chosen"
    )]
    Mixed {
        /// The model's file.
        model: String,
        /// The node.
        node: String,
        /// Its batch size.
        batch: usize,
    },
    /// Evidence of another model.
    #[error(
        "{model}: the evidence is of another model ({evidence}); measure this one with `secateurs measure`"
    )]
    Model {
        /// The file of the model that was measured.
        evidence: String,
        /// The model's file.
        model: String,
    },
    /// A file of evidence cannot be read.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A file cannot be written.
    #[error("{path}: cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Evidence that does not fit together.
    #[error("{0}")]
    Merge(String),
    /// The observer asked to stop.
    #[error("interrupted after {samples} samples; the same command goes on")]
    Interrupted {
        /// Samples measured.
        samples: usize,
    },
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}
