//! Models for the tests of this crate.

#![allow(dead_code)]

use secateurs_onnx::{Bytes, ElementType, Tensor, proto::*, tensor_to_proto};

pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: text(key), value: text(value) }
}

/// A model with these initializers and no node.
pub fn with_initializers(initializer: Vec<TensorProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        opset_import: vec![OperatorSetIdProto { domain: text(""), version: Some(21) }],
        graph: Some(GraphProto { name: text("g"), initializer, ..Default::default() }),
        ..Default::default()
    }
}

/// A tensor whose data is in another file.
pub fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        name: text(name),
        dims: dims.to_vec(),
        data_type: Some(1),
        data_location: Some(1),
        external_data: entries.iter().map(|(key, value)| entry(key, value)).collect(),
        ..Default::default()
    }
}

/// A `[2, 3]` tensor of every element type.
pub fn every_element_type() -> Vec<Tensor> {
    let tensor = |&element_type: &ElementType| match element_type.byte_len(6) {
        Some(bytes) => Tensor::new(element_type, vec![2, 3], (1..=bytes as u8).collect::<Vec<_>>().into()),
        None => Tensor::from_strings(
            vec![2, 3],
            [&b"a"[..], b"", "ü".as_bytes(), b"\xFF", b"b", b"c"].map(Bytes::from),
        ),
    };
    ElementType::ALL.iter().map(|t| tensor(t).expect("six elements")).collect()
}

/// A model with something in every message of the schema, and data in every field.
pub fn everything() -> ModelProto {
    let mut initializer: Vec<_> =
        every_element_type().iter().map(|t| tensor_to_proto(t.element_type().name(), t)).collect();
    let typed = |name: &str, data_type| TensorProto {
        name: text(name),
        dims: vec![2],
        data_type: Some(data_type),
        doc_string: text("typed"),
        metadata_props: vec![entry("origin", "test")],
        ..Default::default()
    };
    initializer.extend([
        TensorProto { float_data: vec![1.5, -0.0], ..typed("floats", 1) },
        TensorProto { int32_data: vec![0x3C00, 0xFC00], ..typed("halves", 10) },
        TensorProto { int64_data: vec![i64::MIN, i64::MAX], ..typed("longs", 7) },
        TensorProto { double_data: vec![1e300, 0.1], ..typed("doubles", 11) },
        TensorProto { uint64_data: vec![0, u64::MAX], ..typed("unsigned", 13) },
        TensorProto { dims: vec![0, 7], ..typed("none", 1) },
        TensorProto { dims: vec![], float_data: vec![3.0], ..typed("scalar", 1) },
    ]);
    let sparse = SparseTensorProto {
        values: Some(TensorProto { float_data: vec![5.0, 6.0], ..typed("sparse", 1) }),
        indices: Some(TensorProto { dims: vec![2, 2], int64_data: vec![0, 1, 1, 2], ..typed("", 7) }),
        dims: vec![2, 3],
    };
    let shape = TensorShapeProto {
        dim: vec![
            tensor_shape_proto::Dimension {
                denotation: text("DATA_BATCH"),
                value: Some(tensor_shape_proto::dimension::Value::DimParam("N".to_owned())),
            },
            tensor_shape_proto::Dimension {
                denotation: None,
                value: Some(tensor_shape_proto::dimension::Value::DimValue(3)),
            },
            tensor_shape_proto::Dimension::default(),
        ],
    };
    let tensor_type = TypeProto {
        denotation: text("TENSOR"),
        value: Some(type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: Some(1),
            shape: Some(shape),
        })),
    };
    let sequence_type = TypeProto {
        value: Some(type_proto::Value::SequenceType(Box::new(type_proto::Sequence {
            elem_type: Some(Box::new(tensor_type.clone())),
        }))),
        ..Default::default()
    };
    let value = |name: &str, r#type: &TypeProto| ValueInfoProto {
        name: text(name),
        r#type: Some(r#type.clone()),
        doc_string: text("a value"),
        metadata_props: vec![entry("k", "v")],
    };
    let branch = GraphProto {
        name: text("branch"),
        initializer: vec![TensorProto { float_data: vec![7.0, 8.0], ..typed("inner", 1) }],
        output: vec![value("inner", &tensor_type)],
        ..Default::default()
    };
    let node = NodeProto {
        op_type: text("If"),
        name: text("choose"),
        input: vec!["bool".to_owned(), String::new()],
        output: vec!["y".to_owned()],
        domain: text("custom"),
        overload: text("o"),
        doc_string: text("doc"),
        metadata_props: vec![entry("pkg.torch.onnx.name_scopes", "['']")],
        attribute: vec![
            AttributeProto::from_int("i", -3),
            AttributeProto::from_float("f", 0.0),
            AttributeProto::from_string("s", &b"\xFE\xFF"[..]),
            AttributeProto::from_ints("ints", [1, 2]),
            AttributeProto::from_floats("floats", [0.5]),
            AttributeProto::from_tensor("t", TensorProto { float_data: vec![1.0, 2.0], ..typed("", 1) }),
            AttributeProto::from_graph("then_branch", branch),
            AttributeProto {
                name: text("sparse"),
                r#type: Some(attribute_proto::AttributeType::SparseTensor as i32),
                sparse_tensor: Some(sparse.clone()),
                doc_string: text("attr doc"),
                ref_attr_name: text("ref"),
                tp: Some(sequence_type.clone()),
                ..Default::default()
            },
        ],
        device_configurations: vec![NodeDeviceConfigurationProto {
            configuration_id: text("two"),
            pipeline_stage: Some(1),
            ..Default::default()
        }],
    };
    let function = FunctionProto {
        name: text("F"),
        domain: text("custom"),
        overload: text("o"),
        input: vec!["x".to_owned()],
        output: vec!["z".to_owned()],
        attribute: vec!["alpha".to_owned()],
        attribute_proto: vec![AttributeProto::from_tensor(
            "beta",
            TensorProto { float_data: vec![1.0, 2.0], ..typed("", 1) },
        )],
        node: vec![node.clone()],
        opset_import: vec![OperatorSetIdProto { domain: text(""), version: Some(20) }],
        value_info: vec![value("x", &sequence_type)],
        doc_string: text("a function"),
        metadata_props: vec![entry("f", "g")],
    };
    ModelProto {
        ir_version: Some(14),
        producer_name: text("secateurs tests"),
        producer_version: text(""),
        domain: text("org.example"),
        model_version: Some(-1),
        doc_string: text("every field"),
        metadata_props: vec![entry("author", "me"), entry("author", "again")],
        opset_import: vec![
            OperatorSetIdProto { domain: None, version: Some(21) },
            OperatorSetIdProto { domain: text("ai.onnx.ml"), version: Some(3) },
        ],
        graph: Some(GraphProto {
            name: text("main"),
            doc_string: text("graph doc"),
            initializer,
            sparse_initializer: vec![sparse],
            node: vec![node],
            input: vec![value("x", &tensor_type)],
            output: vec![value("y", &sequence_type)],
            value_info: vec![value("v", &tensor_type)],
            quantization_annotation: vec![TensorAnnotation {
                tensor_name: text("x"),
                quant_parameter_tensor_names: vec![entry("SCALE_TENSOR", "s")],
            }],
            metadata_props: vec![entry("g", "h")],
        }),
        functions: vec![function],
        training_info: vec![TrainingInfoProto {
            algorithm: Some(GraphProto {
                name: text("step"),
                initializer: vec![TensorProto { float_data: vec![0.1, 0.2], ..typed("rate", 1) }],
                ..Default::default()
            }),
            update_binding: vec![entry("w", "w_new")],
            ..Default::default()
        }],
        configuration: vec![DeviceConfigurationProto {
            name: text("two"),
            num_devices: Some(2),
            device: vec!["cpu".to_owned(), "gpu".to_owned()],
        }],
    }
}
