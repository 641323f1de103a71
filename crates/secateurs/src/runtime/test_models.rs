//! Tiny models for tests, built in code.

use secateurs_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use secateurs_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};
use secateurs_onnx::{Bytes, ElementType, Model, Tensor, encode, tensor_to_proto};

/// A value with these axes; `None` is the symbolic axis `batch`.
fn value(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|size| {
            let value = match size {
                Some(size) => dimension::Value::DimValue(*size as i64),
                None => dimension::Value::DimParam("batch".to_owned()),
            };
            Dimension { denotation: None, value: Some(value) }
        })
        .collect();
    let tensor =
        type_proto::Tensor { elem_type: Some(element_type.to_onnx()), shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { denotation: None, value: Some(type_proto::Value::TensorType(tensor)) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..ValueInfoProto::default() }
}

fn model(graph: GraphProto) -> Bytes {
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto { name: Some("test".to_owned()), ..graph }),
        ..ModelProto::default()
    };
    encode(&Model::from_proto(proto, None).unwrap()).unwrap()
}

fn node(op_type: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// `y = x` for `x: [batch, batch2]` of any element type.
pub fn identity(element_type: ElementType) -> Bytes {
    let mut input = value("x", element_type, &[]);
    let mut output = value("y", element_type, &[]);
    for value in [&mut input, &mut output] {
        if let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_mut().and_then(|r#type| r#type.value.as_mut())
        {
            tensor.shape = None;
        }
    }
    model(GraphProto {
        node: vec![node("Identity", &["x"], "y")],
        input: vec![input],
        output: vec![output],
        ..GraphProto::default()
    })
}

/// `y = x · w` for `x: [batch, inputs]`, with the weights 0, 1, 2, … in `w: [inputs, outputs]`.
pub fn linear(inputs: usize, outputs: usize) -> Bytes {
    let weights: Vec<f32> = (0..inputs * outputs).map(|v| v as f32).collect();
    let weights = Tensor::from_slice(vec![inputs, outputs], &weights).unwrap();
    model(GraphProto {
        node: vec![node("MatMul", &["x", "w"], "y")],
        initializer: vec![tensor_to_proto("w", &weights)],
        input: vec![value("x", ElementType::Float32, &[None, Some(inputs)])],
        output: vec![value("y", ElementType::Float32, &[None, Some(outputs)])],
        ..GraphProto::default()
    })
}
