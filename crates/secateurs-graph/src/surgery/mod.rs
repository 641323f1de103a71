//! Exact surgery: the smaller model, and its twin of the original shape in which the removed units are zeroed where they are
//! consumed. Both are a [`Patch`](crate::patch::Patch), found from the coupling alone.

pub(crate) mod constants;
mod consumed;
mod controls;
mod made;
mod mask;
mod remove;

pub use consumed::{Consumed, UnitIndex};
pub use made::Made;
