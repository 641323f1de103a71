//! What several ops have in common.

/// The domain of the ops that ONNX Runtime adds, which its optimizer writes.
pub(super) const MICROSOFT: &str = "com.microsoft";

#[macro_use]
pub(super) mod activation;
#[macro_use]
pub(super) mod arg;
#[cfg(feature = "torch")]
pub(super) mod at_run;
pub(super) mod axes_input;
#[cfg(feature = "torch")]
pub(super) mod batch_norm;
#[macro_use]
pub(super) mod blocks;
pub(super) mod cast;
pub(super) mod channel_norm;
pub(super) mod content;
pub(super) mod convolution;
#[macro_use]
mod elementwise;
pub(super) mod elementwise_content;
pub(super) mod equation;
#[cfg(feature = "torch")]
pub(super) mod fourier;
#[macro_use]
pub(super) mod global_pool;
pub(super) mod heads;
pub(super) mod loss;
pub(super) mod padding;
pub(super) mod pieces;
pub(super) mod pool;
pub(super) mod quantize;
pub(super) mod recurrent;
#[macro_use]
pub(super) mod reduce;
pub(super) mod regions;
pub(super) mod regroup;
pub(super) mod resample;
pub(super) mod scatter;
pub(super) mod scatter_elements;
#[macro_use]
pub(super) mod signal_window;
#[macro_use]
pub(super) mod skip_norm;
#[macro_use]
pub(super) mod softmax;
pub(super) mod trailing_norm;
#[macro_use]
mod variadic;
pub(super) mod window;

pub(super) use elementwise::{binary_content, binary_infer, truncated_quotient};
#[cfg(feature = "torch")]
pub(super) use elementwise::{plus, promote};
pub(super) use elementwise_content::{known, ordered, truth, variadic_infer};
