//! What several ops have in common.

#[cfg(feature = "torch")]
pub(super) mod at_run;
pub(super) mod axes_input;
#[macro_use]
pub(super) mod blocks;
pub(super) mod content;
#[macro_use]
mod elementwise;
pub(super) mod padding;
pub(super) mod pieces;
pub(super) mod regroup;
pub(super) mod resample;
pub(super) mod scatter;
pub(super) mod scatter_elements;
pub(super) mod window;

#[cfg(feature = "torch")]
pub(super) use elementwise::promote;
pub(super) use elementwise::{binary_content, binary_infer, truncated_quotient};
