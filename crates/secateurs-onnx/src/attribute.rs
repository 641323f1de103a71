//! Reading and making node attributes.
//!
//! The getters look at `type` where it is set. Files of IR version 1 have no `type`; there the field that is
//! present decides. Writers of protobuf's third version leave out zeros and empty strings, so a field that its
//! `type` announces and that is absent is that.

use bytes::Bytes;

use crate::proto::{
    AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, attribute_proto::AttributeType,
};

impl NodeProto {
    /// The attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }
}

impl AttributeProto {
    /// Whether it holds this type: as its `type` says, or `present` where that is not set.
    fn holds(&self, wanted: AttributeType, present: bool) -> bool {
        match self.r#type() {
            AttributeType::Undefined => present,
            found => found == wanted,
        }
    }

    /// The value of an INT attribute.
    pub fn as_int(&self) -> Option<i64> {
        self.holds(AttributeType::Int, self.i.is_some()).then(|| self.i())
    }

    /// The value of a FLOAT attribute.
    pub fn as_float(&self) -> Option<f32> {
        self.holds(AttributeType::Float, self.f.is_some()).then(|| self.f())
    }

    /// The value of a STRING attribute, as bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.holds(AttributeType::String, self.s.is_some()).then(|| self.s())
    }

    /// The value of a STRING attribute; `None` too when it is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The value of an INTS attribute.
    pub fn as_ints(&self) -> Option<&[i64]> {
        self.holds(AttributeType::Ints, !self.ints.is_empty()).then_some(&self.ints[..])
    }

    /// The value of a FLOATS attribute.
    pub fn as_floats(&self) -> Option<&[f32]> {
        self.holds(AttributeType::Floats, !self.floats.is_empty()).then_some(&self.floats[..])
    }

    /// The value of a STRINGS attribute.
    pub fn as_strings(&self) -> Option<&[Bytes]> {
        self.holds(AttributeType::Strings, !self.strings.is_empty()).then_some(&self.strings[..])
    }

    /// The value of a TENSOR attribute.
    pub fn as_tensor(&self) -> Option<&TensorProto> {
        self.t.as_ref().filter(|_| self.holds(AttributeType::Tensor, true))
    }

    /// The value of a SPARSE_TENSOR attribute.
    pub fn as_sparse_tensor(&self) -> Option<&SparseTensorProto> {
        self.sparse_tensor.as_ref().filter(|_| self.holds(AttributeType::SparseTensor, true))
    }

    /// The value of a GRAPH attribute.
    pub fn as_graph(&self) -> Option<&GraphProto> {
        self.g.as_ref().filter(|_| self.holds(AttributeType::Graph, true))
    }

    /// An INT attribute.
    pub fn from_int(name: &str, value: i64) -> Self {
        AttributeProto { i: Some(value), ..Self::named(name, AttributeType::Int) }
    }

    /// A FLOAT attribute.
    pub fn from_float(name: &str, value: f32) -> Self {
        AttributeProto { f: Some(value), ..Self::named(name, AttributeType::Float) }
    }

    /// A STRING attribute.
    pub fn from_string(name: &str, value: impl Into<Bytes>) -> Self {
        AttributeProto { s: Some(value.into()), ..Self::named(name, AttributeType::String) }
    }

    /// An INTS attribute.
    pub fn from_ints(name: &str, value: impl Into<Vec<i64>>) -> Self {
        AttributeProto { ints: value.into(), ..Self::named(name, AttributeType::Ints) }
    }

    /// A FLOATS attribute.
    pub fn from_floats(name: &str, value: impl Into<Vec<f32>>) -> Self {
        AttributeProto { floats: value.into(), ..Self::named(name, AttributeType::Floats) }
    }

    /// A TENSOR attribute.
    pub fn from_tensor(name: &str, value: TensorProto) -> Self {
        AttributeProto { t: Some(value), ..Self::named(name, AttributeType::Tensor) }
    }

    /// A GRAPH attribute.
    pub fn from_graph(name: &str, value: GraphProto) -> Self {
        AttributeProto { g: Some(value), ..Self::named(name, AttributeType::Graph) }
    }

    fn named(name: &str, r#type: AttributeType) -> Self {
        AttributeProto { name: Some(name.to_owned()), r#type: Some(r#type as i32), ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_decides_and_absent_values_are_zero() {
        let node = NodeProto {
            attribute: vec![AttributeProto::from_int("axis", -1), AttributeProto::from_ints("pads", [])],
            ..Default::default()
        };
        assert_eq!(node.attribute("axis").and_then(AttributeProto::as_int), Some(-1));
        assert_eq!(node.attribute("axis").and_then(AttributeProto::as_float), None);
        assert_eq!(node.attribute("pads").and_then(AttributeProto::as_ints), Some(&[][..]));
        assert!(node.attribute("group").is_none());
        let zero = AttributeProto { i: None, ..AttributeProto::from_int("axis", 0) };
        assert_eq!(zero.as_int(), Some(0));
    }

    #[test]
    fn without_type_the_field_present_decides() {
        let untyped = AttributeProto { r#type: None, ..AttributeProto::from_float("alpha", 0.5) };
        assert_eq!(untyped.as_float(), Some(0.5));
        assert_eq!(untyped.as_int(), None);
        assert_eq!(untyped.as_str(), None);
    }
}
