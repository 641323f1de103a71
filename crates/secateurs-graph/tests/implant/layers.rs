//! Rows of single layers computed in another form.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use secateurs_graph::Graph;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::surgery::{Equivalent, equivalent, implant};
use secateurs_onnx::{Model, Tensor, encode};

use crate::layer::case;

pub fn run(graph: &Graph, feed: &[Tensor]) -> Vec<Tensor> {
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options).unwrap().run(feed).unwrap()
}

pub fn difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    let mut largest = 0f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.shape(), b.shape());
        let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        let scale = b.iter().fold(1e-9f64, |m, v| m.max(v.abs()));
        largest = a.iter().zip(&b).fold(largest, |m, (a, b)| m.max((a - b).abs() / scale));
    }
    largest
}

/// Whether wrong weights are noticed: not where the centre sees nothing but padding.
fn check(seed: u64) -> Result<bool, TestCaseError> {
    let case = case(seed);
    let (graph, own) = (&case.graph, case.implant);
    let done = implant(graph, std::slice::from_ref(&own));
    if !case.possible {
        let why = done.unwrap_err().to_string();
        prop_assert!(why.contains("it has groups") || why.contains("only a run can tell"), "{why}");
        return Ok(true);
    }
    let done = done.unwrap();
    let mut other = graph.clone();
    let counts = (done.gathers, done.slices);
    done.patch.apply(&mut other).unwrap();
    let count = |op: &str| {
        let of = |graph: &Graph| graph.nodes.values().filter(|node| node.op.name() == op).count();
        of(&other) - of(graph)
    };
    prop_assert_eq!((count("Gather"), count("Slice")), counts);
    prop_assert_eq!(other.nodes.contains_key(own.node), own.rows.len() < case.rows);
    let channels: Vec<usize> = (0..case.channels).collect();
    let mut twin = graph.clone();
    equivalent(graph, &[Equivalent { implant: own.clone(), channels: channels.clone() }])
        .unwrap()
        .apply(&mut twin)
        .unwrap();
    let again =
        Graph::from_model(Model::from_bytes(encode(&other.to_model()).unwrap(), None).unwrap()).unwrap();
    let feed = case.feed;
    let expected = run(&twin, &feed);
    let found = difference(&run(&again, &feed), &expected);
    prop_assert!(found <= 1e-9, "differs by {found:e}: {own:?}\n{graph:?}\n{other:?}");
    let mut wrong = own;
    let start = wrong.start.as_mut().unwrap();
    for weight in &mut start.weights {
        let shape = weight.shape().to_vec();
        *weight = Tensor::from_slice(
            shape,
            &weight.to_vec::<f32>().unwrap().iter().map(|w| w + 1.0).collect::<Vec<_>>(),
        )
        .unwrap();
    }
    let mut twin = graph.clone();
    equivalent(graph, &[Equivalent { implant: wrong, channels }]).unwrap().apply(&mut twin).unwrap();
    Ok(difference(&run(&again, &feed), &run(&twin, &feed)) > 1e-9)
}

#[test]
fn any_rows_of_any_layer_are_computed_as_by_the_equivalent_weights() {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 400;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0);
    }
    let [tried, noticed] = [(); 2].map(|()| Cell::new(0));
    let count = |seed: u64| {
        noticed.set(noticed.get() + usize::from(check(seed)?));
        tried.set(tried.get() + 1);
        Ok(())
    };
    TestRunner::new(config).run(&any::<u64>(), count).unwrap();
    let [tried, noticed] = [tried.get(), noticed.get()];
    assert!(10 * noticed > 9 * tried, "wrong weights are noticed in only {noticed} of {tried} layers");
}
