//! Small models made in code, for tests, benchmarks and examples.

use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use crate::{ElementType, Error, Model, Tensor, tensor_to_proto};

/// A model that is built node by node.
///
/// ```
/// # fn main() -> Result<(), secateurs_onnx::Error> {
/// use secateurs_onnx::{ElementType, ModelBuilder};
/// let model = ModelBuilder::new(17)
///     .input("x", ElementType::Float32, &["batch", "4"])
///     .node("Relu", &["x"], &["y"])
///     .output("y")
///     .build()?;
/// assert_eq!(model.graph().node.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    proto: ModelProto,
    graph: GraphProto,
}

impl ModelBuilder {
    /// A model of IR version 10 that imports this version of the standard ops.
    pub fn new(opset: i64) -> ModelBuilder {
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(opset) }];
        ModelBuilder {
            proto: ModelProto { ir_version: Some(10), opset_import, ..ModelProto::default() },
            graph: GraphProto { name: Some("graph".into()), ..GraphProto::default() },
        }
    }

    /// Imports another domain's ops.
    pub fn domain(mut self, domain: &str, version: i64) -> ModelBuilder {
        let import = OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
        self.proto.opset_import.push(import);
        self
    }

    /// An input; sizes are numbers or names.
    pub fn input(mut self, name: &str, element_type: ElementType, sizes: &[&str]) -> ModelBuilder {
        self.graph.input.push(value_info(name, element_type, sizes));
        self
    }

    /// An initializer.
    pub fn constant(mut self, name: &str, tensor: &Tensor) -> ModelBuilder {
        self.graph.initializer.push(tensor_to_proto(name, tensor));
        self
    }

    /// A node, named after its first output; an empty input is left out.
    pub fn node(self, op: &str, inputs: &[&str], outputs: &[&str]) -> ModelBuilder {
        self.node_with(op, inputs, outputs, Vec::new())
    }

    /// A node with attributes.
    pub fn node_with(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> ModelBuilder {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let (domain, op) =
            op.split_once("::").map_or((None, op), |(domain, op)| (Some(domain.to_owned()), op));
        self.graph.node.push(NodeProto {
            name: outputs.first().map(|output| format!("make_{output}")),
            op_type: Some(op.into()),
            domain,
            input: names(inputs),
            output: names(outputs),
            attribute,
            ..NodeProto::default()
        });
        self
    }

    /// An output, without a declared type.
    pub fn output(mut self, name: &str) -> ModelBuilder {
        self.graph.output.push(ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() });
        self
    }

    /// The message, for tests that break it.
    pub fn proto(mut self) -> ModelProto {
        self.proto.graph = Some(self.graph);
        self.proto
    }

    /// The checked model.
    pub fn build(self) -> Result<Model, Error> {
        Model::from_proto(self.proto(), None)
    }
}

/// What a graph says of a value; sizes are numbers or names.
pub fn value_info(name: &str, element_type: ElementType, sizes: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dims = sizes.iter().map(|size| {
        let value = size.parse().map_or_else(|_| Value::DimParam((*size).to_owned()), Value::DimValue);
        Dimension { value: Some(value), ..Dimension::default() }
    });
    let tensor = type_proto::Tensor {
        elem_type: Some(element_type.to_onnx()),
        shape: Some(TensorShapeProto { dim: dims.collect() }),
    };
    let r#type =
        Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..ValueInfoProto::default() }
}
