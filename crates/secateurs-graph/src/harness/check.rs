//! The checks of the common harness.

use std::sync::Arc;

use secateurs_onnx::Tensor;

use super::case::Case;
use crate::attribute::Attributes;
use crate::dim::Bindings;
use crate::fact::{Content, Fact};
use crate::graph::Graph;
use crate::op::{ParseContext, Register};
use crate::session::{Precision, Session, SessionOptions};

/// Tries an op with all its cases.
pub fn check<T: Register>() {
    let cases = T::cases();
    assert!(!cases.is_empty(), "{} has no cases", T::NAME);
    for (i, case) in cases.iter().enumerate() {
        let what = format!("{} case {i} (opset {}, {:?})", T::NAME, case.opset, case.attributes);
        attributes_round_trip::<T>(case, &what);
        let graph = Graph::from_model(case.model::<T>(false)).unwrap_or_else(|e| panic!("{what}: {e}"));
        let graph = Arc::new(graph);
        let fed = case.fed_tensors();
        let outputs = run(&graph, &fed, false, &what);
        let double = run(&graph, &fed, true, &what);
        for (single, double) in outputs.iter().zip(&double) {
            assert_close(single, double, case.tolerance, &format!("{what}: 32 against 64 bits"));
        }
        inference_agrees(&graph, &outputs, &what);
        symbolic_inference_agrees::<T>(case, &outputs, &what);
        if case.axes {
            super::axes::check(&graph, &fed, &double, case.ordered, &what);
        }
        super::annihilates::check(&graph, &fed, &what);
        super::mixed::check(&graph, &fed, &what);
        super::shrink::check(&graph, &fed, &double, &[0, 0, 1, 2], &what);
        for symbols in [1, 2] {
            let what = format!("{what}: with symbols for the first {symbols} axes");
            let graph = Graph::from_model(case.model_where::<T>(|axis| axis < symbols));
            let graph = Arc::new(graph.unwrap_or_else(|e| panic!("{what}: {e}")));
            super::shrink::check(&graph, &fed, &double, &[1], &what);
        }
    }
}

fn attributes_round_trip<T: Register>(case: &Case, what: &str) {
    let cx = ParseContext { opset: case.opset, inputs: case.inputs.len(), outputs: case.outputs };
    let mut given = Attributes::new(case.attributes.clone());
    let op = T::parse(&mut given, &cx).unwrap_or_else(|e| panic!("{what}: {e}"));
    let left = given.rest();
    assert!(left.is_empty(), "{what}: attributes not read: {left:?}");
    let emitted = op.attributes().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let again = T::parse(&mut Attributes::new(emitted), &cx).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(format!("{op:?}"), format!("{again:?}"), "{what}: attributes do not survive");
}

/// Runs a graph of the harness.
pub fn run(graph: &Arc<Graph>, fed: &[Tensor], double: bool, what: &str) -> Vec<Tensor> {
    let precision = if double { Precision::Double } else { Precision::Single };
    let session = Session::new(graph.clone(), SessionOptions { precision, ..SessionOptions::default() });
    session.and_then(|s| s.run(fed)).unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn inference_agrees(graph: &Graph, outputs: &[Tensor], what: &str) {
    for (&id, tensor) in graph.outputs.iter().zip(outputs) {
        let fact = &graph.values[id].fact;
        assert_agrees(fact, tensor, what);
        assert!(fact.rank().is_some(), "{what}: not even the rank is inferred");
    }
}

/// The sizes that the symbols of a case's model stand for.
pub fn bindings() -> Bindings {
    (2..1000).map(|n| (format!("d{n}"), n)).collect()
}

fn symbolic_inference_agrees<T: Register>(case: &Case, outputs: &[Tensor], what: &str) {
    let what = format!("{what}: with symbolic sizes");
    let mut graph = Graph::from_model(case.model::<T>(true)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let bindings = bindings();
    // First what the symbols say, bound afterwards; then inference after binding.
    let symbolic: Vec<Fact> = graph.outputs.iter().map(|&v| graph.values[v].fact.bind(&bindings)).collect();
    graph.bind(&bindings).unwrap_or_else(|e| panic!("{what}: {e}"));
    for ((fact, &id), tensor) in symbolic.iter().zip(&graph.outputs).zip(outputs) {
        assert_agrees(fact, tensor, &what);
        assert_agrees(&graph.values[id].fact, tensor, &what);
    }
}

fn assert_agrees(fact: &Fact, tensor: &Tensor, what: &str) {
    if let Some(element_type) = fact.element_type {
        assert_eq!(element_type, tensor.element_type(), "{what}: inferred {fact}");
    }
    let Some(shape) = &fact.shape else { return };
    assert_eq!(shape.len(), tensor.shape().len(), "{what}: inferred {fact}, got {:?}", tensor.shape());
    for (dim, &size) in shape.iter().zip(tensor.shape()) {
        assert!(
            dim.known().is_none_or(|d| d == size as i64) && (dim.known().is_some() || !dim.is_determined()),
            "{what}: inferred {fact}, got {:?}",
            tensor.shape()
        );
    }
    match &fact.content {
        Some(Content::Ints(ints)) => {
            let got = tensor.to_i64_vec().unwrap();
            for (dim, got) in ints.iter().zip(got) {
                assert!(dim.known().is_none_or(|d| d == got), "{what}: inferred {ints:?}, got {tensor:?}");
            }
        }
        Some(Content::Floats(floats)) => {
            for (a, b) in floats.iter().zip(tensor.to_f64_vec().unwrap()) {
                assert!(
                    (a - b).abs() <= 1e-5 * b.abs().max(1.0),
                    "{what}: inferred {floats:?}, got {tensor:?}"
                );
            }
        }
        None => {}
    }
}

/// `max|a − b| ≤ tolerance · max|b|`; NaN only where both are.
pub fn close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<(), String> {
    if a.shape() != b.shape() {
        return Err(format!("the shapes are {:?} and {:?}", a.shape(), b.shape()));
    }
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    let scale = y.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs())).max(1e-6);
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale;
    match x.iter().zip(&y).position(|(a, b)| !same(*a, *b)) {
        Some(i) => Err(format!("element {i} is {} and {}", x[i], y[i])),
        None => Ok(()),
    }
}

/// Panics unless two tensors are close.
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    close(a, b, tolerance).unwrap_or_else(|e| panic!("{what}: {e}"));
}
