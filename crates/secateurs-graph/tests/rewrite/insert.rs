//! Inserted batch norms change nothing, are folded away again without a trace, and stand where the rule says.

use secateurs_graph::rewrite::{Statistics, find_folded, fold_batch_norms_among, insert_batch_norms};
use secateurs_graph::{Graph, GraphError};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Noise, batch_norm, count, distance, graph, run};

const F32: ElementType = ElementType::Float32;

/// A model under construction: 4 channels of 6 × 6, convolutions with a bias.
struct Net {
    builder: ModelBuilder,
    noise: Noise,
}

impl Net {
    fn new(opset: i64, element_type: ElementType) -> Net {
        let builder = ModelBuilder::new(opset).input("x", element_type, &["batch", "4", "6", "6"]);
        Net { builder, noise: Noise::new(opset as u64) }
    }

    fn conv_of(mut self, element_type: ElementType, x: &str, y: &str, bias: bool) -> Net {
        let (w, b) = (format!("{y}.w"), format!("{y}.b"));
        let weight = self.noise.tensor(element_type, &[4, 4, 1, 1]);
        self.builder =
            self.builder.constant(&w, &weight).constant(&b, &self.noise.tensor(element_type, &[4]));
        let inputs = [x, &w, &b];
        self.op("Conv", &inputs[..if bias { 3 } else { 2 }], y)
    }

    fn conv(self, x: &str, y: &str) -> Net {
        self.conv_of(F32, x, y, true)
    }

    fn op(mut self, op: &str, inputs: &[&str], y: &str) -> Net {
        self.builder = self.builder.node(op, inputs, &[y]);
        self
    }

    fn batch_norm(mut self, x: &str, y: &str) -> Net {
        let statistics = self.noise.statistics(F32, 4);
        self.builder = batch_norm(self.builder, x, y, &statistics);
        self
    }

    fn constant(mut self, name: &str, shape: &[usize]) -> Net {
        self.builder = self.builder.constant(name, &self.noise.tensor(F32, shape));
        self
    }

    /// Two convolutions, a pool and a linear head.
    fn plain(opset: i64, element_type: ElementType) -> Net {
        let net =
            Net::new(opset, element_type).conv_of(element_type, "x", "a", true).op("Relu", &["a"], "ra");
        net.conv_of(element_type, "ra", "b", true).op("Relu", &["b"], "y")
    }

    fn graph(self, outputs: &[&str]) -> Graph {
        graph(outputs.iter().fold(self.builder, |builder, output| builder.output(output)))
    }
}

fn places(graph: &Graph) -> Vec<&str> {
    find_folded(graph).into_iter().map(|value| graph.values[value].name.as_str()).collect()
}

/// Moments as calibration could give, of a dead channel too.
fn moments(noise: &mut Noise) -> Statistics {
    let mut list = |low, high| (0..4).map(|_| noise.between(low, high)).collect::<Vec<_>>();
    let mut statistics = Statistics { mean: list(-2.0, 2.0), variance: list(1e-7, 3.0) };
    statistics.variance[1] = 0.0;
    statistics
}

#[test]
fn inserted_batch_norms_change_nothing_and_fold_away() {
    let cases = [7, 9, 14, 15, 17, 21].map(|opset| (opset, F32, 1e-6));
    let halves = [
        (9, ElementType::Float16, 4e-3),
        (17, ElementType::Float16, 2e-3),
        (17, ElementType::Float64, 1e-12),
    ];
    for (opset, element_type, tolerance) in cases.into_iter().chain(halves) {
        let mut noise = Noise::new(3);
        let x = [noise.tensor(element_type, &[2, 4, 6, 6])];
        let original = Net::plain(opset, element_type).graph(&["y"]);
        let before = run(&original, &x, false);
        let mut graph = original.clone();
        let places = find_folded(&graph);
        let places: Vec<_> = places.into_iter().map(|value| (value, moments(&mut noise))).collect();
        let nodes = insert_batch_norms(&mut graph, &places).unwrap();
        assert_eq!((nodes.len(), count(&graph, "BatchNormalization")), (2, 2));
        for (node, (value, _)) in nodes.iter().zip(&places) {
            assert_eq!(graph.nodes[*node].outputs, [Some(*value)]);
        }
        let error = distance(&run(&graph, &x, false), &before);
        assert!(error <= tolerance, "opset {opset}, {element_type}: {error:e}");
        // The file is as valid.
        let again = Graph::from_model(graph.to_model()).unwrap();
        assert_eq!(distance(&run(&again, &x, false), &run(&graph, &x, false)), 0.0);

        assert_eq!(fold_batch_norms_among(&mut graph, &nodes).unwrap().len(), 2);
        let error = distance(&run(&graph, &x, false), &before);
        assert!(error <= tolerance, "folded, opset {opset}, {element_type}: {error:e}");
        assert_eq!(graph.order, original.order);
        let names = |graph: &Graph| {
            let mut names: Vec<String> = graph.values.values().map(|v| v.name.clone()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&graph), names(&original));
    }
}

#[test]
fn statistics_that_do_not_fit_are_refused() {
    let mut graph = Net::plain(17, F32).graph(&["y"]);
    let place = find_folded(&graph)[0];
    let good = moments(&mut Noise::new(1));
    let short = Statistics { mean: vec![0.0; 3], ..good.clone() };
    let negative = Statistics { variance: vec![-1.0; 4], ..good.clone() };
    let infinite = Statistics { mean: vec![f64::INFINITY; 4], ..good.clone() };
    for bad in [short, negative, infinite] {
        let error = insert_batch_norms(&mut graph, &[(place, bad)]).unwrap_err();
        assert!(matches!(&error, GraphError::Node { node, .. } if node.contains("make_a")), "{error}");
    }
    let mut old = Net::plain(6, F32).graph(&["y"]);
    let place = find_folded(&old)[0];
    assert!(insert_batch_norms(&mut old, &[(place, good)]).unwrap_err().to_string().contains("opset 7"));
    assert!(!graph.changed && !old.changed);
}

#[test]
fn statistics_that_float16_cannot_hold_need_a_batch_norm_that_keeps_wider_ones() {
    let large = Statistics { mean: vec![0.0; 4], variance: vec![70_000.0; 4] };
    for (opset, held) in [(9, false), (14, false), (15, true)] {
        let mut graph = Net::plain(opset, ElementType::Float16).graph(&["y"]);
        let place = find_folded(&graph)[0];
        match insert_batch_norms(&mut graph, &[(place, large.clone())]) {
            Ok(_) => assert!(held, "opset {opset}"),
            Err(error) => {
                assert!(!held && error.to_string().contains("convert the model to opset 15"), "{error}");
            }
        }
    }
}

#[test]
fn a_head_and_what_sees_one_position_get_none() {
    let net = Net::plain(17, F32).conv("y", "head").op("Sigmoid", &["head"], "scores");
    // Squeeze–excite, and a convolution without a bias.
    let net = net.op("GlobalAveragePool", &["ra"], "pool").conv("pool", "s").op("Relu", &["s"], "rs");
    let net = net.conv("rs", "e").op("Sigmoid", &["e"], "gate").op("Mul", &["ra", "gate"], "gated");
    let net = net.conv_of(F32, "gated", "bare", false).op("Relu", &["bare"], "rb");
    assert_eq!(places(&net.graph(&["scores", "rb"])), ["a", "b"]);
}

#[test]
fn shared_weights_get_none() {
    let net = Net::plain(17, F32).op("Conv", &["y", "b.w", "b.b"], "c").op("Relu", &["c"], "z");
    assert_eq!(places(&net.graph(&["z"])), ["a"]);
}

#[test]
fn a_model_that_kept_its_batch_norms_gets_none() {
    let net = Net::plain(17, F32).conv("y", "c").batch_norm("c", "n").op("Relu", &["n"], "z");
    assert!(places(&net.graph(&["z"])).is_empty());
}

/// `a`, then blocks `h + conv2(relu(conv1(relu(bn(h)))))` of which the exporter folded the inner batch norm.
#[test]
fn folded_convolutions_of_pre_activation_nets_are_found_beside_their_batch_norms() {
    let net =
        Net::new(17, F32).conv_of(F32, "x", "stem", false).batch_norm("stem", "n1").op("Relu", &["n1"], "r1");
    let net = net.conv("r1", "c1").op("Relu", &["c1"], "q1").conv_of(F32, "q1", "d1", false);
    let net = net.op("Add", &["stem", "d1"], "h1").batch_norm("h1", "n2").op("Relu", &["n2"], "r2");
    let net = net.conv("r2", "c2").op("Relu", &["c2"], "q2").conv_of(F32, "q2", "d2", false);
    let net = net.op("Add", &["h1", "d2"], "h2").batch_norm("h2", "n3").op("Relu", &["n3"], "z");
    assert_eq!(places(&net.graph(&["z"])), ["c1", "c2"]);
}

#[test]
fn a_batch_norm_behind_the_activation_takes_the_place() {
    let net = Net::plain(17, F32).conv("y", "c").op("Sigmoid", &["c"], "s").op("Mul", &["c", "s"], "swish");
    let net = net.batch_norm("swish", "n").conv("n", "d").op("Relu", &["d"], "z");
    assert_eq!(places(&net.graph(&["z"])), ["a", "b", "d"]);
}

#[test]
fn models_with_other_normalizations_get_none() {
    let whole =
        |net: Net, op: &str| net.op(op, &["y", "scale", "shift"], "n").conv("n", "c").op("Relu", &["c"], "z");
    let net = Net::plain(17, F32).constant("scale", &[6]).constant("shift", &[6]);
    assert!(places(&whole(net, "LayerNormalization").graph(&["z"])).is_empty());
    let net = Net::plain(17, F32).constant("scale", &[4]).constant("shift", &[4]);
    assert!(places(&whole(net, "InstanceNormalization").graph(&["z"])).is_empty());
    // In several ops: x − mean, its mean square, the root of that.
    let axes = || vec![AttributeProto::from_ints("axes", vec![1])];
    let mut net = Net::plain(17, F32).constant("epsilon", &[]);
    net.builder = net.builder.node_with("ReduceMean", &["y"], &["mean"], axes());
    net = net.op("Sub", &["y", "mean"], "centred").op("Mul", &["centred", "centred"], "square");
    net.builder = net.builder.node_with("ReduceMean", &["square"], &["variance"], axes());
    let net = net.op("Add", &["variance", "epsilon"], "sum").op("Sqrt", &["sum"], "root");
    let net = net.op("Div", &["centred", "root"], "n").conv("n", "c").op("Relu", &["c"], "z");
    assert!(places(&net.graph(&["z"])).is_empty());
}

#[test]
fn a_layer_norm_of_pooled_features_says_nothing() {
    let net = Net::plain(17, F32).constant("scale", &[4]).constant("shift", &[4]);
    let net = net.op("GlobalAveragePool", &["y"], "pool").op("Flatten", &["pool"], "flat");
    let net = net.op("LayerNormalization", &["flat", "scale", "shift"], "z");
    assert_eq!(places(&net.graph(&["z"])), ["a", "b"]);
}

#[test]
fn a_transposed_convolution_of_one_position_gets_one() {
    let net = ModelBuilder::new(17).input("z", F32, &["batch", "8", "1", "1"]);
    let mut noise = Noise::new(1);
    let (w, b): (Tensor, Tensor) = (noise.tensor(F32, &[8, 4, 4, 4]), noise.tensor(F32, &[4]));
    let net = net.constant("w", &w).constant("b", &b).node("ConvTranspose", &["z", "w", "b"], &["a"]);
    assert_eq!(places(&graph(net.node("Relu", &["a"], &["y"]).output("y"))), ["a"]);
}
