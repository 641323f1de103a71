//! The graph of an ONNX model: what its ops are, what shapes flow, how axes depend on each other, how to change it as a
//! whole or not at all, and how to run it on libtorch.
//!
//! Invariants: this crate names no compression method; protobuf types appear only where a graph is read and written
//! ([`load`], [`save`]); an op is one file in [`ops`]; every change is a [`Patch`](patch::Patch).
//! Without the feature `torch` everything but evaluation works.

pub mod attribute;
pub mod axes;
pub mod cost;
pub mod coupling;
pub mod dim;
pub mod error;
pub mod fact;
pub mod graph;
#[cfg(any(test, feature = "harness"))]
pub mod harness;
pub mod hash;
pub mod infer;
pub mod load;
pub mod lookup;
pub mod op;
pub mod ops;
pub mod patch;
pub mod rewrite;
pub mod rows;
pub mod samples;
pub mod save;
#[cfg(feature = "torch")]
pub mod session;
pub mod shrink;
pub mod subgraph;
pub mod surgery;
pub mod verify;

pub use dim::{Bindings, Dim};
pub use error::GraphError;
pub use fact::{Content, Fact, Shape};
pub use graph::{Graph, Node, NodeId, Source, Value, ValueId};
pub use op::{Op, OpError};
