//! Secateurs makes trained neural networks smaller and faster without losing what they learned.
//!
//! - [`data`] reads samples in the form that a model takes.
//! - [`methods`] say what units are worth, and [`search`] chooses among them under a budget; a [`plan`] is the choice as a
//!   file.
//! - [`latency`] says how long a choice would take, before it is made.
//! - [`evidence`] is what units are worth, measured on data.
//! - [`pipeline`] has the steps, one function each.
//! - [`tune`](mod@tune) trains models in the interpreter.
//! - [`metrics`] says how good a model's outputs are.
//! - [`run`] is the directory of a run, and [`recipe`] its settings as a file.
//! - [`runtime`] runs models in ONNX Runtime, compares outputs and measures latency.
//! - [`resizable`](mod@resizable) says which inputs and outputs shrink with the units that they carry.
//! - [`report`] makes a page of what a run did, with numbers in one [`format`](mod@format).
//! - [`rng`] draws random numbers that can be repeated.

pub mod compensate;
pub mod data;
pub mod evidence;
pub mod format;
mod glob;
pub mod implants;
pub mod latency;
pub mod methods;
pub mod metrics;
pub mod pipeline;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod resizable;
pub mod rng;
pub mod run;
pub mod runtime;
pub mod search;
pub mod tune;
mod whole;
