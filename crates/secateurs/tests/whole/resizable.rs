//! Cached keys and values, and states of recurrent layers, that shrink with the heads and hidden units: plan, file, and check in ONNX
//! Runtime.

use secateurs::pipeline::{ApplyError, PlanningError, apply, plan};
use secateurs::plan::{Plan, PlanError};
use secateurs_graph::session::Precision;
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{Model, Tensor};

use crate::net::{Bench, Net, close, in_onnx_runtime, input, options, run};

/// One layer of a decoder: six queries of two over three cached keys and values, whose number is not known before.
fn decoder() -> Model {
    let perm = |order: [i64; 4]| vec![AttributeProto::from_ints("perm", order.to_vec())];
    let mut net = Net::new(17)
        .input("x", &["batch", "5", "8"])
        .input("past_key_values.0.key", &["batch", "3", "past", "2"])
        .input("past_key_values.0.value", &["batch", "3", "past", "2"])
        .dense("x", "q", [8, 12], "q1")
        .ints("queries", &[0, 0, 6, 2])
        .node("Reshape", &["q1", "queries"], "q2")
        .with("Transpose", &["q2"], &["q4"], perm([0, 2, 1, 3]))
        .ints("heads", &[0, 0, 3, 2])
        .ints("second", &[2])
        .ints("twice", &[1, 1, 2, 1, 1])
        .ints("shared", &[0, 6, -1, 2]);
    for (part, cached) in [("k", "key"), ("v", "value")] {
        let n = |suffix: &str| format!("{part}{suffix}");
        let (past, present) = (format!("past_key_values.0.{cached}"), format!("present.0.{cached}"));
        net = net
            .dense("x", part, [8, 6], &n("1"))
            .node("Reshape", &[&n("1"), "heads"], &n("2"))
            .with("Transpose", &[&n("2")], &[&n("3")], perm([0, 2, 1, 3]))
            .with("Concat", &[&past, &n("3")], &[&present], vec![AttributeProto::from_int("axis", 2)])
            .node("Unsqueeze", &[&present, "second"], &n("5"))
            .node("Tile", &[&n("5"), "twice"], &n("6"))
            .node("Reshape", &[&n("6"), "shared"], &n("4"));
    }
    net.with("Transpose", &["k4"], &["kt"], perm([0, 1, 3, 2]))
        .node("MatMul", &["q4", "kt"], "qk")
        .with("Softmax", &["qk"], &["p"], vec![AttributeProto::from_int("axis", -1)])
        .node("MatMul", &["p", "v4"], "av")
        .with("Transpose", &["av"], &["avt"], perm([0, 2, 1, 3]))
        .ints("merged", &[0, 0, 12])
        .node("Reshape", &["avt", "merged"], "am")
        .dense("am", "o", [12, 8], "attended")
        .node("Add", &["x", "attended"], "y")
        .done(&["y", "present.0.key", "present.0.value"])
}

fn fed() -> Vec<Tensor> {
    vec![input("x", &[2, 5, 8]), input("past key", &[2, 3, 4, 2]), input("past value", &[2, 3, 4, 2])]
}

const CACHE: [&str; 2] = ["past_key_values.*", "present.*"];

fn shapes(graph: &Graph) -> Vec<String> {
    let ports = graph.inputs.iter().chain(&graph.outputs);
    ports.map(|&port| format!("{} {}", graph.values[port].name, graph.values[port].fact)).collect()
}

#[test]
fn a_decoder_loses_heads_with_their_cache() {
    let bench = Bench::new(&decoder());
    let theirs = in_onnx_runtime(&bench.path(), &bench.graph, &fed()).unwrap();
    close(&run(&bench.graph, &fed(), Precision::Single), &theirs, 1e-5, "in ONNX Runtime");
    bench.exact(&fed(), &CACHE, true);
    let smaller = Graph::read(&bench.smaller()).unwrap();
    let told = shapes(&smaller).join("\n");
    assert!(told.contains("past_key_values.0.key float32[batch, 2, past, 2]"), "{told}");
    // What is written can be fed with what comes out.
    let (plan, applied) = bench.pruned(5, &CACHE, true);
    let mut first = applied.ports.inputs(&fed()).unwrap();
    let smaller = Graph::read(&bench.smaller()).unwrap();
    let outputs = in_onnx_runtime(&bench.smaller(), &smaller, &first).unwrap();
    first[1..].clone_from_slice(&outputs[1..]);
    in_onnx_runtime(&bench.smaller(), &smaller, &first).unwrap();
    assert_eq!(
        plan.asked.resizable,
        ["past_key_values.0.key", "past_key_values.0.value", "present.0.key", "present.0.value"]
    );
}

#[test]
fn a_plan_is_applied_with_the_inputs_and_outputs_that_it_names() {
    let bench = Bench::new(&decoder());
    let plan = plan(&bench.graph, &options(1, &CACHE)).unwrap();
    let path = bench.smaller().with_file_name("plan.json");
    plan.write(&path).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan);
    let refused = |resizable: &[&str]| {
        let mut plan = plan.clone();
        plan.asked.resizable = resizable.iter().map(|&name| name.into()).collect();
        let Err(ApplyError::Plan(error)) = apply(&bench.graph, &plan) else { panic!("it is applied") };
        error
    };
    assert!(matches!(refused(&[]), PlanError::Group { .. }));
    let error = refused(&["past_key_values.*"]);
    assert!(matches!(error, PlanError::Resizable(_)), "{error}");
    assert!(error.to_string().contains("'present.0.key'"), "{error}");
}

#[test]
fn without_them_the_cache_stays() {
    let bench = Bench::new(&decoder());
    // Of the queries that share a head one can still go.
    bench.exact(&fed(), &[], true);
    assert_eq!(shapes(&Graph::read(&bench.smaller()).unwrap()), shapes(&bench.graph));
    let error = plan(&bench.graph, &options(0, &["y"])).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PlanningError::Resizable(_)), "{text}");
    assert!(text.contains("'y' (axis 1: tied to an axis of the model's input 'x'"), "{text}");
    // The width of the residual stream shrinks where both of its ends do.
    bench.exact(&fed(), &["x", "y"], true);
}

/// A recurrent layer of both directions whose states come from outside and go there.
fn recurrent(op: &str) -> (Model, Vec<Tensor>, Vec<&'static str>) {
    let gates = if op == "LSTM" { 4 } else { 3 };
    let net = Net::new(17)
        .input("x", &["4", "batch", "6"])
        .input("h0", &["2", "batch", "5"])
        .param("w", &[2, gates * 5, 6])
        .param("r", &[2, gates * 5, 5])
        .param("b", &[2, 2 * gates * 5]);
    let attributes = || {
        vec![
            AttributeProto::from_int("hidden_size", 5),
            AttributeProto::from_string("direction", "bidirectional"),
        ]
    };
    let net = match op {
        "LSTM" => net.input("c0", &["2", "batch", "5"]).with(
            op,
            &["x", "w", "r", "b", "", "h0", "c0"],
            &["ys", "hn", "cn"],
            attributes(),
        ),
        _ => net.with(op, &["x", "w", "r", "b", "", "h0"], &["ys", "hn"], attributes()),
    };
    let net = net
        .with("Transpose", &["ys"], &["yt"], vec![AttributeProto::from_ints("perm", vec![0, 2, 1, 3])])
        .ints("merged", &[0, 0, 10])
        .node("Reshape", &["yt", "merged"], "ym")
        .dense("ym", "o", [10, 3], "y");
    let mut fed = vec![input("x", &[4, 2, 6]), input("h0", &[2, 2, 5])];
    match op {
        "LSTM" => {
            fed.push(input("c0", &[2, 2, 5]));
            (net.done(&["y", "hn", "cn"]), fed, vec!["h0", "c0", "hn", "cn"])
        }
        _ => (net.done(&["y", "hn"]), fed, vec!["h0", "hn"]),
    }
}

#[test]
fn recurrent_layers_lose_hidden_units_with_their_states() {
    for op in ["LSTM", "GRU"] {
        let (model, fed, states) = recurrent(op);
        let bench = Bench::new(&model);
        bench.exact(&fed, &states, true);
        assert!(plan(&bench.graph, &options(0, &[])).is_err(), "the states keep their shape");
    }
}

#[test]
fn latency_of_the_smaller_model_is_that_of_its_own_inputs() {
    let bench = Bench::new(&decoder());
    let (_, applied) = bench.pruned(0, &CACHE, false);
    let sizes = Bindings::from([("past".into(), 4)]);
    let job = secateurs::pipeline::latency_job(&applied.graph, &bench.smaller(), 1, &sizes).unwrap();
    assert_eq!(job.shapes[1], ("past_key_values.0.key".into(), vec![1, 2, 4, 2]));
}
