//! Why a smaller model cannot be compensated.

use std::path::PathBuf;

use secateurs_graph::{Graph, GraphError, NodeId};
use secateurs_torch::tch::TchError;

use crate::data::{DataError, Dataset};
use crate::plan::node_name;
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
    /// Activations that have no second moments.
    #[error(
        "{model}: node '{node}' reads or makes numbers that are infinite, NaN or too large to be multiplied for samples of {data}; correct \
         these samples, or leave them out"
    )]
    NotFinite {
        /// The model.
        model: PathBuf,
        /// The first such node.
        node: String,
        /// The data.
        data: PathBuf,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

impl CompensateError {
    /// That what a node reads or makes has no second moments.
    pub(crate) fn not_finite(graph: &Graph, node: NodeId, data: &Dataset) -> CompensateError {
        CompensateError::NotFinite {
            model: graph.source.file().into(),
            node: node_name(graph, node),
            data: data.path().to_owned(),
        }
    }
}
