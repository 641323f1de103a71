//! Folding a batch norm leaves what a model computes, and what cannot be folded, as it is.

use secateurs_graph::rewrite::{fold_batch_norms, fold_batch_norms_among};
use secateurs_graph::{Graph, Source};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Noise, batch_norm, count, distance, graph, ints, run, stored};

const F64: ElementType = ElementType::Float64;
const F32: ElementType = ElementType::Float32;
const F16: ElementType = ElementType::Float16;

/// Folds; the outputs for `inputs` must stay, and as many batch norms be left.
fn folds(graph: &mut Graph, inputs: &[Tensor], left: usize, tolerance: f64) {
    let before = run(graph, inputs, true);
    let batch_norms = count(graph, "BatchNormalization");
    let folded = fold_batch_norms(graph).unwrap();
    assert_eq!(count(graph, "BatchNormalization"), left);
    assert_eq!(folded.len(), batch_norms - left);
    graph.verify().unwrap();
    let error = distance(&run(graph, inputs, true), &before);
    assert!(error <= tolerance, "{error:e}");
    // What is written is the same graph.
    let again = Graph::from_model(graph.to_model()).unwrap();
    assert_eq!(distance(&run(&again, inputs, true), &run(graph, inputs, true)), 0.0);
}

/// A chain of convolutions of any rank, groups and kernel, each with a batch norm, then two linear layers with batch norms.
fn random_net(seed: u64) -> (ModelBuilder, Tensor) {
    let mut noise = Noise::new(seed);
    let rank = 1 + noise.below(3) as usize;
    let mut shape = vec![2, 4];
    shape.resize(2 + rank, 6);
    let x = noise.tensor(F64, &shape);
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
    let mut net = ModelBuilder::new(17).input("x", F64, &sizes);
    let (mut at, mut channels) = ("x".to_owned(), 4);
    for i in 0..3 {
        let group = [1, 2, 4][noise.below(3) as usize];
        let filters = 4 * (1 + noise.below(2) as usize);
        let kernel = 1 + noise.below(3) as usize;
        let transposed = noise.below(2) == 0;
        let mut weight =
            if transposed { vec![channels, filters / group] } else { vec![filters, channels / group] };
        weight.resize(2 + rank, kernel);
        net = net.constant(&format!("w{i}"), &noise.tensor(F64, &weight));
        let bias = format!("b{i}");
        let mut inputs = vec![at.clone(), format!("w{i}")];
        if noise.below(2) == 0 {
            net = net.constant(&bias, &noise.tensor(F64, &[filters]));
            inputs.push(bias);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let op = if transposed { "ConvTranspose" } else { "Conv" };
        let pads = ints("pads", &vec![1; 2 * rank]);
        let attributes = vec![AttributeProto::from_int("group", group as i64), pads];
        let (raw, normal, out) = (format!("c{i}"), format!("n{i}"), format!("h{i}"));
        net = net.node_with(op, &inputs, &[&raw], attributes);
        net =
            batch_norm(net, &raw, &normal, &noise.statistics(F64, filters)).node("Relu", &[&normal], &[&out]);
        (at, channels) = (out, filters);
    }
    net = net.node("GlobalAveragePool", &[&at], &["pooled"]).node("Flatten", &["pooled"], &["flat"]);
    net = net.constant("m", &noise.tensor(F64, &[channels, 5])).node("MatMul", &["flat", "m"], &["product"]);
    net = batch_norm(net, "product", "p", &noise.statistics(F64, 5));
    net = net.constant("g", &noise.tensor(F64, &[3, 5])).constant("gb", &noise.tensor(F64, &[1, 3]));
    let attributes = vec![
        AttributeProto::from_int("transB", 1),
        AttributeProto::from_float("alpha", 0.5),
        AttributeProto::from_float("beta", -2.0),
    ];
    net = net.node_with("Gemm", &["p", "g", "gb"], &["last"], attributes);
    net = batch_norm(net, "last", "y", &noise.statistics(F64, 3));
    (net.output("y"), x)
}

#[test]
fn folding_equals_evaluation() {
    for seed in 1..16 {
        let (net, x) = random_net(seed);
        let mut graph = graph(net);
        let nodes = graph.order.len();
        folds(&mut graph, &[x], 0, 1e-12);
        // The batch norm behind MatMul became an Add.
        assert_eq!((graph.order.len(), count(&graph, "Add")), (nodes - 4, 1));
    }
}

/// `y = BatchNormalization(Conv(x, w))`, and `w` has 3 filters of 2 channels.
fn convolution(element_type: ElementType, noise: &mut Noise) -> ModelBuilder {
    let net = ModelBuilder::new(15).input("x", element_type, &["batch", "2", "5", "5"]);
    let net =
        net.constant("w", &noise.tensor(element_type, &[3, 2, 3, 3])).node("Conv", &["x", "w"], &["raw"]);
    batch_norm(net, "raw", "y", &noise.statistics(element_type, 3))
}

#[test]
fn the_output_keeps_its_name_and_the_node_its_identity() {
    let mut graph = graph(convolution(F32, &mut Noise::new(1)).output("y"));
    let conv = graph.order[0];
    let folded = fold_batch_norms(&mut graph).unwrap();
    assert_eq!((folded[0].batch_norm.as_str(), folded[0].into), ("make_y", conv));
    let y = graph.value_named("y").unwrap();
    assert_eq!(folded[0].output, y);
    assert!(matches!(graph.values[y].source, Source::Node(node, 0) if node == conv));
    assert!(graph.value_named("raw").is_none() && graph.value_named("y.mean").is_none());
    assert_eq!(graph.order, [conv]);
}

#[test]
fn what_others_read_is_left_alone() {
    let x = Noise::new(3).tensor(F32, &[2, 2, 5, 5]);
    let net = || convolution(F32, &mut Noise::new(2)).output("y");
    for net in [net().output("raw"), net().node("Relu", &["raw"], &["z"]).output("z")] {
        let mut graph = graph(net);
        folds(&mut graph, std::slice::from_ref(&x), 1, 0.0);
        assert!(!graph.changed);
    }
}

#[test]
fn statistics_that_are_not_given_are_left_alone() {
    let mut noise = Noise::new(4);
    let parts = ["raw", "y.scale", "y.bias", "y.mean", "y.variance"];
    let net = |opset, outputs: &[&str], attributes, noise: &mut Noise| {
        let mut net = ModelBuilder::new(opset).input("x", F32, &["batch", "2", "5", "5"]);
        net = net.constant("w", &noise.tensor(F32, &[3, 2, 3, 3])).node("Conv", &["x", "w"], &["raw"]);
        for (name, tensor) in parts[1..].iter().zip(noise.statistics(F32, 3)) {
            net = net.constant(name, &tensor);
        }
        graph(net.node_with("BatchNormalization", &parts, outputs, attributes).output("y"))
    };
    let training = vec![AttributeProto::from_int("training_mode", 1)];
    let mut new = net(15, &["y", "mean", "variance"], training, &mut noise);
    let mut old = net(9, &["y", "mean", "variance", "", ""], Vec::new(), &mut noise);
    for graph in [&mut new, &mut old] {
        assert_eq!(fold_batch_norms(graph).unwrap(), []);
    }
    // Statistics that come from outside.
    let fed = ModelBuilder::new(15).input("x", F32, &["batch", "2", "5", "5"]).input("y.mean", F32, &["3"]);
    let mut fed = fed.constant("w", &noise.tensor(F32, &[3, 2, 3, 3])).node("Conv", &["x", "w"], &["raw"]);
    let [scale, bias, _, variance] = noise.statistics(F32, 3);
    for (name, tensor) in [("y.scale", scale), ("y.bias", bias), ("y.variance", variance)] {
        fed = fed.constant(name, &tensor);
    }
    let mut fed = graph(fed.node("BatchNormalization", &parts, &["y"]).output("y"));
    assert_eq!(fold_batch_norms(&mut fed).unwrap(), []);
}

#[test]
fn a_shared_weight_is_copied() {
    let mut noise = Noise::new(5);
    let x = noise.tensor(F64, &[2, 2, 5, 5]);
    for second in [false, true] {
        let net = convolution(F64, &mut noise).constant("b", &noise.tensor(F64, &[3]));
        let net = net.node("Conv", &["x", "w", "b"], &["other"]);
        let net = match second {
            true => batch_norm(net, "other", "z", &noise.statistics(F64, 3)).output("z"),
            false => net.output("other"),
        };
        folds(&mut graph(net.output("y")), std::slice::from_ref(&x), 0, 1e-12);
    }
}

#[test]
fn statistics_shared_through_identities_are_found() {
    let mut noise = Noise::new(6);
    let net = convolution(F64, &mut noise).constant("v", &noise.tensor(F64, &[3, 3, 1, 1]));
    let net = net.node("Conv", &["y", "v"], &["raw2"]).node("Identity", &["y.scale"], &["scale2"]);
    let inputs = ["raw2", "scale2", "y.bias", "y.mean", "y.variance"];
    let net = net.node("BatchNormalization", &inputs, &["z"]).output("z");
    let mut graph = graph(net);
    folds(&mut graph, &[noise.tensor(F64, &[2, 2, 5, 5])], 0, 1e-12);
    assert_eq!(graph.order.len(), 2);
}

#[test]
fn linear_layers_fold_with_every_form_of_bias() {
    let mut noise = Noise::new(7);
    let a = noise.tensor(F64, &[4, 6]);
    for (bias, foldable) in [(None, true), (Some(vec![]), true), (Some(vec![1]), true), (Some(vec![3]), true)]
        .into_iter()
        .chain([(Some(vec![1, 3]), true), (Some(vec![4, 3]), false), (Some(vec![4, 1]), false)])
    {
        let mut net = ModelBuilder::new(13).input("x", F64, &["4", "6"]);
        net = net.constant("w", &noise.tensor(F64, &[3, 6]));
        let mut inputs = vec!["x", "w"];
        if let Some(shape) = &bias {
            net = net.constant("b", &noise.tensor(F64, shape));
            inputs.push("b");
        }
        let attributes =
            vec![AttributeProto::from_int("transB", 1), AttributeProto::from_float("beta", 0.25)];
        net = net.node_with("Gemm", &inputs, &["raw"], attributes);
        net = batch_norm(net, "raw", "y", &noise.statistics(F64, 3)).output("y");
        folds(&mut graph(net), std::slice::from_ref(&a), usize::from(!foldable), 1e-12);
    }
}

#[test]
fn channels_made_by_a_weight_on_the_left_fold() {
    let mut noise = Noise::new(8);
    let net = ModelBuilder::new(13).input("x", F64, &["batch", "6", "5"]);
    let net = net.constant("w", &noise.tensor(F64, &[3, 6])).node("MatMul", &["w", "x"], &["raw"]);
    let net = batch_norm(net, "raw", "y", &noise.statistics(F64, 3)).output("y");
    folds(&mut graph(net), &[noise.tensor(F64, &[2, 6, 5])], 0, 1e-12);
    // A weight on the right makes the last axis, which is no channel here.
    let net = ModelBuilder::new(13).input("x", F64, &["batch", "3", "5"]);
    let net = net.constant("w", &noise.tensor(F64, &[5, 4])).node("MatMul", &["x", "w"], &["raw"]);
    let net = batch_norm(net, "raw", "y", &noise.statistics(F64, 3)).output("y");
    folds(&mut graph(net), &[noise.tensor(F64, &[2, 3, 5])], 1, 0.0);
}

#[test]
fn sixteen_bit_weights_are_rounded_once() {
    for element_type in [F16, ElementType::Bfloat16] {
        let mut noise = Noise::new(9);
        let mut graph = graph(convolution(element_type, &mut noise).output("y"));
        let numbers = |graph: &Graph, name: &str| {
            graph.tensor(graph.value_named(name).unwrap()).unwrap().to_f64_vec().unwrap()
        };
        let w = numbers(&graph, "w");
        let [scale, variance] = ["y.scale", "y.variance"].map(|name| numbers(&graph, name));
        fold_batch_norms(&mut graph).unwrap();
        let epsilon = f64::from(1e-5f32);
        let exact: Vec<f64> =
            (0..w.len()).map(|i| w[i] * (scale[i / 18] / (variance[i / 18] + epsilon).sqrt())).collect();
        let folded = graph.tensor(graph.value_named("w").unwrap()).unwrap();
        assert_eq!(*folded, stored(element_type, &[3, 2, 3, 3], &exact));
    }
}

#[test]
fn a_number_too_large_for_its_type_is_left_alone() {
    let net = ModelBuilder::new(15).input("x", F16, &["batch", "2", "5", "5"]);
    let net =
        net.constant("w", &stored(F16, &[1, 2, 1, 1], &[300.0, 1.0])).node("Conv", &["x", "w"], &["raw"]);
    let statistics = [[300.0], [0.0], [0.0], [0.5]].map(|list| stored(F16, &[1], &list));
    let mut graph = graph(batch_norm(net, "raw", "y", &statistics).output("y"));
    assert_eq!(fold_batch_norms(&mut graph).unwrap(), []);
    assert!(!graph.changed);
}

#[test]
fn only_the_nodes_asked_for_are_folded() {
    let (net, _) = random_net(11);
    let mut graph = graph(net);
    let of_op = |graph: &Graph| {
        let all = graph.order.iter().copied();
        all.filter(|&id| graph.nodes[id].op.name() == "BatchNormalization").collect::<Vec<_>>()
    };
    let all = of_op(&graph);
    let nodes = [all[1], graph.order[0]];
    let folded = fold_batch_norms_among(&mut graph, &nodes).unwrap();
    assert_eq!(folded.len(), 1);
    assert_eq!(of_op(&graph), [all[0], all[2], all[3], all[4]]);
}
