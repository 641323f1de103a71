//! Parameters start anew by what reads them; what is no parameter stays.

use std::collections::BTreeMap;

use secateurs_graph::Graph;
use secateurs_graph::harness::Input;
use secateurs_graph::op::{Initial, InputRole};
use secateurs_graph::ops::REGISTRY;
use secateurs_graph::rewrite::{Law, is_sequence, reinitialize};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Noise, batch_norm, graph, run, stored};

const F32: ElementType = ElementType::Float32;

/// Irwin–Hall for the normal law: near enough for moments.
fn draw(seed: u64) -> impl FnMut(u64, Law, usize) -> Vec<f64> {
    move |parameter, law, n| {
        let mut noise = Noise::new(seed * 1000 + parameter + 1);
        let mut number = || match law {
            Law::Normal => (0..12).map(|_| noise.between(-0.5, 0.5)).sum(),
            Law::Uniform => noise.between(-1.0, 1.0),
        };
        (0..n).map(|_| number()).collect()
    }
}

/// What each parameter was given, by name.
fn starts(graph: &mut Graph) -> BTreeMap<String, Initial> {
    let started = reinitialize(graph, &mut draw(1)).unwrap();
    started.into_iter().map(|s| (s.name, s.initial)).collect()
}

fn he(fan: usize) -> Initial {
    Initial::Normal { std: (2.0 / fan as f64).sqrt() }
}

const ZERO: Initial = Initial::Constant(0.0);
const ONE: Initial = Initial::Constant(1.0);

fn numbers(graph: &Graph, name: &str) -> Vec<f64> {
    graph.tensor(graph.value_named(name).unwrap()).unwrap().to_f64_vec().unwrap()
}

fn noise(shape: &[usize]) -> Tensor {
    Noise::new(shape.iter().sum::<usize>() as u64).tensor(F32, shape)
}

/// The parameters of a net, each held against what is expected.
fn expect(builder: ModelBuilder, expected: &[(&str, Initial)]) -> Graph {
    let mut graph = graph(builder);
    let before = graph.clone();
    let found = starts(&mut graph);
    for (name, initial) in expected {
        assert_eq!(found.get(*name), Some(initial), "{name}");
        let kept = numbers(&graph, name) == numbers(&before, name);
        assert_eq!(kept, *initial == Initial::Keep, "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    graph
}

#[test]
fn weights_of_convolutions_keep_the_variance_of_gradients() {
    let group = |n| vec![AttributeProto::from_int("group", n)];
    let net = ModelBuilder::new(17).input("x", F32, &["batch", "8", "9", "9"]);
    let net = net.constant("dense", &noise(&[64, 8, 3, 3])).constant("dense.b", &noise(&[64]));
    let net = net.node("Conv", &["x", "dense", "dense.b"], &["a"]);
    let net = net.constant("depthwise", &noise(&[64, 1, 3, 3]));
    let net = net.node_with("Conv", &["a", "depthwise"], &["b"], group(64));
    let net = net.constant("up", &noise(&[64, 4, 2, 2])).constant("up.b", &noise(&[8]));
    let net = net.node_with("ConvTranspose", &["b", "up", "up.b"], &["c"], group(2)).output("c");
    let expected =
        [("dense", he(64 * 9)), ("dense.b", ZERO), ("depthwise", he(9)), ("up", he(4 * 4)), ("up.b", ZERO)];
    let graph = expect(net, &expected);
    let weights = numbers(&graph, "dense");
    let mean = |f: &dyn Fn(f64) -> f64| weights.iter().map(|x| f(*x)).sum::<f64>() / weights.len() as f64;
    assert!(mean(&|x| x).abs() < 0.003 && (mean(&|x| x * x) * 288.0 - 1.0).abs() < 0.05);
}

#[test]
fn weights_of_linear_layers_keep_the_variance_of_what_flows() {
    let net = ModelBuilder::new(17).input("x", F32, &["batch", "6"]).input("s", F32, &["batch", "7", "6"]);
    let net = net.constant("g", &noise(&[5, 6])).constant("gb", &noise(&[5]));
    let net = net.node_with("Gemm", &["x", "g", "gb"], &["a"], vec![AttributeProto::from_int("transB", 1)]);
    // On either side, behind views, and with the bias in an Add.
    let net = net.constant("right", &noise(&[6, 4])).node("MatMul", &["s", "right"], &["b"]);
    let net = net.constant("rb", &noise(&[4])).node("Add", &["rb", "b"], &["c"]);
    let net = net.constant("left", &noise(&[3, 7])).node("MatMul", &["left", "c"], &["d"]);
    let net = net.constant("kept", &noise(&[9, 4])).node("Transpose", &["kept"], &["turned"]);
    let net = net.node("MatMul", &["d", "turned"], &["e"]);
    let net = net.node_with(
        "Einsum",
        &["e", "form"],
        &["f"],
        vec![AttributeProto::from_string("equation", &b"bij,hj->bih"[..])],
    );
    let net = net.constant("form", &noise(&[2, 9])).output("a").output("f");
    expect(
        net,
        &[
            ("g", he(6)),
            ("gb", ZERO),
            ("right", he(6)),
            ("rb", ZERO),
            ("left", he(7)),
            ("kept", he(4)),
            ("form", he(9)),
        ],
    );
}

#[test]
fn a_stacked_weight_starts_as_its_parts_do() {
    let net = ModelBuilder::new(17).input("x", F32, &["batch", "7", "6"]).constant("w", &noise(&[8, 6]));
    let net = net.constant("b", &noise(&[8])).node_with("Split", &["w"], &["q", "k"], halves());
    let net = net.node_with("Split", &["b"], &["qb", "kb"], halves());
    let net = net.node("Transpose", &["q"], &["qt"]).node("Transpose", &["k"], &["kt"]);
    let net = net.node("MatMul", &["x", "qt"], &["xq"]).node("MatMul", &["x", "kt"], &["xk"]);
    let net = net.node("Add", &["xq", "qb"], &["y"]).node("Add", &["xk", "kb"], &["z"]);
    expect(net.output("y").output("z"), &[("w", he(6)), ("b", ZERO)]);
}

fn halves() -> Vec<AttributeProto> {
    vec![AttributeProto::from_int("axis", 0)]
}

#[test]
fn normalizations_start_as_identities() {
    let net = ModelBuilder::new(17).input("x", F32, &["batch", "4", "5", "5"]);
    let net = batch_norm(net, "x", "a", &Noise::new(1).statistics(F32, 4));
    let net = net.constant("s", &noise(&[5])).constant("t", &noise(&[5]));
    let net = net.node("LayerNormalization", &["a", "s", "t"], &["b"]).output("b");
    let expected =
        [("a.scale", ONE), ("a.bias", ZERO), ("a.mean", ZERO), ("a.variance", ONE), ("s", ONE), ("t", ZERO)];
    expect(net, &expected);
}

#[test]
fn a_layer_norm_in_parts_is_one() {
    let mean = || vec![AttributeProto::from_ints("axes", vec![-1])];
    let net = ModelBuilder::new(13).input("x", F32, &["batch", "3", "6"]);
    let net = net.constant("two", &Tensor::scalar(2f32)).constant("epsilon", &Tensor::scalar(1e-5f32));
    let net = net.node_with("ReduceMean", &["x"], &["m"], mean()).node("Sub", &["x", "m"], &["c"]);
    let net = net.node("Pow", &["c", "two"], &["p"]).node_with("ReduceMean", &["p"], &["v"], mean());
    let net = net.node("Add", &["v", "epsilon"], &["e"]).node("Sqrt", &["e"], &["r"]).node(
        "Div",
        &["c", "r"],
        &["n"],
    );
    let net = net.constant("scale", &noise(&[6])).constant("shift", &noise(&[6]));
    let net = net.node("Mul", &["n", "scale"], &["g"]).node("Add", &["g", "shift"], &["y"]).output("y");
    expect(net, &[("scale", ONE), ("shift", ZERO)]);
}

#[test]
fn what_is_no_trained_parameter_stays() {
    let table = |f: &dyn Fn(usize, usize) -> f64| {
        let values: Vec<f64> = (0..8 * 6).map(|i| f(i / 6, i % 6)).collect();
        stored(F32, &[8, 6], &values)
    };
    let net =
        ModelBuilder::new(17).input("x", F32, &["batch", "8", "6"]).input("t", F32, &["batch", "1", "1"]);
    // Normalization of the input, a sinusoid, a mask, a scale of a layer, frequencies times a position.
    let net = net.constant("mean", &noise(&[6])).node("Sub", &["x", "mean"], &["a"]);
    let net = net.constant("deviation", &noise(&[6])).node("Div", &["a", "deviation"], &["b"]);
    let wave = table(&|t, i| (t as f64 * 0.3f64.powi(i as i32) + i as f64).sin());
    let net = net.constant("wave", &wave).node("Add", &["b", "wave"], &["c"]);
    let mask = table(&|t, i| if i > t { f64::from(f32::MIN) } else { 0.0 });
    let net = net.constant("mask", &mask).node("Add", &["c", "mask"], &["d"]);
    let net = net.constant("layer_scale", &noise(&[6])).node("Mul", &["d", "layer_scale"], &["e"]);
    let net = net.constant("frequencies", &noise(&[1, 6])).node("MatMul", &["t", "frequencies"], &["f"]);
    let net = net.constant("root", &Tensor::scalar(2f32)).node("Mul", &["e", "root"], &["g"]);
    // A vector added to what is no linear layer.
    let net = net.constant("shift", &noise(&[6])).node("Add", &["g", "shift"], &["h"]);
    let kept = ["mean", "deviation", "wave", "mask", "layer_scale", "frequencies", "shift"];
    let graph = expect(net.output("f").output("h"), &kept.map(|name| (name, Initial::Keep)));
    assert_eq!(numbers(&graph, "root"), [2.0]);
}

#[test]
fn tables_and_tokens_start_as_embeddings() {
    let net = ModelBuilder::new(17).input("ids", ElementType::Int64, &["batch", "8"]);
    let net = net.constant("words", &noise(&[11, 6])).node("Gather", &["words", "ids"], &["a"]);
    let net = net.constant("positions", &noise(&[1, 8, 6])).node("Add", &["a", "positions"], &["b"]);
    let net = net.constant("token", &noise(&[1, 1, 6])).node("Shape", &["b"], &["shape"]);
    let net = net.constant("first", &Tensor::from_slice(vec![1], &[0i64]).unwrap());
    let net = net.constant("ones", &Tensor::from_slice(vec![2], &[1i64, 1]).unwrap());
    let net = net.node("Gather", &["shape", "first"], &["n"]);
    let axis = |n| vec![AttributeProto::from_int("axis", n)];
    let net = net.node_with("Concat", &["n", "ones"], &["sizes"], axis(0));
    let net =
        net.node("Expand", &["token", "sizes"], &["c"]).node_with("Concat", &["c", "b"], &["y"], axis(1));
    let names = ["words", "positions", "token"];
    expect(net.output("y"), &names.map(|name| (name, Initial::EMBEDDING)));
}

#[test]
fn recurrent_layers_start_as_in_pytorch() {
    let net = ModelBuilder::new(14).input("x", F32, &["7", "batch", "3"]);
    let net = net.constant("w", &noise(&[1, 16, 3])).constant("r", &noise(&[1, 16, 4]));
    let net = net.constant("b", &noise(&[1, 32]));
    let size = vec![AttributeProto::from_int("hidden_size", 4)];
    let net = net.node_with("LSTM", &["x", "w", "r", "b"], &["y"], size).output("y");
    let uniform = Initial::Uniform { bound: 0.5 };
    let graph = expect(net, &[("w", uniform), ("r", uniform), ("b", uniform)]);
    let largest = numbers(&graph, "r").into_iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    assert!((0.4..=0.5).contains(&largest));
}

#[test]
fn the_same_numbers_give_the_same_model() {
    let net = ModelBuilder::new(17).input("x", F32, &["batch", "3", "4", "4"]);
    let net = net.constant("w", &noise(&[8, 3, 3, 3])).node("Conv", &["x", "w"], &["y"]).output("y");
    let original = graph(net);
    let x = [noise(&[2, 3, 4, 4])];
    let outputs = [1, 1, 2].map(|seed| {
        let mut graph = original.clone();
        reinitialize(&mut graph, &mut draw(seed)).unwrap();
        run(&graph, &x, false)
    });
    assert!(outputs[0] == outputs[1] && outputs[0] != outputs[2]);
}

/// Every constant that an op of the registry calls a parameter starts from something sensible.
#[test]
fn every_op_knows_its_parameters() {
    for entry in REGISTRY {
        for (i, (case, model)) in (entry.cases)().into_iter().enumerate() {
            let graph = Graph::from_model(model).unwrap();
            let node = &graph.nodes[*graph.order.last().unwrap()];
            let facts = graph.input_facts(node);
            for (input, given) in case.inputs.iter().enumerate() {
                let Input::Constant(tensor) = given else { continue };
                if node.op.role(input) != InputRole::Parameter || !tensor.element_type().is_float() {
                    continue;
                }
                let what = format!("{} case {i}, input {input}", entry.name);
                match node.op.initial(input, &node.op_inputs(&facts)) {
                    Initial::Keep => panic!("{what} is not known"),
                    Initial::Constant(number) => assert!((0.0..=1.0).contains(&number), "{what}: {number}"),
                    Initial::Normal { std: scale } | Initial::Uniform { bound: scale } => {
                        assert!(scale > 0.0 && scale <= std::f64::consts::SQRT_2, "{what}: {scale}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_formulas_give_is_told_from_what_training_gives() {
    let table = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        (0..12 * 8).map(|i| f64::from(f((i / 8) as f64, (i % 8) as f64) as f32)).collect()
    };
    let is = |numbers: &[f64]| is_sequence(&[12, 8], numbers);
    assert!(is(&table(&|t, k| (t * 0.1_f64.powf(k / 2.0)).cos())));
    assert!(is(&table(&|t, k| (t * 1e-4_f64.powf(k / 8.0)).sin())));
    assert!(is(&table(&|t, _| t)));
    assert!(is(&table(&|_, k| 0.75_f64.powf(k))));
    assert!(!is(&table(&|_, _| 0.5)));
    let mut noise = Noise::new(3);
    let mut random = |center: f64, spread: f64| -> Vec<f64> {
        (0..96).map(|_| center + noise.between(-spread, spread)).collect()
    };
    for (center, spread) in [(0.0, 1.0), (1.0, 0.1), (1.0, 1e-3), (1.0, 1e-5)] {
        let numbers = random(center, spread);
        assert!(!is(&numbers) && !is_sequence(&[96], &numbers), "{center} ± {spread}");
    }
    // One line that is none.
    let mut numbers = table(&|t, k| (t * 0.1_f64.powf(k / 2.0)).cos());
    numbers[37] += 0.1;
    assert!(!is(&numbers));
}
