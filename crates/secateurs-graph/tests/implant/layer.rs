//! Single layers of all kinds, with any of their rows to be implanted.

use secateurs_graph::surgery::{Form, Implant};
use secateurs_graph::{Graph, NodeId};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor};

use crate::rng::Rng;
use crate::start::start;

/// A layer, rows of it with starting weights, and data.
pub struct Case {
    pub graph: Graph,
    pub implant: Implant,
    /// How many rows and channels (of a group) the layer has.
    pub rows: usize,
    pub channels: usize,
    pub feed: Vec<Tensor>,
    /// Whether ONNX Runtime follows the standard here: with `SAME` it leaves dilation out.
    pub runtime: bool,
    /// Whether the rows can be computed so.
    pub possible: bool,
}

/// A model of one layer, `layer`, and a shape for its input.
struct Layer {
    model: Model,
    input: Vec<usize>,
    rows: usize,
    channels: usize,
    /// Whether its kernel has several taps.
    taps: bool,
    possible: bool,
    runtime: bool,
}

fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto::from_ints(name, values)
}

/// A weight of a random float type, as an initializer, in a `Constant` node or transposed, cast or shared.
fn weight(b: ModelBuilder, shape: &[usize], rng: &mut Rng) -> ModelBuilder {
    let tensor = rng.tensor(shape, 1.0);
    match rng.below(4) {
        0 if shape.len() == 2 => {
            let turned = rng.tensor(&[shape[1], shape[0]], 1.0);
            b.constant("w0", &turned).node_with("Transpose", &["w0"], &["w"], vec![ints("perm", vec![1, 0])])
        }
        1 => {
            let half: Vec<half::f16> =
                tensor.to_vec::<f32>().unwrap().into_iter().map(half::f16::from_f32).collect();
            let tensor = Tensor::from_slice(shape.to_vec(), &half).unwrap();
            b.constant("w0", &tensor).node_with(
                "Cast",
                &["w0"],
                &["w"],
                vec![AttributeProto::from_int("to", 1)],
            )
        }
        2 => b.constant("w0", &tensor).node("Identity", &["w0"], &["w"]),
        _ => b.constant("w", &tensor),
    }
}

fn convolution(rng: &mut Rng) -> Layer {
    let spatial = 1 + rng.below(3);
    let group = [1, 1, 1, 2, 4][rng.below(5)];
    let (channels, filters) = if rng.percent(25) { (1, 1) } else { (1 + rng.below(3), 1 + rng.below(4)) };
    let single = rng.percent(30);
    let each = |rng: &mut Rng, f: &dyn Fn(&mut Rng) -> i64| (0..spatial).map(|_| f(rng)).collect::<Vec<_>>();
    let kernel = each(rng, &|rng| if single { 1 } else { 1 + rng.below(5) as i64 });
    let dilations = each(rng, &|rng| 1 + rng.below(2) as i64);
    let strides = each(rng, &|rng| 1 + rng.below(3) as i64);
    // Small enough for three axes, large enough for the window.
    let sizes: Vec<usize> =
        (0..spatial).map(|i| (dilations[i] * (kernel[i] - 1)) as usize + 1 + rng.below(5)).collect();
    let dilated = dilations.iter().any(|d| *d > 1);
    let mut same = false;
    let mut attributes = vec![
        AttributeProto::from_int("group", group as i64),
        ints("dilations", dilations),
        ints("strides", strides.clone()),
    ];
    match rng.below(5) {
        0 => {
            let rule = rng.word(&["SAME_UPPER", "SAME_LOWER", "VALID"]);
            same = rule != "VALID";
            attributes.push(AttributeProto::from_string("auto_pad", rule));
        }
        1 => {}
        _ => attributes.push(ints("pads", (0..2 * spatial).map(|_| rng.below(4) as i64).collect())),
    }
    let mut shape = vec![filters * group, channels];
    shape.extend(kernel.iter().map(|&k| k as usize));
    let mut input = vec![2, channels * group];
    input.extend(&sizes);
    let texts: Vec<String> = input.iter().map(usize::to_string).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts[0] = "batch";
    let symbolic = rng.percent(30);
    if symbolic {
        texts[2..].copy_from_slice(&["depth", "height", "width"][..spatial]);
    }
    let opset = *rng.pick(&[9, 11, 13, 22]);
    let mut b = weight(ModelBuilder::new(opset).input("x", ElementType::Float32, &texts), &shape, rng);
    let mut inputs = vec!["x", "w"];
    if rng.percent(50) {
        b = b.constant("b", &rng.tensor(&[filters * group], 1.0));
        inputs.push("b");
    }
    b = b.node_with("Conv", &inputs, &["y"], attributes);
    if rng.percent(20) {
        // The weight has another reader.
        b = b.node("Relu", &["w"], &["v"]).output("v");
    }
    let model = b.output("y").build().unwrap();
    Layer {
        model,
        input,
        rows: filters * group,
        channels,
        taps: kernel.iter().any(|k| *k > 1),
        possible: if kernel.iter().all(|k| *k == 1) {
            group == 1
        } else {
            !(same && symbolic && strides.iter().any(|s| *s > 1))
        },
        runtime: !(same && dilated),
    }
}

fn product(rng: &mut Rng) -> Layer {
    let (rows, channels) = (1 + rng.below(6), 1 + rng.below(6));
    let gemm = rng.percent(50);
    let input = if gemm { vec![3, channels] } else { vec![2, 3, channels] };
    // `Gemm` must add something before opset 11.
    let old = gemm && rng.percent(30);
    let b = ModelBuilder::new(if old { 9 } else { 13 });
    let texts: Vec<String> = input.iter().map(usize::to_string).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts[0] = "batch";
    let model = if gemm {
        let turned = rng.percent(50);
        let shape = if turned { [rows, channels] } else { [channels, rows] };
        let mut b = weight(b.input("x", ElementType::Float32, &texts), &shape, rng);
        let mut inputs = vec!["x", "w"];
        if old || rng.percent(60) {
            let shapes: [&[usize]; 3] = [&[rows], &[1, rows], &[1]];
            let shape = shapes[rng.below(3)];
            b = b.constant("c", &rng.tensor(shape, 1.0));
            inputs.push("c");
        }
        let attributes = vec![
            AttributeProto::from_int("transB", i64::from(turned)),
            AttributeProto::from_float("alpha", [1.0, 0.5][rng.below(2)]),
            AttributeProto::from_float("beta", [1.0, -2.0, 0.0][rng.below(3)]),
        ];
        b.node_with("Gemm", &inputs, &["y"], attributes)
    } else if rng.percent(30) {
        let b = b.input("x", ElementType::Float32, &["batch", &channels.to_string(), "3"]);
        let b = weight(b, &[rows, channels], rng).node("MatMul", &["w", "x"], &["y"]);
        let model = b.output("y").build().unwrap();
        return Layer {
            model,
            input: vec![2, channels, 3],
            rows,
            channels,
            taps: false,
            possible: true,
            runtime: true,
        };
    } else {
        let b = weight(b.input("x", ElementType::Float32, &texts), &[channels, rows], rng);
        b.node("MatMul", &["x", "w"], &["y"])
    };
    Layer {
        model: model.output("y").build().unwrap(),
        input,
        rows,
        channels,
        taps: false,
        possible: true,
        runtime: true,
    }
}

/// The same case for the same seed.
pub fn case(seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let layer = if rng.percent(70) { convolution(&mut rng) } else { product(&mut rng) };
    let graph = Graph::from_model(layer.model).unwrap();
    let is_layer = |id: &NodeId| ["Conv", "Gemm", "MatMul"].contains(&graph.nodes[*id].op.name());
    let node = *graph.order.iter().find(|id| is_layer(id)).unwrap();
    let form = match layer.taps {
        true => Form::Pointwise,
        false => Form::LowRank { rank: 1 + rng.below(3) },
    };
    let all = rng.percent(20);
    let mut rows: Vec<usize> = (0..layer.rows).filter(|_| all || rng.percent(40)).collect();
    if rows.is_empty() {
        rows.push(rng.below(layer.rows));
    }
    let bias = rng.percent(50);
    let start = Some(start(rows.len(), layer.channels, form, bias, &mut rng));
    let implant = Implant { node, rows, form, bias, start };
    let feed = vec![rng.tensor(&layer.input, 1.0)];
    let Layer { rows, channels, runtime, possible, .. } = layer;
    Case { graph, implant, rows, channels, feed, runtime, possible }
}
