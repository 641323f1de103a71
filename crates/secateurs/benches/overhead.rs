//! What the interpreter adds to libtorch: a chain of Relu on four numbers, against the same calls without a graph.

use std::sync::Arc;
use std::time::Instant;

use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::{ElementType, Model, ModelBuilder};
use secateurs_torch::tch::{self, Device, Kind, Tensor};

const OPS: usize = 1000;
const ROUNDS: usize = 200;

fn main() {
    secateurs_torch::load().expect("libtorch loads; run `cargo xtask setup`");
    tch::set_num_threads(1);
    let graph = Graph::from_model(chain()).expect("the chain is a graph");
    let session = Session::new(Arc::new(graph), SessionOptions::default()).expect("the chain loads");
    let x = Tensor::f_randn([4], (Kind::Float, Device::Cpu)).expect("randn runs");
    let inputs = [x.shallow_clone()];
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tch::no_grad(|| {
            let start = Instant::now();
            session.forward(&inputs, &[]).expect("the chain runs");
            with.push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let mut y = x.shallow_clone();
            for _ in 0..OPS {
                y = y.f_relu().expect("relu runs");
            }
            without.push(start.elapsed().as_secs_f64());
        });
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        1e6 * times[times.len() / 2] / OPS as f64
    };
    let (with, without) = (median(&mut with), median(&mut without));
    println!(
        "interpreter: {with:.2} µs an op, libtorch alone {without:.2} µs, overhead {:.2} µs an op",
        with - without
    );
}

fn chain() -> Model {
    let first = ModelBuilder::new(17).input("v0", ElementType::Float32, &["4"]);
    let link =
        |model: ModelBuilder, i: usize| model.node("Relu", &[&format!("v{i}")], &[&format!("v{}", i + 1)]);
    let chain = (0..OPS).fold(first, link).output(&format!("v{OPS}"));
    chain.build().expect("the chain is a model")
}
