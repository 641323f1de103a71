//! What mutations start from: the cases in the ops' files, and small models whose units can be pruned, with plans in their metadata.

use bytes::Bytes;
use prost::Message;
use secateurs_graph::ops::REGISTRY;
use secateurs_onnx::proto::{AttributeProto, ModelProto, StringStringEntryProto, TensorProto};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, encode, value_info};

use crate::rng::Rng;

/// The metadata entry in which an input carries a plan.
pub const PLAN: &str = "plan";

/// Models by name.
pub fn seeds() -> Vec<(String, Bytes)> {
    let mut seeds = Vec::new();
    for entry in REGISTRY {
        for (i, (_, model)) in (entry.cases)().into_iter().enumerate() {
            let bytes = encode(&model).expect("cases are small");
            seeds.push((format!("{}-{i}", entry.name), bytes));
        }
    }
    for (name, model) in [
        ("mlp", mlp()),
        ("cnn", cnn()),
        ("attention", attention()),
        ("branches", branches()),
        ("function", function()),
        ("typed-fields", typed_fields()),
        ("sparse", sparse()),
    ] {
        seeds.push((name.to_owned(), model.encode_to_vec().into()));
    }
    seeds
}

fn random(shape: &[usize], rng: &mut Rng) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.below(17) as f32 / 8.0 - 1.0).collect();
    Tensor::from_slice(shape.to_vec(), &values).expect("as many as the shape says")
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::from_slice(vec![values.len()], values).expect("as many as the shape says")
}

fn with_plan(mut model: ModelProto, plan: &str) -> ModelProto {
    let entry = StringStringEntryProto { key: Some(PLAN.into()), value: Some(plan.into()) };
    model.metadata_props.push(entry);
    model
}

fn plan(groups: &str, implants: &str) -> String {
    format!(
        r#"{{"format_version":2,"secateurs":"0.1.0","model":{{"file":"m.onnx","hash":"","parameters":40,"macs":40,"sizes":{{}}}},
"asked":{{"method":"random","seed":0,"keep":["units=0.5"],"scope":"global","split":"outer","max_removed":1.0,"multiple_of":null,"allow_inexact":true}},
"reached":{{}},"groups":[{groups}],"implants":[{implants}]}}"#
    )
}

fn mlp() -> ModelProto {
    let mut rng = Rng::new(1);
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &random(&[4, 6], &mut rng))
        .constant("b", &random(&[6], &mut rng))
        .constant("v", &random(&[6, 3], &mut rng))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "b"], &["i"])
        .node("Relu", &["i"], &["j"])
        .node("MatMul", &["j", "v"], &["y"])
        .output("y")
        .proto();
    let group = r#"{"kind":"neurons","parameters":["w[1]","b[0]","v[0]"],"units":6,"kept":[0,2,3,5],"implanted":[2]}"#;
    with_plan(model, &plan(group, r#"{"node":"make_h","form":"low_rank","rank":1,"bias":true}"#))
}

/// Convolutions with a residual sum, a concatenation, groups, a batch norm and a classifier behind shape arithmetic.
fn cnn() -> ModelProto {
    let mut rng = Rng::new(2);
    let pads = || vec![AttributeProto::from_ints("pads", vec![1, 1, 1, 1])];
    let grouped = || [pads(), vec![AttributeProto::from_int("group", 2)]].concat();
    let mut builder = ModelBuilder::new(18)
        .input("x", ElementType::Float32, &["batch", "2", "h", "w"])
        .constant("c1", &random(&[4, 2, 3, 3], &mut rng))
        .constant("c2", &random(&[4, 2, 3, 3], &mut rng))
        .constant("c3", &random(&[4, 4, 1, 1], &mut rng))
        .constant("dense", &random(&[3, 8], &mut rng))
        .constant("bias", &random(&[3], &mut rng));
    for name in ["gamma", "beta", "mean", "var"] {
        builder = builder.constant(name, &random(&[4], &mut rng));
    }
    builder
        .node_with("Conv", &["x", "c1"], &["a"], pads())
        .node("BatchNormalization", &["a", "gamma", "beta", "mean", "var"], &["n"])
        .node("Relu", &["n"], &["r"])
        .node_with("Conv", &["r", "c2"], &["g"], grouped())
        .node("Conv", &["g", "c3"], &["p"])
        .node("Add", &["p", "r"], &["s"])
        .node_with("Concat", &["s", "g"], &["c"], vec![AttributeProto::from_int("axis", 1)])
        .node("GlobalAveragePool", &["c"], &["m"])
        .node_with("Flatten", &["m"], &["f"], vec![])
        .node_with("Gemm", &["f", "dense", "bias"], &["y"], vec![AttributeProto::from_int("transB", 1)])
        .output("y")
        .proto()
}

/// Two heads of two dimensions, with a layer norm and sizes computed from the input.
fn attention() -> ModelProto {
    let mut rng = Rng::new(3);
    let mut builder = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "time", "4"])
        .constant("gamma", &random(&[4], &mut rng))
        .constant("beta", &random(&[4], &mut rng))
        .constant("out", &random(&[4, 4], &mut rng))
        .constant("zero", &ints(&[0]))
        .constant("two", &ints(&[2]))
        .constant("heads", &ints(&[2, 2]))
        .constant("width", &ints(&[4]))
        .node("LayerNormalization", &["x", "gamma", "beta"], &["n"])
        .node("Shape", &["x"], &["shape"])
        .node("Slice", &["shape", "zero", "two"], &["front"])
        .node_with("Concat", &["front", "heads"], &["split"], vec![AttributeProto::from_int("axis", 0)])
        .node_with("Concat", &["front", "width"], &["whole"], vec![AttributeProto::from_int("axis", 0)]);
    for (name, perm) in [("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])] {
        let [weight, flat, parts] = ["weight", "flat", "parts"].map(|part| format!("{name}.{part}"));
        builder = builder
            .constant(&weight, &random(&[4, 4], &mut rng))
            .node("MatMul", &["n", &weight], &[&flat])
            .node("Reshape", &[&flat, "split"], &[&parts])
            .node_with(
                "Transpose",
                &[&parts],
                &[name],
                vec![AttributeProto::from_ints("perm", perm.to_vec())],
            );
    }
    builder
        .node("MatMul", &["q", "k"], &["scores"])
        .node_with("Softmax", &["scores"], &["p"], vec![AttributeProto::from_int("axis", -1)])
        .node("MatMul", &["p", "v"], &["mixed"])
        .node_with(
            "Transpose",
            &["mixed"],
            &["back"],
            vec![AttributeProto::from_ints("perm", vec![0, 2, 1, 3])],
        )
        .node("Reshape", &["back", "whole"], &["flat"])
        .node("MatMul", &["flat", "out"], &["o"])
        .node("Add", &["o", "x"], &["y"])
        .output("y")
        .proto()
}

fn branches() -> ModelProto {
    let mut rng = Rng::new(4);
    let branch = |name: &str, op: &str| {
        let body = ModelBuilder::new(16).node(op, &["h"], &[name]).proto().graph.unwrap_or_default();
        let output = vec![value_info(name, ElementType::Float32, &["batch", "4"])];
        secateurs_onnx::proto::GraphProto { name: Some(name.into()), output, ..body }
    };
    let attributes = vec![
        AttributeProto::from_graph("then_branch", branch("then", "Relu")),
        AttributeProto::from_graph("else_branch", branch("else", "Neg")),
    ];
    ModelBuilder::new(16)
        .input("x", ElementType::Float32, &["batch", "4"])
        .input("flag", ElementType::Bool, &[])
        .constant("w", &random(&[4, 4], &mut rng))
        .node("MatMul", &["x", "w"], &["h"])
        .node_with("If", &["flag"], &["y"], attributes)
        .output("y")
        .proto()
}

/// A function that calls another.
fn function() -> ModelProto {
    use secateurs_onnx::proto::{FunctionProto, NodeProto, OperatorSetIdProto};
    let node = |op: &str, domain: &str, input: &[&str], output: &str| NodeProto {
        op_type: Some(op.into()),
        domain: Some(domain.into()),
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let own = |name: &str, nodes: Vec<NodeProto>| FunctionProto {
        name: Some(name.into()),
        domain: Some("own".into()),
        input: vec!["a".into()],
        output: vec!["c".into()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        ..FunctionProto::default()
    };
    let mut model = ModelBuilder::new(17)
        .domain("own", 1)
        .input("x", ElementType::Float32, &["batch", "4"])
        .node("own::Twice", &["x"], &["y"])
        .output("y")
        .proto();
    model.functions = vec![
        own("Twice", vec![node("Once", "own", &["a"], "b"), node("Once", "own", &["b"], "c")]),
        own("Once", vec![node("Add", "", &["a", "a"], "b"), node("Relu", "", &["b"], "c")]),
    ];
    model
}

fn typed(name: &str, data_type: ElementType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(data_type.to_onnx()),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

fn typed_fields() -> ModelProto {
    let mut model = ModelBuilder::new(21)
        .input("x", ElementType::Float32, &["2"])
        .node("Add", &["x", "floats"], &["y"])
        .output("y")
        .proto();
    let graph = model.graph.get_or_insert_default();
    graph.initializer = vec![
        TensorProto { float_data: vec![1.0, 2.0], ..typed("floats", ElementType::Float32, &[2]) },
        TensorProto { int32_data: vec![0x3C00, 0], ..typed("halves", ElementType::Float16, &[2]) },
        TensorProto { int64_data: vec![-1, 1], ..typed("longs", ElementType::Int64, &[2]) },
        TensorProto { double_data: vec![0.5], ..typed("double", ElementType::Float64, &[]) },
        TensorProto { uint64_data: vec![u64::MAX], ..typed("wide", ElementType::Uint64, &[1]) },
        TensorProto { int32_data: vec![0x21], ..typed("narrow", ElementType::Int4, &[2]) },
        TensorProto { string_data: vec!["a".into()], ..typed("text", ElementType::String, &[1]) },
    ];
    model
}

fn sparse() -> ModelProto {
    let mut model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "3"])
        .node("MatMul", &["x", "w"], &["y"])
        .output("y")
        .proto();
    model.graph.get_or_insert_default().sparse_initializer = vec![secateurs_onnx::proto::SparseTensorProto {
        values: Some(TensorProto { float_data: vec![1.0, 2.0], ..typed("w", ElementType::Float32, &[2]) }),
        indices: Some(TensorProto { int64_data: vec![0, 4], ..typed("", ElementType::Int64, &[2]) }),
        dims: vec![3, 2],
    }];
    model
}
