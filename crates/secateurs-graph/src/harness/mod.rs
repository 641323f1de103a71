//! The tests that every op gets: from the cases in its file.
//!
//! For each case: attributes survive parse → emit → parse; inference agrees with evaluation, with fixed and with symbolic
//! sizes; 32- and 64-bit evaluation agree, and mixed precision up to rounding; the axis map tells the truth, and so does
//! what is said of zeros; and what the map says can go can: an op that has
//! lost it gives what is left of its outputs. ONNX Runtime has its say in the crate `secateurs`, for which the feature
//! `harness` makes the cases public.

#[cfg(all(test, feature = "torch"))]
mod annihilates;
#[cfg(all(test, feature = "torch"))]
mod axes;
mod case;
#[cfg(all(test, feature = "torch"))]
mod check;
#[cfg(all(test, feature = "torch"))]
mod mixed;
#[cfg(all(test, feature = "torch"))]
mod shrink;

pub use case::{Case, Input};
#[cfg(all(test, feature = "torch"))]
pub use check::check;
