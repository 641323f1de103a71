//! What several ops have in common.

#[macro_use]
mod elementwise;
pub(super) mod convolution;
pub(super) mod equation;
#[macro_use]
pub(super) mod global_pool;
pub(super) mod pool;
pub(super) mod regions;
pub(super) mod regroup;
pub(super) mod window;

#[cfg(feature = "torch")]
pub(super) use elementwise::promote;
pub(super) use elementwise::{binary_content, binary_infer, truncated_quotient};
