//! Units that are dead for certain: without them the model computes what it computed.

use secateurs_graph::coupling::Selection;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;

use crate::net::{Model, Net, int, ints, run};

impl Model {
    /// The dead units of every group, as `weight[axis]: units`; removing all of them changes nothing.
    fn dead(&self) -> Vec<String> {
        let coupling = self.coupling();
        let session = Session::new(self.graph.clone(), SessionOptions::default()).unwrap();
        let dead = coupling.dead(&session, &self.feed(2)).unwrap();
        let mut kept = Selection::all(&coupling);
        let (mut lines, mut remaining) = (Vec::new(), secateurs_graph::coupling::Remaining::new(&coupling));
        for (g, units) in dead.iter().enumerate().filter(|(_, units)| !units.is_empty()) {
            let parameter = &coupling.groups[g].parameters[0];
            lines.push(format!("{}[{}]: {units:?}", self.graph.values[parameter.value].name, parameter.axis));
            kept.kept[g].retain(|unit| !units.contains(unit) || !remaining.remove(g, *unit));
        }
        let smaller = self.smaller(&coupling, &kept);
        for batch in [2, 3] {
            let feed = self.feed(batch);
            for (a, b) in run(&smaller, &feed).iter().zip(&run(&self.graph, &feed)) {
                let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
                assert!(
                    a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12),
                    "something has changed: {lines:?}"
                );
            }
        }
        lines
    }
}

/// A tensor of noise in which some slices of an axis are this number.
fn with_slices(seed: i64, shape: &[usize], axis: usize, slices: &[(usize, f32)]) -> Tensor {
    let mut values = crate::net::Noise::new(seed as u64).tensor(shape).to_f64_vec().unwrap();
    let inner: usize = shape[axis + 1..].iter().product();
    for (i, value) in values.iter_mut().enumerate() {
        if let Some((_, number)) = slices.iter().find(|(index, _)| *index == i / inner % shape[axis]) {
            *value = f64::from(*number);
        }
    }
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// `conv2(relu(bn(conv1(x))))` with these scales and shifts of the norm, and this second weight.
fn convolutions(scale: &Tensor, shift: &Tensor, second: &Tensor) -> Net {
    Net::new(17)
        .input("x", &[0, 2, 5, 5])
        .conv("x", "conv1", [4, 2], 3, 1, "a")
        .tensor("bn.weight", scale)
        .tensor("bn.bias", shift)
        .param("bn.mean", &[4])
        .positive("bn.var", &[4])
        .node("BatchNormalization", &["a", "bn.weight", "bn.bias", "bn.mean", "bn.var"], "n")
        .node("Relu", &["n"], "r")
        .tensor("conv2.weight", second)
        .with("Conv", &["r", "conv2.weight"], &["y"], vec![ints("pads", &[1; 4])])
}

fn second(columns: &[(usize, f32)]) -> Tensor {
    with_slices(2, &[3, 4, 3, 3], 1, columns)
}

fn vector(values: [f32; 4]) -> Tensor {
    Tensor::from_slice(vec![4], &values).unwrap()
}

#[test]
fn a_norm_of_scale_zero_kills_what_the_activation_makes_zero() {
    // 0 is dead by its norm; 1 is a constant that is not zero; 2 is below zero for most inputs, not for all; 3 is read by nothing.
    let scale = vector([0.0, 0.0, 1e-3, 1.0]);
    let shift = vector([-0.5, 0.5, -9.0, 0.5]);
    let model = convolutions(&scale, &shift, &second(&[(3, 0.0)])).done(&["y"]);
    assert_eq!(model.dead(), ["conv1.weight[0]: [0, 3]"]);
}

#[test]
fn tiny_is_not_zero() {
    let scale = vector([1e-12, 1.0, 1.0, 1.0]);
    let model = convolutions(&scale, &vector([-0.5; 4]), &second(&[(1, 1e-12)])).done(&["y"]);
    assert!(model.dead().is_empty());
}

#[test]
fn what_only_dead_units_read_is_dead() {
    // The third channel of the second convolution reads nothing and adds nothing behind it; so the first channel, which only it reads, is dead.
    let first = with_slices(3, &[4, 2, 3, 3], 0, &[]);
    let mut values = with_slices(4, &[3, 4, 1, 1], 0, &[]).to_f64_vec().unwrap();
    (values[0], values[4]) = (0.0, 0.0);
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    let model = Net::new(17)
        .input("x", &[0, 2, 5, 5])
        .tensor("w1", &first)
        .with("Conv", &["x", "w1"], &["a"], vec![ints("pads", &[1; 4])])
        .node("Sigmoid", &["a"], "s")
        .tensor("w2", &Tensor::from_slice(vec![3, 4, 1, 1], &values).unwrap())
        .node("Conv", &["s", "w2"], "b")
        .node("Tanh", &["b"], "t")
        .tensor("w3", &with_slices(5, &[2, 3, 1, 1], 1, &[(2, 0.0)]))
        .node("Conv", &["t", "w3"], "y")
        .done(&["y"]);
    assert_eq!(model.dead(), ["w1[0]: [0]", "w2[0]: [2]"]);
}

#[test]
fn zeros_run_through_layers_that_make_nothing_of_them() {
    // Rows 1 and 2 of the first layer are zero. Behind an activation that keeps zero, both gate and value of the product are needed for none:
    // one zero is enough. Row 1 of the sum is zero by two layers.
    let first = with_slices(6, &[3, 5], 1, &[(1, 0.0), (2, 0.0)]);
    let bias = with_slices(7, &[5], 0, &[(1, 0.0), (2, 0.0)]);
    let other = with_slices(8, &[3, 5], 1, &[(1, 0.0)]);
    let net = |combine: &str| {
        Net::new(18)
            .input("x", &[0, 4, 3])
            .tensor("w1", &first)
            .tensor("b1", &bias)
            .tensor("w2", &other)
            .node("MatMul", &["x", "w1"], "p")
            .node("Add", &["p", "b1"], "a")
            .node("Tanh", &["a"], "t")
            .node("MatMul", &["x", "w2"], "b")
            .node(combine, &["t", "b"], "c")
            .param("w3", &[5, 2])
            .node("MatMul", &["c", "w3"], "y")
            .done(&["y"])
    };
    assert_eq!(net("Mul").dead(), ["w1[1]: [1, 2]"]);
    assert_eq!(net("Add").dead(), ["w1[1]: [1]"]);
}

#[test]
fn a_constant_through_a_layer_is_dead_where_it_ends_as_zero() {
    // Channel 0 is the constant 0.5 everywhere; the second layer's row 0 reads only it, and makes −1 + 0.5·1 of it, which the activation
    // makes zero; its third layer reads it. The first layer's channel 0 is read by row 0 alone.
    let scale = vector([0.0, 1.0, 1.0, 1.0]);
    let mut values = with_slices(9, &[3, 4, 1, 1], 1, &[(0, 0.0)]).to_f64_vec().unwrap();
    values[..4].copy_from_slice(&[1.0, 0.0, 0.0, 0.0]);
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    let model = Net::new(17)
        .input("x", &[0, 2, 5, 5])
        .conv("x", "conv1", [4, 2], 1, 1, "a")
        .tensor("g", &scale)
        .tensor("h", &vector([0.5, 0.1, 0.2, 0.3]))
        .param("m", &[4])
        .positive("v", &[4])
        .node("BatchNormalization", &["a", "g", "h", "m", "v"], "n")
        .tensor("w2", &Tensor::from_slice(vec![3, 4, 1, 1], &values).unwrap())
        .tensor("b2", &Tensor::from_slice(vec![3], &[-1.0f32, 0.2, 0.3]).unwrap())
        .node("Conv", &["n", "w2", "b2"], "c")
        .node("Relu", &["c"], "r")
        .param("w3", &[2, 3, 1, 1])
        .node("Conv", &["r", "w3"], "y")
        .done(&["y"]);
    assert_eq!(model.dead(), ["conv1.weight[0]: [0]", "w2[0]: [0]"]);
}

#[test]
fn streams_and_concatenations() {
    // A stream of two layers: channel 2 is zero in both; of a concatenation each part counts for itself.
    let zero = |seed| with_slices(seed, &[4, 2, 1, 1], 0, &[(2, 0.0)]);
    let model = Net::new(17)
        .input("x", &[0, 2, 5, 5])
        .tensor("w1", &zero(10))
        .tensor("w2", &zero(11))
        .node("Conv", &["x", "w1"], "a")
        .node("Conv", &["x", "w2"], "b")
        .node("Add", &["a", "b"], "s")
        .tensor("w3", &with_slices(12, &[3, 2, 1, 1], 0, &[(1, 0.0)]))
        .node("Conv", &["x", "w3"], "c")
        .with("Concat", &["s", "c"], &["t"], vec![int("axis", 1)])
        .with("MaxPool", &["t"], &["m"], vec![ints("kernel_shape", &[2, 2])])
        .node("GlobalAveragePool", &["m"], "q")
        .param("w4", &[2, 7, 1, 1])
        .node("Conv", &["q", "w4"], "y")
        .done(&["y"]);
    assert_eq!(model.dead(), ["w1[0]: [2]", "w3[0]: [1]"]);
}

#[test]
fn a_head_of_which_the_projection_makes_nothing_is_dead() {
    let model = Net::new(18)
        .input("x", &[0, 5, 6])
        .attention("x", 6, 4, "merged")
        .tensor("o", &with_slices(13, &[8, 3], 0, &[(2, 0.0), (3, 0.0), (4, 0.0)]))
        .node("MatMul", &["merged", "o"], "y")
        .done(&["y"]);
    // Half of a head is no head.
    assert_eq!(model.dead(), ["q.weight[1]: [1]"]);
}

#[test]
fn what_an_output_shows_is_alive() {
    let model = Net::new(17)
        .input("x", &[0, 3])
        .tensor("w1", &with_slices(14, &[3, 4], 1, &[(1, 0.0)]))
        .node("MatMul", &["x", "w1"], "hidden")
        .param("w2", &[4, 2])
        .node("MatMul", &["hidden", "w2"], "y")
        .done(&["y", "hidden"])
        .resizing(&["hidden"]);
    let coupling = model.coupling();
    assert_eq!(coupling.groups.len(), 1);
    let session = Session::new(model.graph.clone(), SessionOptions::default()).unwrap();
    assert_eq!(coupling.dead(&session, &model.feed(2)).unwrap(), [[0usize; 0]]);
}
