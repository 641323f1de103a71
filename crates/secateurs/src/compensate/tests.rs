//! What others can make comes back whole, means are absorbed wherever a model adds something, and nothing else changes.

use std::ops::ControlFlow;
use std::sync::Arc;

use secateurs_graph::coupling::{CouplingOptions, Selection};
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::surgery::Choice;
use secateurs_graph::{Graph, GraphError};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::*;
use crate::data::{DataOptions, from_f32, npz};
use crate::pipeline::open_data;
use crate::rng::Rng;
use crate::tune::Objective;

const SAMPLES: usize = 48;

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Rng::new(seed, "compensate", 0, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_f64_vec().unwrap().into_iter().map(|x| x as f32).collect()
}

/// Random numbers in which slices of axis 0 are sums of others: `(to, [(from, factor)])`.
fn mixed(shape: &[usize], seed: u64, sums: &[(usize, &[(usize, f32)])]) -> Tensor {
    let width: usize = shape[1..].iter().product();
    let mut values = numbers(&random(shape, seed));
    for (to, parts) in sums {
        for i in 0..width {
            values[to * width + i] =
                parts.iter().map(|(from, factor)| factor * values[from * width + i]).sum();
        }
    }
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn graph(model: ModelBuilder) -> Arc<Graph> {
    Arc::new(Graph::from_model(model.build().unwrap()).unwrap())
}

/// Random samples for a model.
fn samples(original: &Graph, count: usize) -> Tensor {
    let sizes = original.values[original.inputs[0]].fact.shape.clone().unwrap();
    let shape: Vec<usize> =
        [count].into_iter().chain(sizes[1..].iter().map(|n| n.known().unwrap() as usize)).collect();
    random(&shape, 77)
}

/// The smaller model without these units of the first group, as it is and compensated on these samples.
fn compensated_on(
    original: &Arc<Graph>,
    gone: &[usize],
    x: &Tensor,
    options: &CompensateOptions,
) -> (Arc<Graph>, Compensated) {
    let coupling = original.coupling(&CouplingOptions::default());
    let mut selection = Selection::all(&coupling);
    selection.kept[0].retain(|unit| !gone.contains(unit));
    let carried = coupling.carry_out::<GraphError>(original, &Choice::from(selection), |_| Ok(None)).unwrap();
    let smaller = Arc::new(carried.graph);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    npz::write(&path, &[("x", x)]).unwrap();
    let data = Arc::new(open_data(original, &path, &DataOptions::default(), None, Objective::Auto).unwrap());
    let among: Vec<usize> = (0..data.len()).collect();
    let job = CompensateJob {
        original,
        smaller: &smaller,
        layers: &carried.layers,
        data: &data,
        among: &among,
        options,
    };
    let found = compensate(&job, &mut |_, _| ControlFlow::Continue(())).unwrap();
    (smaller, found)
}

fn options(fit: Compensation, batch_size: usize) -> CompensateOptions {
    let settings = CompensateSettings { fit, batch_size, ..CompensateSettings::default() };
    CompensateOptions { settings, ..CompensateOptions::default() }
}

/// The smaller model without these units of the first group, compensated, and how far both are from the original: root mean squares.
fn compensated(original: &Arc<Graph>, gone: &[usize], fit: Compensation) -> (Compensated, [f64; 2]) {
    let x = samples(original, SAMPLES);
    let (smaller, found) = compensated_on(original, gone, &x, &options(fit, 16));
    let distances = [&smaller, &Arc::new(found.graph.clone())].map(|graph| distance(original, graph, &x));
    (found, distances)
}

/// The root mean square of the difference of two models, over that of the first.
fn distance(original: &Arc<Graph>, graph: &Arc<Graph>, x: &Tensor) -> f64 {
    let run = |graph: &Arc<Graph>| {
        let session = Session::new(graph.clone(), SessionOptions::default()).unwrap();
        session.run(std::slice::from_ref(x)).unwrap()[0].to_f64_vec().unwrap()
    };
    let wanted = run(original);
    let squares = run(graph).iter().zip(&wanted).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    (squares / wanted.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

fn pads() -> Vec<AttributeProto> {
    vec![AttributeProto::from_ints("pads", [1; 4])]
}

/// Convolutions of which channel 5 is a positive multiple of channel 0, behind a batch norm and a ReLU.
fn convolutional() -> Arc<Graph> {
    let ones = |n: usize| Tensor::from_slice(vec![n], &vec![1.0f32; n]).unwrap();
    let zeros = |n: usize| Tensor::from_slice(vec![n], &vec![0.0f32; n]).unwrap();
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "5", "5"])
            .constant("w1", &mixed(&[6, 3, 3, 3], 1, &[(5, &[(0, 1.5)])]))
            .constant("one", &ones(6))
            .constant("zero", &zeros(6))
            .constant("w2", &random(&[4, 6, 3, 3], 2))
            .constant("b2", &random(&[4], 3))
            .node_with("Conv", &["x", "w1"], &["c"], pads())
            .node("BatchNormalization", &["c", "one", "zero", "zero", "one"], &["n"])
            .node("Relu", &["n"], &["r"])
            .node_with("Conv", &["r", "w2", "b2"], &["y"], pads())
            .output("y"),
    )
}

/// Two matrices with a sum behind the first; of the six numbers between them, the last is made of the first two.
fn dense() -> Arc<Graph> {
    dense_of(&["batch", "3", "5"])
}

/// The same for inputs of this shape.
fn dense_of(shape: &[&str]) -> Arc<Graph> {
    let rows = mixed(&[6, 5], 4, &[(5, &[(0, 1.0), (1, -2.0)])]);
    let values = numbers(&rows);
    let columns: Vec<f32> =
        (0..5).flat_map(|i| (0..6).map(|j| values[j * 5 + i]).collect::<Vec<_>>()).collect();
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, shape)
            .constant("w1", &Tensor::from_slice(vec![5, 6], &columns).unwrap())
            .constant("w2", &random(&[6, 4], 5))
            .constant("b2", &random(&[4], 6))
            .node("MatMul", &["x", "w1"], &["h"])
            .node("MatMul", &["h", "w2"], &["m"])
            .node("Add", &["m", "b2"], &["y"])
            .output("y"),
    )
}

#[test]
fn what_others_can_make_comes_back_whole() {
    for original in [convolutional(), dense()] {
        let (found, [before, after]) = compensated(&original, &[5], Compensation::LeastSquares);
        assert!(before > 0.05, "{before}");
        // The smallest ridge that is tried pulls a little.
        assert!(after < 2e-3, "{before} {after}");
        assert_eq!((found.layers[0], found.samples), (1, SAMPLES));
        assert!(found.notes.is_empty(), "{:?}", found.notes);
        let (_, [_, means]) = compensated(&original, &[5], Compensation::Means);
        assert!(means > 10.0 * after, "{means} {after}");
    }
}

/// Mixing along tokens, as mixers of tokens have it, behind channels of which the last is made of the first two.
fn mixer() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "5", "7"])
            .constant("w1", &mixed(&[6, 5], 4, &[(5, &[(0, 1.0), (1, -2.0)])]))
            .constant("tokens", &random(&[7, 4], 7))
            .constant("w2", &random(&[3, 6], 5))
            .constant("b2", &random(&[3, 1], 6))
            .node("MatMul", &["w1", "x"], &["h"])
            .node("MatMul", &["h", "tokens"], &["m"])
            .node("Relu", &["m"], &["r"])
            .node("MatMul", &["w2", "r"], &["o"])
            .node("Add", &["o", "b2"], &["y"])
            .output("y"),
    )
}

#[test]
fn layers_whose_positions_go_are_set_beside_what_is_left_of_them() {
    let original = mixer();
    // A unit that others cannot make, before those behind which nothing is moved.
    let (found, [before, after]) = compensated(&original, &[2], Compensation::LeastSquares);
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    assert!(before > 0.05 && after < before, "{before} {after}");
    // What each token becomes of the others is as it was.
    let tokens = |graph: &Graph| {
        let id = graph.order.iter().find(|id| {
            graph.nodes[**id].inputs.len() == 2 && {
                let shape =
                    graph.nodes[**id].inputs[1].and_then(|value| graph.tensor(value)).map(Tensor::shape);
                shape == Some(&[7, 4])
            }
        });
        numbers(graph.tensor(graph.nodes[*id.unwrap()].inputs[1].unwrap()).unwrap())
    };
    let (was, is) = (tokens(&original), tokens(&found.graph));
    for (was, is) in was.iter().zip(is) {
        assert!((was - is).abs() < 1e-3, "{was} {is}");
    }
}

#[test]
fn layers_of_a_kind_that_is_not_fitted_are_told() {
    let original = graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "4", "4"])
            .constant("w1", &random(&[6, 3, 1, 1], 1))
            .constant("w2", &random(&[6, 5, 2, 2], 2))
            .constant("w3", &random(&[2, 5, 1, 1], 3))
            .node("Conv", &["x", "w1"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("ConvTranspose", &["r", "w2"], &["t"])
            .node("Conv", &["t", "w3"], &["y"])
            .output("y"),
    );
    let (found, _) = compensated(&original, &[5], Compensation::LeastSquares);
    let told = "1 layers that were pruned are not fitted, as they share their weights or are of a kind that is not (ConvTranspose)";
    assert_eq!(found.notes, [told]);
}

#[test]
fn of_layers_that_are_too_wide_means_are_absorbed() {
    let width = MOST_FEATURES / 4 + 8;
    let original = graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "2", "2"])
            .constant("w1", &random(&[width, 2, 1, 1], 1))
            .constant("b1", &random(&[width], 2))
            .constant("w2", &random(&[3, width, 2, 2], 3))
            .constant("b2", &random(&[3], 4))
            .node("Conv", &["x", "w1", "b1"], &["h"])
            .node("Relu", &["h"], &["r"])
            .node("Conv", &["r", "w2", "b2"], &["y"])
            .output("y"),
    );
    let gone: Vec<usize> = (0..4).collect();
    let (found, [before, after]) = compensated(&original, &gone, Compensation::LeastSquares);
    assert!(
        found.notes.iter().any(|note| note.starts_with("1 layers keep their weights, as")),
        "{:?}",
        found.notes
    );
    let (_, [_, means]) = compensated(&original, &gone, Compensation::Means);
    assert!(after < before && (after - means).abs() < 1e-3 * means, "{before} {after} {means}");
}

#[test]
fn the_ridge_is_chosen_on_half_of_the_samples_whatever_the_batches_are() {
    let original = dense_of(&["batch", "5"]);
    let x = samples(&original, 33);
    for batch_size in [1, 32, 33] {
        let (_, found) =
            compensated_on(&original, &[5], &x, &options(Compensation::LeastSquares, batch_size));
        let after = distance(&original, &Arc::new(found.graph), &x);
        assert!(after < 2e-3 && found.notes.is_empty(), "{batch_size}: {after} {:?}", found.notes);
    }
}

#[test]
fn the_limit_on_memory_holds_for_the_first_batch() {
    let original = dense();
    let x = samples(&original, SAMPLES);
    // The largest value of a sample has 18 numbers, and a batch's patches 15 a sample.
    let memory = 10 * 8 * 18 * 4 + 16 * 15 * 4;
    let limited = CompensateOptions { memory, ..options(Compensation::LeastSquares, 16) };
    let (_, found) = compensated_on(&original, &[5], &x, &limited);
    assert_eq!(found.samples, 10);
    assert!(found.notes[0].contains("10 of 48 samples fit"), "{:?}", found.notes);
}

#[test]
fn of_too_few_positions_no_weights_are_fitted() {
    let original = dense_of(&["batch", "5"]);
    let x = samples(&original, 3);
    let (smaller, found) = compensated_on(&original, &[5], &x, &options(Compensation::LeastSquares, 32));
    assert!(found.notes[0].contains("2 layers keep their weights"), "{:?}", found.notes);
    let value = |graph: &Graph, name: &str| numbers(graph.tensor(graph.value_named(name).unwrap()).unwrap());
    assert_eq!(value(&found.graph, "w2"), value(&smaller, "w2"));
    assert_ne!(value(&found.graph, "b2"), value(&smaller, "b2"));
}

#[test]
fn what_fills_a_batch_is_not_counted() {
    let fitted = |batch: &str, count: usize| {
        let original = dense_of(&[batch, "3", "5"]);
        let x = samples(&original, count);
        let (_, found) = compensated_on(&original, &[1, 2, 3], &x, &options(Compensation::LeastSquares, 16));
        assert_eq!((found.layers[0], found.samples), (1, count));
        let value = |name: &str| numbers(found.graph.tensor(found.graph.value_named(name).unwrap()).unwrap());
        [value("w2"), value("b2")].concat()
    };
    // A batch that is filled, alone and behind a full one.
    for count in [9, 20] {
        for (counted, filled) in fitted("batch", count).into_iter().zip(fitted("16", count)) {
            assert!((counted - filled).abs() < 1e-4, "{count}: {filled} is not {counted}");
        }
    }
}

#[test]
fn where_nothing_is_removed_nothing_changes() {
    for original in [convolutional(), dense()] {
        let (found, _) = compensated(&original, &[], Compensation::LeastSquares);
        assert_eq!(found.layers, [0, 2]);
        assert_eq!(found.graph.hash(), original.hash());
    }
}

/// The matrices of `dense` in 16 bits, the first transposed on the way, too.
fn halves() -> Arc<Graph> {
    let half =
        |tensor: &Tensor| from_f32(numbers(tensor), tensor.shape().to_vec(), ElementType::Float16).unwrap();
    let cast = || vec![AttributeProto::from_int("to", ElementType::Float32.to_onnx().into())];
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "5"])
            .constant("w1", &half(&mixed(&[6, 5], 4, &[(5, &[(0, 1.0), (1, -2.0)])])))
            .constant("w2", &half(&random(&[6, 7], 6)))
            .constant("b2", &random(&[7], 7))
            .node_with("Transpose", &["w1"], &["t1"], vec![AttributeProto::from_ints("perm", [1, 0])])
            .node_with("Cast", &["t1"], &["c1"], cast())
            .node_with("Cast", &["w2"], &["c2"], cast())
            .node("MatMul", &["x", "c1"], &["h"])
            .node("MatMul", &["h", "c2"], &["m"])
            .node("Add", &["m", "b2"], &["y"])
            .output("y"),
    )
}

#[test]
fn what_is_fitted_keeps_the_types_of_the_file() {
    let original = halves();
    for gone in [&[5usize][..], &[1, 2]] {
        let (found, [before, after]) = compensated(&original, gone, Compensation::LeastSquares);
        assert!(after < 0.9 * before, "{before} {after}");
        assert!(found.layers[0] > 0);
        let types = |graph: &Graph| {
            graph
                .values
                .iter()
                .filter_map(|(id, value)| Some((value.name.clone(), graph.tensor(id)?.element_type())))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(types(&found.graph), types(&original));
    }
}

#[test]
fn weights_that_are_integers_in_the_file_stay_and_means_are_absorbed() {
    let integers = |seed: u64| {
        let values: Vec<i8> = numbers(&random(&[4, 3], seed)).iter().map(|x| (20.0 * x) as i8).collect();
        Tensor::from_slice(vec![4, 3], &values).unwrap()
    };
    let cast = vec![AttributeProto::from_int("to", ElementType::Float32.to_onnx().into())];
    let original = constant_unit(|model| {
        model
            .constant("i2", &integers(9))
            .node_with("Cast", &["i2"], &["f2"], cast)
            .node("MatMul", &["h", "f2"], &["m"])
            .node("Add", &["m", "b2"], &["y"])
    });
    let x = samples(&original, SAMPLES);
    let (smaller, found) = compensated_on(&original, &[1, 3], &x, &options(Compensation::LeastSquares, 16));
    let weight = |graph: &Graph| graph.tensor(graph.value_named("i2").unwrap()).unwrap().clone();
    assert_eq!(weight(&found.graph), weight(&smaller));
    let [before, after] =
        [&smaller, &Arc::new(found.graph.clone())].map(|graph| distance(&original, graph, &x));
    assert!(found.layers[0] == 1 && after < before, "{before} {after}");
}

#[test]
fn what_cannot_be_made_is_made_as_well_as_it_can() {
    for original in [convolutional(), dense()] {
        for gone in [&[0usize, 5][..], &[1, 2, 3], &[0, 1, 2, 3, 4]] {
            let (_, [before, after]) = compensated(&original, gone, Compensation::LeastSquares);
            let (_, [_, means]) = compensated(&original, gone, Compensation::Means);
            assert!(after < means && means <= before * 1.0001, "{gone:?}: {before} {means} {after}");
        }
    }
}

/// A unit that is always 2, behind a sum, read by a layer in whose place comes `node` with what it adds.
fn constant_unit(layers: impl FnOnce(ModelBuilder) -> ModelBuilder) -> Arc<Graph> {
    let mut weight = numbers(&random(&[5, 4], 8));
    (0..5).for_each(|row| weight[row * 4 + 3] = 0.0);
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "5"])
        .constant("w1", &Tensor::from_slice(vec![5, 4], &weight).unwrap())
        .constant("b1", &Tensor::from_slice(vec![4], &[0.1f32, -0.2, 0.3, 2.0]).unwrap())
        .constant("w2", &random(&[4, 3], 9))
        .constant("b2", &random(&[3], 10))
        .constant("mean", &random(&[3], 11))
        .constant("scale", &Tensor::from_slice(vec![3], &[1.5f32, 0.5, 2.0]).unwrap())
        .constant("variance", &Tensor::from_slice(vec![3], &[1.0f32, 2.0, 0.5]).unwrap())
        .node("Gemm", &["x", "w1", "b1"], &["g"])
        .node("Relu", &["g"], &["h"]);
    graph(layers(model).output("y"))
}

#[test]
fn means_are_absorbed_wherever_something_is_added() {
    let beta = || vec![AttributeProto::from_float("beta", 0.5)];
    let models = [
        constant_unit(|model| model.node("Gemm", &["h", "w2", "b2"], &["y"])),
        constant_unit(|model| model.node_with("Gemm", &["h", "w2", "b2"], &["y"], beta())),
        constant_unit(|model| model.node("MatMul", &["h", "w2"], &["m"]).node("Add", &["b2", "m"], &["y"])),
        constant_unit(|model| {
            let norm = ["m", "scale", "b2", "mean", "variance"];
            model.node("MatMul", &["h", "w2"], &["m"]).node("BatchNormalization", &norm, &["y"])
        }),
    ];
    for original in models {
        let (found, [before, after]) = compensated(&original, &[3], Compensation::Means);
        assert!(before > 0.05 && after < 1e-5, "{before} {after}");
        assert_eq!(found.layers[0], 1);
        assert_eq!(found.graph.cost().params, original.cost().params - 5 - 1 - 3);
    }
    // Where nothing is added, nothing can be absorbed.
    let nowhere = constant_unit(|model| model.node("MatMul", &["h", "w2"], &["y"]));
    let (found, [before, after]) = compensated(&nowhere, &[3], Compensation::Means);
    assert_eq!((found.layers[0], before), (0, after));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for settings in [
        CompensateSettings { samples: 1, ..CompensateSettings::default() },
        CompensateSettings { batch_size: 0, ..CompensateSettings::default() },
    ] {
        assert!(settings.check().is_err());
    }
}
