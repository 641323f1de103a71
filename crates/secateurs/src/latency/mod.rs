//! What latency a choice of units has, before the smaller model is built: every distinct layer is timed alone in ONNX Runtime at
//! several widths, times between them are interpolated, and the sum is calibrated on whole models that were timed.

mod cache;
mod curve;
mod estimate;
#[cfg(test)]
mod tests;

pub use cache::{Machine, Times};
pub use estimate::{Clock, Estimate, LatencyTable, TableError, TableProgress};
