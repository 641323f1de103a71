//! Activations that a convolution left with the channels innermost stay so through the ops that follow it.

use std::sync::Arc;

use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor as HostTensor};
use secateurs_torch::tch::{Device, Kind, Tensor};

use super::{Session, SessionOptions, Tap};
use crate::attribute::Attribute;
use crate::graph::Graph;

/// A node of a chain over one value: op type, constants, attributes.
type Link<'a> = (&'a str, Vec<HostTensor>, Vec<(&'a str, Attribute)>);

/// A model that runs a chain on x: [2, 3, 16, 16]; each node's output has its op's name.
fn model(chain: &[Link]) -> Model {
    let mut builder = ModelBuilder::new(17).input("x", ElementType::Float32, &["2", "3", "16", "16"]);
    let mut last = "x";
    for (op, constants, attributes) in chain {
        let names: Vec<String> = (0..constants.len()).map(|i| format!("{op}_{i}")).collect();
        for (name, constant) in names.iter().zip(constants) {
            builder = builder.constant(name, constant);
        }
        let inputs: Vec<&str> = [last].into_iter().chain(names.iter().map(String::as_str)).collect();
        let attributes = attributes.iter().map(|(name, value)| crate::save::attribute(name, value)).collect();
        builder = builder.node_with(op, &inputs, &[op], attributes);
        last = op;
    }
    builder.output(last).build().unwrap()
}

/// Small numbers of no particular pattern, above 0.
fn weights(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| 0.1 + (i * 37 % 101) as f32 / 101.0).collect();
    HostTensor::from_slice(shape.to_vec(), &values).unwrap()
}

fn channels_last(tensor: &Tensor) -> bool {
    let (size, stride) = (tensor.size(), tensor.stride());
    let [_, c, h, w] = size[..] else { return false };
    let wanted = [h * w * c, 1, w * c, c];
    // The stride of an axis of one index says nothing.
    (0..4).all(|i| size[i] == 1 || stride[i] == wanted[i])
}

#[test]
fn activations_stay_channels_last_through_a_convolutional_net() {
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    let pool = |kernel: i64, extra: &[(&'static str, Attribute)]| {
        let own = [("kernel_shape", ints(&[kernel, kernel])), ("strides", ints(&[2, 2]))];
        [own.as_slice(), extra].concat()
    };
    let channels = || weights(&[8]);
    let chain: Vec<Link> = vec![
        ("Conv", vec![weights(&[8, 3, 3, 3]), channels()], vec![("pads", ints(&[1, 1, 1, 1]))]),
        ("BatchNormalization", vec![channels(), channels(), channels(), channels()], vec![]),
        ("Relu", vec![], vec![]),
        ("MaxPool", vec![], pool(3, &[("pads", ints(&[1, 1, 1, 1]))])),
        ("AveragePool", vec![], pool(2, &[])),
        ("ConvTranspose", vec![weights(&[8, 5, 2, 2])], vec![("strides", ints(&[2, 2]))]),
        ("LRN", vec![], vec![("size", Attribute::Int(3))]),
        ("GlobalAveragePool", vec![], vec![]),
    ];
    stays_channels_last(&chain);
}

#[test]
fn uneven_padding_keeps_the_layout() {
    let same = |kernel: &[i64]| {
        vec![("kernel_shape", Attribute::Ints(kernel.to_vec())), ("auto_pad", "SAME_UPPER".into())]
    };
    stays_channels_last(&[
        ("Conv", vec![weights(&[8, 3, 2, 4])], same(&[2, 4])),
        ("MaxPool", vec![], same(&[2, 3])),
        ("AveragePool", vec![], same(&[3, 2])),
    ]);
}

fn stays_channels_last(chain: &[Link]) {
    let graph = Arc::new(Graph::from_model(model(chain)).unwrap());
    let session = Session::new(graph.clone(), SessionOptions::default()).unwrap();
    let taps: Vec<Tap> = chain
        .iter()
        .map(|(op, ..)| Tap::Value(graph.value_named(op).expect("a value of this name")))
        .collect();
    let x = Tensor::f_ones([2, 3, 16, 16], (Kind::Float, Device::Cpu)).unwrap();
    let run = session.forward(&[x], &taps).unwrap();
    for ((op, ..), tensor) in chain.iter().zip(&run.taps) {
        assert!(channels_last(tensor), "{op} gives {:?} with strides {:?}", tensor.size(), tensor.stride());
    }
}
