//! ONNX files: reading, checking and writing them. No other crate of the workspace knows protobuf.
//!
//! A [`Model`] is the decoded protobuf message plus the place it came from. Weights stay in the memory map of
//! the file: a [`Tensor`] made from `raw_data` or from external data is a slice of that map.
//!
//! ```no_run
//! # fn main() -> Result<(), secateurs_onnx::Error> {
//! use secateurs_onnx::{Model, WriteOptions, write};
//! let model = Model::read("model.onnx".as_ref())?;
//! for weight in &model.graph().initializer {
//!     let tensor = model.tensor(weight)?;
//!     println!("{} {} {:?}", weight.name(), tensor.element_type(), tensor.shape());
//! }
//! write(&model, "copy.onnx".as_ref(), &WriteOptions::default())
//! # }
//! ```
//!
//! What is checked here is the file: that it decodes, that every tensor has the data that its dims and type
//! ask for, that external data stays inside the model's folder. Whether the graph makes sense (names, order,
//! cycles, types) is the graph crate's business.
//!
//! Protobuf fields that the schema in `proto/onnx-ml.proto` does not have are dropped when reading.

mod attribute;
mod build;
mod check;
mod decode;
mod element;
mod error;
mod external;
mod minifloat;
mod model;
pub mod proto;
mod sparse;
mod tensor;
mod tensor_proto;
mod walk;
mod write;

pub use build::{ModelBuilder, value_info};
pub use bytes::Bytes;
pub use element::ElementType;
pub use error::{Error, ExternalError, TensorError};
pub use half;
pub use minifloat::{PowerRounding, SmallRounding};
pub use model::Model;
pub use tensor::{Data, Element, Tensor};
pub use tensor_proto::tensor_to_proto;
pub use walk::{Site, for_each_graph, for_each_node, for_each_tensor, for_each_tensor_mut};
pub use write::{ExternalData, Staged, WriteOptions, encode, stage, write};
