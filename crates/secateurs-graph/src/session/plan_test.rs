//! Sizes that only the run tells.

use std::sync::Arc;

use secateurs_onnx::Tensor;
use secateurs_onnx::proto::{
    NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

use super::{Session, SessionOptions};
use crate::graph::Graph;
use crate::harness::Case;
use crate::ops::Conv;

#[test]
fn an_op_checks_shapes_that_only_the_run_tells() {
    let mut model = Case::new(13).float([2, 3, 5]).param([4, 3, 2]).model::<Conv>(false);
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node[0].input[0] = "reshaped".into();
    let reshape = NodeProto {
        op_type: Some("Reshape".into()),
        input: vec!["x0".into(), "shape".into()],
        output: vec!["reshaped".into()],
        ..Default::default()
    };
    graph.node.insert(0, reshape);
    let dim = tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimParam("rank".into())),
        ..Default::default()
    };
    let int64 = secateurs_onnx::ElementType::Int64.to_onnx();
    let tensor =
        type_proto::Tensor { elem_type: Some(int64), shape: Some(TensorShapeProto { dim: vec![dim] }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    graph.input.push(ValueInfoProto { name: Some("shape".into()), r#type, ..Default::default() });

    let graph = Arc::new(Graph::from_model(model).unwrap());
    let session = Session::new(graph, SessionOptions::default()).unwrap();
    let x = Tensor::from_slice(vec![2, 3, 5], &[1f32; 30]).unwrap();
    let run = |shape: &[i64]| {
        let shape = Tensor::from_slice(vec![shape.len()], shape).unwrap();
        session.run(&[x.clone(), shape]).map_err(|e| e.to_string())
    };
    assert_eq!(run(&[2, 3, 5]).unwrap()[0].shape(), [2, 4, 4]);
    assert_eq!(run(&[5, 3, 2]).unwrap()[0].shape(), [5, 4, 1]);
    let error = run(&[30]).unwrap_err();
    assert!(error.contains("the input has 1 axes"), "{error}");
}
