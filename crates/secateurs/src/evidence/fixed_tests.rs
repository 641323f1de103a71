//! Models that fix their batch are measured as those that leave it free, though their sessions have nodes of their own.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor as HostTensor};

use super::tests::{SAMPLES, assert_near, data, double, graph, ints, measured, wave};
use super::{MeasureOptions, Score, Trace};

/// A token before the positions of a picture, and a residual feed-forward layer; `fixed` has the token as a constant of one sample.
fn token(fixed: bool) -> Arc<Graph> {
    let axis = |axis| vec![AttributeProto::from_int("axis", axis)];
    let mut model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &[if fixed { "1" } else { "batch" }, "4", "4"])
        .constant("one", &wave(&[1, 1, 4], 0.9, 0.5, 0.0))
        .constant("up", &wave(&[4, 6], 0.71, 0.4, 0.0))
        .constant("down", &wave(&[6, 4], 0.53, 0.5, 0.0))
        .constant("head", &wave(&[4, 3], 1.3, 0.9, 0.0));
    model = match fixed {
        true => model.node_with("Concat", &["one", "x"], &["tokens"], axis(1)),
        false => model
            .constant("first", &ints(&[0]))
            .constant("rest", &ints(&[1, 4]))
            .node("Shape", &["x"], &["shape"])
            .node("Gather", &["shape", "first"], &["batch"])
            .node_with("Concat", &["batch", "rest"], &["sizes"], axis(0))
            .node("Expand", &["one", "sizes"], &["token"])
            .node_with("Concat", &["token", "x"], &["tokens"], axis(1)),
    };
    graph(
        model
            .node("MatMul", &["tokens", "up"], &["u"])
            .node("Relu", &["u"], &["r"])
            .node("MatMul", &["r", "down"], &["d"])
            .node("Add", &["d", "tokens"], &["sum"])
            .node_with(
                "ReduceMean",
                &["sum"],
                &["mean"],
                vec![AttributeProto::from_ints("axes", [1]), AttributeProto::from_int("keepdims", 0)],
            )
            .node("MatMul", &["mean", "head"], &["y"])
            .output("y"),
    )
}

/// A map resized between two convolutions; `fixed` names the sizes of a batch of one.
fn resized(fixed: bool) -> Arc<Graph> {
    let pads = || vec![AttributeProto::from_ints("pads", [1; 4])];
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &[if fixed { "1" } else { "batch" }, "2", "4", "4"])
        .constant("w", &wave(&[5, 2, 3, 3], 0.71, 0.4, 0.0))
        .constant("v", &wave(&[6, 5, 3, 3], 0.53, 0.3, 0.0))
        .constant("head", &wave(&[6, 3], 1.3, 0.9, 0.0))
        .constant("sizes", &ints(&[1, 5, 8, 8]))
        .constant("scales", &HostTensor::from_slice(vec![4], &[1f32, 1.0, 2.0, 2.0]).unwrap())
        .node_with("Conv", &["x", "w"], &["c"], pads())
        .node("Relu", &["c"], &["r"]);
    let model = match fixed {
        true => model.node("Resize", &["r", "", "", "sizes"], &["large"]),
        false => model.node("Resize", &["r", "", "scales"], &["large"]),
    };
    graph(
        model
            .node_with("Conv", &["large", "v"], &["d"], pads())
            .node("Relu", &["d"], &["e"])
            .node_with(
                "ReduceMean",
                &["e"],
                &["mean"],
                vec![AttributeProto::from_ints("axes", [2, 3]), AttributeProto::from_int("keepdims", 0)],
            )
            .node("MatMul", &["mean", "head"], &["y"])
            .output("y"),
    )
}

#[test]
fn models_that_fix_their_batch_are_measured_as_those_that_do_not() {
    for model in [token, resized] {
        let [fixed, free] = [true, false].map(|fixed| {
            let graph = model(fixed);
            let folder = tempfile::tempdir().unwrap();
            let data = data(&graph, folder.path(), Some(3));
            let options = MeasureOptions { trace: Some(Trace::PerSample), ..double() };
            let evidence = measured(&graph, &data, &options);
            assert_eq!(evidence.header.samples, SAMPLES);
            let projected = MeasureOptions { trace: Some(Trace::Projected), ..double() };
            measured(&graph, &data, &projected);
            evidence
        });
        let parameters = |evidence: &super::Evidence| {
            let groups = evidence.header.groups.iter();
            groups.map(|group| (group.label(), group.units)).collect::<Vec<_>>()
        };
        assert_eq!(parameters(&fixed), parameters(&free));
        for score in [Score::Quadratic, Score::Loss, Score::Activation, Score::Trace] {
            let [fixed, free] = [&fixed, &free].map(|evidence| evidence.score(score).unwrap().values);
            assert_near(&fixed, &free, 1e-9);
        }
    }
}
