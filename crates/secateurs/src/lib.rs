//! Secateurs makes trained neural networks smaller and faster without losing what they learned.
//!
//! - [`data`] reads samples in the form that a model takes.
//! - [`pipeline`] has the steps, one function each.
//! - [`metrics`] says how good a model's outputs are.
//! - [`runtime`] runs models in ONNX Runtime, compares outputs and measures latency.
//! - [`rng`] draws random numbers that can be repeated.

pub mod data;
pub mod metrics;
pub mod pipeline;
pub mod rng;
pub mod runtime;
