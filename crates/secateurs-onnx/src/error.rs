//! What can go wrong with a file or a tensor. A message says what failed, on what, and what to do; it is
//! complete without the chain of `source`.

use std::{io, path::PathBuf};

use crate::ElementType;

/// An ONNX file could not be read, used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {cause}", path.display())]
    Io {
        /// What was tried: "open", "write", …
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A folder, a device or a pipe in place of a file.
    #[error("`{}` is {kind}, not a file; give the path of the .onnx file", path.display())]
    NotAFile {
        /// The path given.
        path: PathBuf,
        /// What is there.
        kind: &'static str,
    },
    /// Nothing in it.
    #[error("`{file}` is empty; download or export the model again")]
    Empty {
        /// The model's file.
        file: String,
    },
    /// Something else than an ONNX model.
    #[error("`{file}` is not an ONNX model: {looks_like}")]
    NotOnnx {
        /// The model's file.
        file: String,
        /// What it is instead and what to do.
        looks_like: String,
    },
    /// It starts like an ONNX model, and then does not decode.
    #[error("`{file}` is damaged: {cause}; download or export the model again")]
    Damaged {
        /// The model's file.
        file: String,
        /// Where decoding stopped.
        cause: String,
    },
    /// Messages nested more deeply than protobuf's limit of 100.
    #[error(
        "`{file}` nests graphs or types too deeply: protobuf allows 100 levels of messages (about 30 subgraphs \
         inside one another); flatten its If, Loop and Scan nodes"
    )]
    TooDeep {
        /// The model's file.
        file: String,
    },
    /// A field of the model itself is missing or out of range.
    #[error("`{file}`: {problem}")]
    Model {
        /// The model's file.
        file: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A tensor's message contradicts itself.
    #[error("`{file}`: {tensor}: {problem}; export the model again")]
    Tensor {
        /// The model's file.
        file: String,
        /// Which tensor, and where.
        tensor: String,
        /// What is wrong with it.
        problem: TensorError,
    },
    /// A tensor's external data cannot be used.
    #[error("`{file}`: {tensor}: external data `{location}`: {problem}")]
    External {
        /// The model's file.
        file: String,
        /// Which tensor, and where.
        tensor: String,
        /// The location as written in the model.
        location: String,
        /// What is wrong with it and what to do.
        problem: ExternalError,
    },
    /// Over protobuf's limit.
    #[error(
        "`{file}` would take {size_bytes} bytes, and a protobuf message is limited to {limit_bytes}; {advice}"
    )]
    TooLarge {
        /// The model's file.
        file: String,
        /// What it would take.
        size_bytes: u64,
        /// What is allowed.
        limit_bytes: u64,
        /// What to do.
        advice: &'static str,
    },
}

/// A tensor's type, shape and data do not fit together, or it was asked for what it has not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// Not one of `TensorProto.DataType`.
    #[error("has element type number {0}, which ONNX does not define (1 to 28 are known)")]
    UnknownType(i32),
    /// A negative dim.
    #[error("has a negative dim in its shape {0:?}")]
    NegativeDim(Vec<i64>),
    /// More elements than can be addressed.
    #[error("has shape {0:?}, whose number of elements overflows")]
    ShapeOverflow(Vec<i64>),
    /// Too few or too many bytes for the shape.
    #[error("{element_type} {shape:?} takes {expected} bytes, but there are {found}")]
    WrongByteCount {
        /// Its type.
        element_type: ElementType,
        /// Its shape.
        shape: Vec<usize>,
        /// What the shape asks for.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Too few or too many entries of a typed field for the shape.
    #[error("{element_type} {shape:?} takes {expected} entries of `{field}`, but there are {found}")]
    WrongEntryCount {
        /// Its type.
        element_type: ElementType,
        /// Its shape.
        shape: Vec<usize>,
        /// The field of `TensorProto` which holds this type.
        field: &'static str,
        /// What the shape asks for.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// An entry of a typed field is too large for the element type.
    #[error("entry {index} of `{field}` is {value}, which no {element_type} holds")]
    OutOfRange {
        /// Its type.
        element_type: ElementType,
        /// The field of `TensorProto`.
        field: &'static str,
        /// Which entry.
        index: usize,
        /// Its value.
        value: i128,
    },
    /// Strings cannot be raw bytes.
    #[error("is a string tensor, and strings must be in `string_data`, not in raw or external data")]
    RawStrings,
    /// Part of a tensor, which ONNX defines and no tool supports.
    #[error("is a segment of a larger tensor, which is not supported")]
    Segment,
    /// A data location other than DEFAULT and EXTERNAL.
    #[error("has data location {0}, which ONNX does not define")]
    UnknownLocation(i32),
    /// Read as another type than it has.
    #[error("is {found}, and {wanted} was asked for")]
    WrongType {
        /// What it is.
        found: ElementType,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A sparse tensor that does not hold together.
    #[error("is a sparse tensor {0}")]
    Sparse(String),
}

/// External data cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// No `location` key.
    #[error("the tensor names no location; export the model again")]
    NoLocation,
    /// An absolute path, a `..`, or a link that leads out.
    #[error("{0}; put the file into the model's folder and name it by a relative path")]
    Outside(&'static str),
    /// The model was read from memory.
    #[error("the model was read from memory, so there is no folder to look in; give the model's folder")]
    NoFolder,
    /// It is not there.
    #[error("there is no such file in `{}`; it must be beside the model", folder.display())]
    Missing {
        /// The model's folder.
        folder: PathBuf,
    },
    /// It is a folder, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// The operating system refused.
    #[error("cannot read it: {0}")]
    Io(io::Error),
    /// An offset or length that is no number.
    #[error("its {key} is `{value}`, which is no number of bytes; export the model again")]
    NotANumber {
        /// "offset" or "length".
        key: &'static str,
        /// As written.
        value: String,
    },
    /// Past the end of the file.
    #[error(
        "bytes {offset} to {offset} + {length} are asked for, and the file has {file_bytes}; the file is \
         truncated or belongs to another model"
    )]
    PastEnd {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// What the file has.
        file_bytes: u64,
    },
}
