//! Changes that leave what a model computes as it is, or start it anew: batch norms folded into the layers before them and put
//! back, dropout for training, and parameters as they are before it. Plain arithmetic on the host, in 64 bits.

mod find_folded;
mod fold_batch_norm;
mod free_batch;
mod initial;
mod insert_batch_norm;
mod insert_dropout;
mod residual;

pub use find_folded::find_folded;
pub use fold_batch_norm::{Folded, fold_batch_norms, fold_batch_norms_among};
pub use free_batch::free_batch;
pub use initial::{Law, Started, is_sequence, reinitialize};
pub use insert_batch_norm::{Statistics, insert_batch_norms};
pub use insert_dropout::insert_dropout;
pub use residual::{Residual, depths, parameter_depths, residuals};

use secateurs_onnx::{ElementType, Tensor};

use crate::error::GraphError;
use crate::graph::{Graph, Source, ValueId};
use crate::ops::Identity;

/// The constant behind a value and behind `Identity`s, with which exporters share equal constants.
fn constant(graph: &Graph, mut value: ValueId) -> Option<&Tensor> {
    while let Source::Node(node, _) = graph.values[value].source
        && graph.nodes[node].op.downcast::<Identity>().is_some()
    {
        value = graph.nodes[node].inputs.first().copied().flatten()?;
    }
    graph.tensor(value).filter(|tensor| is_trainable(tensor.element_type()))
}

/// Whether numbers of this type can be computed with and rounded back.
fn is_trainable(element_type: ElementType) -> bool {
    use ElementType::{Bfloat16, Float16, Float32, Float64};
    matches!(element_type, Bfloat16 | Float16 | Float32 | Float64)
}

/// The elements of a tensor of floats.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>, GraphError> {
    tensor.to_f64_vec().map_err(|e| GraphError::Inconsistent(e.to_string()))
}
