//! Models whose weights are 16-bit floats, between casts from and to 32 bits.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model, Tensor};

use crate::net::{Bench, Net, close, in_onnx_runtime, input, run};

/// Convolutions, a batch norm, and a linear layer.
fn convolutions(element_type: ElementType, rounded: ElementType) -> (Model, Vec<Tensor>) {
    let net = Net::of(17, element_type, rounded)
        .input("x", &["batch", "3", "8", "8"])
        .lowered("x", "x16")
        .conv("x16", "one", [8, 3], 3, "a")
        .batch_norm("a", "norm", 8, "b")
        .node("Relu", &["b"], "c")
        .conv("c", "two", [6, 8], 3, "d")
        .node("Relu", &["d"], "e")
        .node("GlobalAveragePool", &["e"], "f")
        .node("Flatten", &["f"], "g")
        .param("head.weight", &[4, 6])
        .param("head.bias", &[4])
        .with("Gemm", &["g", "head.weight", "head.bias"], &["h"], vec![AttributeProto::from_int("transB", 1)])
        .cast("h", ElementType::Float32, "y");
    (net.done(&["y"]), vec![input("x", &[2, 3, 8, 8])])
}

/// A block of a transformer: layer norm, four heads of two, neurons.
fn transformer(element_type: ElementType, rounded: ElementType) -> (Model, Vec<Tensor>) {
    let mut net = Net::of(17, element_type, rounded)
        .input("x", &["batch", "5", "8"])
        .lowered("x", "x16")
        .positive("one.scale", &[8])
        .param("one.bias", &[8])
        .node("LayerNormalization", &["x16", "one.scale", "one.bias"], "n")
        .ints("heads", &[0, -1, 4, 2])
        .ints("merged", &[0, -1, 8]);
    let perm = |order: [i64; 4]| vec![AttributeProto::from_ints("perm", order.to_vec())];
    for part in ["q", "k", "v"] {
        let n = |suffix: &str| format!("{part}{suffix}");
        net = net.dense("n", part, [8, 8], &n("1")).node("Reshape", &[&n("1"), "heads"], &n("2")).with(
            "Transpose",
            &[&n("2")],
            &[&n("4")],
            perm([0, 2, 1, 3]),
        );
    }
    net = net
        .with("Transpose", &["k4"], &["kt"], perm([0, 1, 3, 2]))
        .node("MatMul", &["q4", "kt"], "qk")
        .number("root", 1.4)
        .node("Div", &["qk", "root"], "scores")
        .with("Softmax", &["scores"], &["p"], vec![AttributeProto::from_int("axis", -1)])
        .node("MatMul", &["p", "v4"], "av")
        .with("Transpose", &["av"], &["avt"], perm([0, 2, 1, 3]))
        .node("Reshape", &["avt", "merged"], "am")
        .dense("am", "o", [8, 8], "attended")
        .node("Add", &["x16", "attended"], "r")
        .dense("r", "up", [8, 12], "u")
        .node("Sigmoid", &["u"], "s")
        .node("Mul", &["u", "s"], "silu")
        .dense("silu", "down", [12, 8], "d")
        .node("Add", &["r", "d"], "z")
        .cast("z", ElementType::Float32, "y");
    (net.done(&["y"]), vec![input("x", &[2, 5, 8])])
}

/// Whether all parameters of a graph that are floats are of this type.
fn all_of(graph: &Graph, element_type: ElementType) -> bool {
    let mut types = graph.parameters().into_iter().map(|p| graph.tensor(p.value).unwrap().element_type());
    types.all(|t| t == element_type)
}

type Make = fn(ElementType, ElementType) -> (Model, Vec<Tensor>);
const MODELS: [Make; 2] = [convolutions, transformer];

#[test]
fn models_of_f16_run_as_in_onnx_runtime_and_are_pruned_exactly_in_their_type() {
    for make in MODELS {
        let (model, inputs) = make(ElementType::Float16, ElementType::Float16);
        let bench = Bench::new(&model);
        assert!(all_of(&bench.graph, ElementType::Float16));
        let ours = run(&bench.graph, &inputs, Precision::Single);
        let theirs = in_onnx_runtime(&bench.path(), &bench.graph, &inputs).unwrap();
        close(&ours, &theirs, 4e-3, "f16 in ONNX Runtime");
        bench.exact(&inputs, &[], true);
        assert!(all_of(&Graph::read(&bench.smaller()).unwrap(), ElementType::Float16));
    }
}

#[test]
fn models_of_bf16_run_as_their_twin_of_f32_and_are_pruned_exactly_in_their_type() {
    for make in MODELS {
        let (model, inputs) = make(ElementType::Bfloat16, ElementType::Bfloat16);
        let bench = Bench::new(&model);
        let (twin, _) = make(ElementType::Float32, ElementType::Bfloat16);
        let twin = Bench::new(&twin);
        let expected = in_onnx_runtime(&twin.path(), &twin.graph, &inputs).unwrap();
        close(&run(&bench.graph, &inputs, Precision::Single), &expected, 4e-2, "the twin of f32");
        // Where values are held in 32 bits, as for training, the parameters alone are of 16.
        let options = SessionOptions { train_parameters: true, ..SessionOptions::default() };
        let held = Session::new(Arc::new(bench.graph.clone()), options).unwrap().run(&inputs).unwrap();
        close(&held, &expected, 1e-5, "the twin of f32");
        bench.exact(&inputs, &[], false);
        assert!(all_of(&Graph::read(&bench.smaller()).unwrap(), ElementType::Bfloat16));
    }
}
