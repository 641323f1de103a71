//! The tests that every op gets: from the cases in its file.
//!
//! For each case: attributes survive parse → emit → parse; inference agrees with evaluation, with fixed and with symbolic
//! sizes; 32- and 64-bit evaluation agree; ONNX Runtime agrees; and the axis map tells the truth.

mod axes;
mod case;
#[cfg(feature = "torch")]
mod check;

pub use case::Case;
#[cfg(feature = "torch")]
pub use check::check;
