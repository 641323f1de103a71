//! What fuzzing runs: the test of this crate some thousand times with every target, `cargo xtask fuzz` a million times. It needs no
//! other tool. Inputs that once failed are kept in `corpus/`.
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
