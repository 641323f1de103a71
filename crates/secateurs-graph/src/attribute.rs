//! Attributes of nodes, free of protobuf.

use secateurs_onnx::Tensor;
use secateurs_onnx::proto::AttributeProto;

use crate::op::OpError;
use crate::subgraph::Subgraph;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Tensor(Tensor),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    /// A subgraph.
    Graph(Subgraph),
    /// Carried through untouched: types, sparse tensors, lists of tensors.
    Other(Box<AttributeProto>),
}

/// The attributes of one node, as an op's `parse` reads them. An attribute read is taken out, so that what is left over
/// is what the op does not know.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Attributes(Vec<(String, Attribute)>);

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&mut self, name: &str) -> Result<Option<$type>, OpError> {
            match self.take(name) {
                None => Ok(None),
                Some(Attribute::$variant(value)) => Ok(Some(value)),
                Some(other) => Err(OpError::Invalid(format!(
                    "attribute '{name}' has the wrong type ({}; it must be {})",
                    other.kind(), stringify!($variant)
                ))),
            }
        }
    };
}

impl Attributes {
    /// These attributes, in file order.
    pub fn new(attributes: Vec<(String, Attribute)>) -> Attributes {
        Attributes(attributes)
    }

    /// Takes an attribute out.
    pub fn take(&mut self, name: &str) -> Option<Attribute> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(at).1)
    }

    reader!(/// An integer.
        int, Int, i64);
    reader!(/// A float.
        float, Float, f32);
    reader!(/// A string.
        string, String, String);
    reader!(/// A list of integers.
        ints, Ints, Vec<i64>);
    reader!(/// A list of floats.
        floats, Floats, Vec<f32>);
    reader!(/// A list of strings.
        strings, Strings, Vec<String>);
    reader!(/// A tensor.
        tensor, Tensor, Tensor);
    reader!(/// A subgraph.
        graph, Graph, Subgraph);

    /// An integer with a default.
    pub fn int_or(&mut self, name: &str, default: i64) -> Result<i64, OpError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A float with a default.
    pub fn float_or(&mut self, name: &str, default: f32) -> Result<f32, OpError> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// A boolean written as 0 or 1.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, OpError> {
        Ok(self.int(name)?.map_or(default, |n| n != 0))
    }

    /// What has not been read.
    pub fn rest(self) -> Vec<(String, Attribute)> {
        self.0
    }
}

impl Attribute {
    fn kind(&self) -> &'static str {
        match self {
            Attribute::Int(_) => "Int",
            Attribute::Float(_) => "Float",
            Attribute::String(_) => "String",
            Attribute::Tensor(_) => "Tensor",
            Attribute::Ints(_) => "Ints",
            Attribute::Floats(_) => "Floats",
            Attribute::Strings(_) => "Strings",
            Attribute::Graph(_) => "Graph",
            Attribute::Other(_) => "another kind",
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl From<$type> for Attribute {
            fn from(value: $type) -> Attribute { Attribute::$variant(value) }
        })*
    };
}
from!(i64 => Int, f32 => Float, String => String, Tensor => Tensor, Vec<i64> => Ints, Vec<f32> => Floats,
    Vec<String> => Strings, Subgraph => Graph);

impl From<&str> for Attribute {
    fn from(value: &str) -> Attribute {
        Attribute::String(value.into())
    }
}

impl From<bool> for Attribute {
    fn from(value: bool) -> Attribute {
        Attribute::Int(value.into())
    }
}
