//! What several ops have in common.

#[macro_use]
pub(super) mod activation;
pub(super) mod cast;
pub(super) mod content;
#[macro_use]
mod elementwise;
pub(super) mod regroup;
#[macro_use]
mod variadic;
pub(super) mod window;

pub(super) use content::{known, ordered, truth, variadic_infer};
#[cfg(feature = "torch")]
pub(super) use elementwise::promote;
pub(super) use elementwise::{binary_content, binary_infer, truncated_quotient};
