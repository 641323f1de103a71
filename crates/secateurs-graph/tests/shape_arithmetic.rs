//! What exporters compute shapes with stays symbolic from end to end.

use secateurs_graph::Graph;
use secateurs_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use secateurs_onnx::{Model, Tensor, tensor_to_proto};

/// A graph under construction with one input `x: [batch, 12, h, w]`.
struct Builder(GraphProto);

impl Builder {
    fn new() -> Builder {
        let dim = |value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() };
        let symbol = |name: &str| dim(tensor_shape_proto::dimension::Value::DimParam(name.into()));
        let twelve = dim(tensor_shape_proto::dimension::Value::DimValue(12));
        let shape = TensorShapeProto { dim: vec![symbol("batch"), twelve, symbol("h"), symbol("w")] };
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        let x = ValueInfoProto { name: Some("x".into()), r#type: Some(r#type), ..Default::default() };
        Builder(GraphProto { name: Some("shapes".into()), input: vec![x], ..Default::default() })
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Builder {
        let tensor = Tensor::from_slice(vec![values.len()], values).unwrap();
        self.0.initializer.push(tensor_to_proto(name, &tensor));
        self
    }

    fn scalar(mut self, name: &str, value: i64) -> Builder {
        self.0.initializer.push(tensor_to_proto(name, &Tensor::scalar(value)));
        self
    }

    fn node(mut self, op: &str, inputs: &[&str], output: &str, axis: Option<i64>) -> Builder {
        let attribute = axis.map(|axis| AttributeProto {
            name: Some("axis".into()),
            r#type: Some(2),
            i: Some(axis),
            ..Default::default()
        });
        self.0.node.push(NodeProto {
            name: Some(output.into()),
            op_type: Some(op.into()),
            input: inputs.iter().map(|s| (*s).into()).collect(),
            output: vec![output.into()],
            attribute: attribute.into_iter().collect(),
            ..Default::default()
        });
        self
    }

    /// The inferred fact of a value.
    fn fact(mut self, output: &str) -> String {
        self.0.output.push(ValueInfoProto { name: Some(output.into()), ..Default::default() });
        let proto = ModelProto {
            ir_version: Some(10),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
            graph: Some(self.0),
            ..Default::default()
        };
        let graph = Graph::from_model(Model::from_proto(proto, None).unwrap()).unwrap();
        format!("{:?}", graph.values[graph.outputs[0]].fact)
    }
}

#[test]
fn a_reshape_by_gathered_sizes_keeps_its_symbols() {
    let fact = Builder::new()
        .scalar("zero", 0)
        .ints("axis", &[0])
        .ints("heads", &[3, -1])
        .node("Shape", &["x"], "shape", None)
        .node("Gather", &["shape", "zero"], "batch", None)
        .node("Unsqueeze", &["batch", "axis"], "batches", None)
        .node("Concat", &["batches", "heads"], "target", Some(0))
        .node("Reshape", &["x", "target"], "y", None)
        .fact("y");
    assert_eq!(fact, "float32[batch, 3, 4*h*w]");
}

#[test]
fn slices_of_shapes_and_of_tensors_keep_their_symbols() {
    let shapes = Builder::new()
        .ints("two", &[2])
        .ints("end", &[i64::MAX])
        .node("Shape", &["x"], "shape", None)
        .node("Slice", &["shape", "two", "end"], "space", None);
    assert_eq!(shapes.fact("space"), "int64[2] = [h, w]");
    let fact = Builder::new()
        .ints("start", &[1, -1])
        .ints("end", &[i64::MAX, i64::MAX])
        .ints("axes", &[2, 3])
        .node("Slice", &["x", "start", "end", "axes"], "y", None);
    assert_eq!(fact.fact("y"), "float32[batch, 12, h-1, 1]");
}

#[test]
fn positions_by_range_expand_over_the_batch() {
    let fact = Builder::new()
        .scalar("zero", 0)
        .scalar("one", 1)
        .scalar("two", 2)
        .ints("first", &[0])
        .node("Shape", &["x"], "shape", None)
        .node("Gather", &["shape", "two"], "h", None)
        .node("Gather", &["shape", "zero"], "batch", None)
        .node("Range", &["zero", "h", "one"], "positions", None)
        .node("Unsqueeze", &["positions", "first"], "row", None)
        .node("Unsqueeze", &["batch", "first"], "batches", None)
        .node("Unsqueeze", &["h", "first"], "columns", None)
        .node("Concat", &["batches", "columns"], "target", Some(0))
        .node("Expand", &["row", "target"], "y", None)
        .fact("y");
    assert_eq!(fact, "int64[batch, h]");
}

#[test]
fn padding_computed_from_sizes_keeps_its_symbols() {
    let fact = Builder::new()
        .ints("three", &[3])
        .ints("four", &[4])
        .ints("zeros", &[0, 0, 0, 0, 0, 0, 0])
        .node("Shape", &["x"], "shape", None)
        .node("Slice", &["shape", "three", "four"], "w", None)
        .node("Concat", &["zeros", "w"], "pads", Some(0))
        .node("Pad", &["x", "pads"], "y", None)
        .fact("y");
    assert_eq!(fact, "float32[batch, 12, h, 2*w]");
}

#[test]
fn a_tensor_made_from_a_shape_has_that_shape() {
    let fact =
        Builder::new().node("Shape", &["x"], "shape", None).node("ConstantOfShape", &["shape"], "y", None);
    assert_eq!(fact.fact("y"), "float32[batch, 12, h, w]");
}

#[test]
fn one_size_computed_in_floats_leaves_the_others_known() {
    let one = |name: &str, to: i64| AttributeProto::from_int(name, to);
    let mut builder = Builder::new()
        .scalar("two", 2)
        .ints("first", &[0])
        .ints("zeros", &[0, 0, 0, 0])
        .ints("none", &[0])
        .node("Shape", &["x"], "shape", None)
        .node("Gather", &["shape", "two"], "h", None)
        .node("Cast", &["h"], "float", None)
        .node("Cast", &["two"], "divisor", None)
        .node("Div", &["float", "divisor"], "half", None)
        .node("Ceil", &["half"], "rounded", None)
        .node("Cast", &["rounded"], "rows", None)
        .node("Unsqueeze", &["rows", "first"], "pad", None)
        .node("Concat", &["zeros", "none", "none", "pad", "none"], "pads", Some(0))
        .node("Pad", &["x", "pads"], "y", None);
    for node in &mut builder.0.node {
        match node.output[0].as_str() {
            "float" | "divisor" => node.attribute.push(one("to", 1)),
            "rows" => node.attribute.push(one("to", 7)),
            _ => {}
        }
    }
    assert_eq!(builder.fact("y"), "float32[batch, 12, ?+h, w]");
}
