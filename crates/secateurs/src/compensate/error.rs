//! Why a smaller model cannot be compensated.

use secateurs_graph::GraphError;
use secateurs_torch::tch::TchError;

use crate::data::DataError;
use crate::tune::TuneError;

/// Why a smaller model cannot be compensated.
#[derive(Debug, thiserror::Error)]
pub enum CompensateError {
    /// The model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The inputs.
    #[error(transparent)]
    Inputs(#[from] TuneError),
    /// Settings that make no sense.
    #[error("{0}")]
    Options(String),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}
