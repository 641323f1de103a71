//! What fuzzing runs. `fuzz/` puts libFuzzer around it (`cargo xtask fuzz`); the test of this crate runs it without any tool.
//!
//! An input is an ONNX file. Its mutations are made in the decoded message ([`mutate`]), as random bytes seldom get past the decoder, and
//! sometimes in the bytes. A target fails by a panic, by memory beyond what [`memory`] allows for the input's size, or by taking too long.

pub mod memory;
pub mod mutate;
mod rng;
mod seeds;
mod targets;

pub use seeds::{PLAN, seeds};
pub use targets::{TARGETS, Target, application, inference, reader};

#[global_allocator]
static ALLOCATOR: memory::Limited = memory::Limited;
