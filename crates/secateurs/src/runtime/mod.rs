//! ONNX Runtime: running models, comparing their outputs, measuring their latency.
//!
//! The library is not linked but opened when it is first needed; [`find_library`] says where it is looked for.

mod child;
mod compare;
mod error;
mod latency;
mod library;
mod model;
#[cfg(test)]
mod test_models;
mod value;

pub use child::{LatencyRequest, latency_child, measure_in_child};
pub use compare::{largest_difference, relative_difference};
pub use error::{Result, RuntimeError};
pub use latency::{LatencyJob, LatencyOptions, Timing, measure};
pub use library::{cache_folder, ensure_loaded, find_library};
pub use model::{Optimisation, OrtModel, SessionOptions};
