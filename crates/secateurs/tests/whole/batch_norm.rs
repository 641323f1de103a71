//! Batch norms that normalise by the statistics of the batch, as models have them that were exported in training mode.

use secateurs::pipeline::{PlanningError, plan};
use secateurs_graph::session::Precision;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{Model, Tensor};

use crate::net::{Bench, Net, close, in_onnx_runtime, input, options, run};

const EPSILON: f32 = 0.01;
const MOMENTUM: f32 = 0.75;

/// A convolution, then what `norm` makes of `a` (8 channels) as `b`, then a head.
fn around(opset: i64, norm: impl FnOnce(Net) -> Net, outputs: &[&str]) -> Model {
    let net = Net::new(opset).input("x", &["batch", "3", "6", "6"]).conv("x", "one", [8, 3], 3, "a");
    let net = net.positive("scale", &[8]).param("bias", &[8]).param("mean", &[8]).positive("var", &[8]);
    norm(net)
        .node("Relu", &["b"], "c")
        .node("GlobalAveragePool", &["c"], "d")
        .node("Flatten", &["d"], "e")
        .param("head.weight", &[4, 8])
        .with("Gemm", &["e", "head.weight"], &["y"], vec![AttributeProto::from_int("transB", 1)])
        .done(outputs)
}

/// The norm as one node that lists so many outputs.
fn fused(opset: i64, listed: usize, outputs: &[&str]) -> Model {
    let mut attributes = vec![
        AttributeProto::from_float("epsilon", EPSILON),
        AttributeProto::from_float("momentum", MOMENTUM),
    ];
    if opset >= 14 {
        attributes.push(AttributeProto::from_int("training_mode", 1));
    }
    let made = ["b", "new_mean", "new_var", "saved_mean", "saved_var"];
    let norm = |net: Net| {
        net.with("BatchNormalization", &["a", "scale", "bias", "mean", "var"], &made[..listed], attributes)
    };
    around(opset, norm, outputs)
}

/// The same step by step, with the statistics that are left behind.
fn decomposed() -> Model {
    let norm = |net: Net| {
        let axes = || vec![AttributeProto::from_ints("axes", vec![0, 2, 3])];
        let column = |net: Net, name: &str| {
            let shape = format!("{name}4");
            net.node("Reshape", &[name, "column"], &shape)
        };
        let mut net = net.ints("column", &[1, 8, 1, 1]).ints("row", &[8]);
        for name in ["scale", "bias"] {
            net = column(net, name);
        }
        net.number("epsilon", EPSILON)
            .number("old", MOMENTUM)
            .number("new", 1.0 - MOMENTUM)
            .with("ReduceMean", &["a"], &["m"], axes())
            .node("Sub", &["a", "m"], "centred")
            .node("Mul", &["centred", "centred"], "squares")
            .with("ReduceMean", &["squares"], &["v"], axes())
            .node("Add", &["v", "epsilon"], "v1")
            .node("Sqrt", &["v1"], "deviation")
            .node("Div", &["centred", "deviation"], "normal")
            .node("Mul", &["normal", "scale4"], "scaled")
            .node("Add", &["scaled", "bias4"], "b")
            .node("Reshape", &["m", "row"], "saved_mean")
            .node("Reshape", &["v", "row"], "saved_var")
            .node("Mul", &["mean", "old"], "mean_old")
            .node("Mul", &["saved_mean", "new"], "mean_new")
            .node("Add", &["mean_old", "mean_new"], "new_mean")
            .node("Mul", &["var", "old"], "var_old")
            .node("Mul", &["saved_var", "new"], "var_new")
            .node("Add", &["var_old", "var_new"], "new_var")
    };
    around(17, norm, &["y", "new_mean", "new_var", "saved_mean", "saved_var"])
}

fn inputs() -> [Tensor; 1] {
    [input("x", &[3, 3, 6, 6])]
}

#[test]
fn they_compute_what_the_definition_says() {
    let bench = Bench::new(&decomposed());
    let expected = in_onnx_runtime(&bench.path(), &bench.graph, &inputs()).unwrap();
    let outputs = ["y", "new_mean", "new_var", "saved_mean", "saved_var"];
    for (opset, listed) in [(15, 3), (14, 3), (15, 1), (9, 5), (9, 3), (7, 5)] {
        let bench = Bench::new(&fused(opset, listed, &outputs[..listed]));
        let found = run(&bench.graph, &inputs(), Precision::Single);
        close(&found, &expected[..listed], 1e-5, &format!("opset {opset}, {listed} outputs"));
    }
}

#[test]
fn channels_go_exactly_where_the_statistics_are_not_outputs() {
    for (opset, listed) in [(15, 3), (14, 1), (9, 5)] {
        Bench::new(&fused(opset, listed, &["y"])).exact(&inputs(), &[], false);
    }
}

#[test]
fn statistics_that_are_outputs_hold_the_channels_unless_they_may_shrink() {
    for (opset, listed) in [(15, 3), (9, 5)] {
        let bench = Bench::new(&fused(opset, listed, &["y", "new_mean", "new_var"]));
        let error = plan(&bench.graph, &options(0, &[])).unwrap_err();
        assert!(matches!(error, PlanningError::Select(_)), "{error}");
        bench.exact(&inputs(), &["new_*"], false);
    }
}
