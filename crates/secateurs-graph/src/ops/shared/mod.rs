//! What several ops have in common.

#[cfg(feature = "torch")]
pub(super) mod at_run;
pub(super) mod axes_input;
pub(super) mod content;
pub(super) mod pieces;
#[macro_use]
pub(super) mod arg;
pub(super) mod channel_norm;
pub(super) mod heads;
pub(super) mod loss;
#[macro_use]
mod elementwise;
#[macro_use]
pub(super) mod reduce;
pub(super) mod convolution;
pub(super) mod equation;
#[macro_use]
pub(super) mod global_pool;
pub(super) mod pool;
pub(super) mod regions;
pub(super) mod regroup;
#[macro_use]
pub(super) mod signal_window;
#[macro_use]
pub(super) mod softmax;
pub(super) mod trailing_norm;
pub(super) mod window;

#[cfg(feature = "torch")]
pub(super) use elementwise::promote;
pub(super) use elementwise::{binary_content, binary_infer, truncated_quotient};
