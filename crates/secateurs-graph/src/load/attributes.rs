//! Attributes of the file as [`Attribute`]s, and what subgraphs read from outside.

use std::collections::HashSet;

use secateurs_onnx::Model;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::proto::attribute_proto::AttributeType;

use super::subgraphs;
use crate::attribute::Attribute;
use crate::error::GraphError;
use crate::subgraph::Subgraph;

/// The value of an attribute; kinds that no op of ours reads are carried as they are.
pub(super) fn read(model: &Model, proto: &AttributeProto) -> Result<Attribute, GraphError> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let value = match AttributeType::try_from(proto.r#type.unwrap_or_default()) {
        Ok(AttributeType::Int) => Some(Attribute::Int(proto.i())),
        Ok(AttributeType::Float) => Some(Attribute::Float(proto.f())),
        Ok(AttributeType::String) => text(proto.s()).map(Attribute::String),
        Ok(AttributeType::Ints) => Some(Attribute::Ints(proto.ints.clone())),
        Ok(AttributeType::Floats) => Some(Attribute::Floats(proto.floats.clone())),
        Ok(AttributeType::Strings) => {
            proto.strings.iter().map(|s| text(s)).collect::<Option<Vec<_>>>().map(Attribute::Strings)
        }
        Ok(AttributeType::Tensor) => match &proto.t {
            Some(tensor) => Some(Attribute::Tensor(model.tensor(tensor)?)),
            None => None,
        },
        Ok(AttributeType::Graph) if proto.g.is_some() => Some(Attribute::Graph(Subgraph::read(model, proto))),
        _ => None,
    };
    Ok(value.unwrap_or_else(|| Attribute::Other(Box::new(proto.clone()))))
}

/// The outer values that the subgraphs of a node read, each once.
pub(crate) fn captured_names(attributes: &[AttributeProto]) -> Vec<String> {
    let mut captured = Vec::new();
    for graph in subgraphs(attributes) {
        let mut inside: HashSet<&str> = graph.input.iter().map(|i| i.name()).collect();
        inside.extend(graph.initializer.iter().map(|t| t.name()));
        inside.extend(graph.sparse_initializer.iter().filter_map(|t| t.values.as_ref()).map(|t| t.name()));
        inside.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
        let read = graph.node.iter().flat_map(|node| {
            node.input.iter().cloned().chain(captured_names(&node.attribute)).collect::<Vec<_>>()
        });
        let read = read.chain(graph.output.iter().map(|o| o.name().to_owned()));
        for name in read {
            if !name.is_empty() && !inside.contains(name.as_str()) && !captured.contains(&name) {
                captured.push(name);
            }
        }
    }
    captured
}
