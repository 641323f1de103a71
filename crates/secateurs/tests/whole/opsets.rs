//! One net in the form that each version of ONNX wants.

use secateurs_graph::ops::REGISTRY;
use secateurs_graph::session::Precision;
use secateurs_onnx::Model;
use secateurs_onnx::proto::AttributeProto;

use crate::net::{Bench, Net, close, in_onnx_runtime, input, run};

const OLDEST: i64 = 9;
/// ONNX Runtime that we test with has at least this one.
const KNOWN: i64 = 22;

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, values.to_vec())
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto::from_int(name, value)
}

/// Builds with a list of integers that is an attribute before a version, and an input from there on.
fn listed(net: Net, opset: i64, since: i64, op: &str, x: &str, list: (&str, &[i64]), y: &str) -> Net {
    listed_with(net, opset, since, op, x, list, y, vec![])
}

#[expect(clippy::too_many_arguments, reason = "a node in two forms")]
fn listed_with(
    net: Net,
    opset: i64,
    since: i64,
    op: &str,
    x: &str,
    (name, values): (&str, &[i64]),
    y: &str,
    mut attributes: Vec<AttributeProto>,
) -> Net {
    if opset < since {
        attributes.push(ints(name, values));
        return net.with(op, &[x], &[y], attributes);
    }
    let input = format!("{y}.{name}");
    net.ints(&input, values).with(op, &[x, &input], &[y], attributes)
}

fn model(opset: i64) -> Model {
    let net = Net::new(opset)
        .input("x", &["batch", "3", "8", "8"])
        .conv("x", "one", [8, 3], 3, "a")
        .batch_norm("a", "norm", 8, "b");
    let net = match opset {
        ..11 => net.with(
            "Clip",
            &["b"],
            &["c"],
            vec![AttributeProto::from_float("min", -1.0), AttributeProto::from_float("max", 1.5)],
        ),
        _ => net.number("low", -1.0).number("high", 1.5).node("Clip", &["b", "low", "high"], "c"),
    };
    let net = match opset {
        ..12 => net.with("Dropout", &["c"], &["d"], vec![AttributeProto::from_float("ratio", 0.3)]),
        _ => net.number("ratio", 0.3).node("Dropout", &["c", "ratio"], "d"),
    };
    let halved = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let net = net.with("MaxPool", &["d"], &["e"], halved);
    let net = match opset {
        ..11 => net.with("Pad", &["e"], &["f"], vec![ints("pads", &[0, 0, 1, 0, 0, 0, 0, 1])]),
        _ => net.ints("f.pads", &[0, 0, 1, 0, 0, 0, 0, 1]).node("Pad", &["e", "f.pads"], "f"),
    };
    let net = match opset {
        ..10 => net.with(
            "Slice",
            &["f"],
            &["g"],
            vec![ints("starts", &[0, 1]), ints("ends", &[4, 5]), ints("axes", &[2, 3])],
        ),
        _ => net.ints("g.starts", &[0, 1]).ints("g.ends", &[4, 5]).ints("g.axes", &[2, 3]).node(
            "Slice",
            &["f", "g.starts", "g.ends", "g.axes"],
            "g",
        ),
    };
    let net = match opset {
        ..10 => net.values("h.scales", &[4], &[1.0, 1.0, 2.0, 2.0]).node("Upsample", &["g", "h.scales"], "h"),
        10 => net.values("h.scales", &[4], &[1.0, 1.0, 2.0, 2.0]).node("Resize", &["g", "h.scales"], "h"),
        // The region of interest can be left out from 13 on.
        _ => net.values("h.scales", &[4], &[1.0, 1.0, 2.0, 2.0]).values("h.roi", &[0], &[]).with(
            "Resize",
            &["g", if opset < 13 { "h.roi" } else { "" }, "h.scales"],
            &["h"],
            vec![
                AttributeProto::from_string("coordinate_transformation_mode", "asymmetric"),
                AttributeProto::from_string("nearest_mode", "floor"),
            ],
        ),
    };
    let net = net.conv("h", "two", [6, 8], 3, "i").node("Relu", &["i"], "j");
    let net = match opset {
        ..13 => net.with("Split", &["j"], &["k1", "k2"], vec![int("axis", 1), ints("split", &[4, 2])]),
        _ => net.ints("split", &[4, 2]).with("Split", &["j", "split"], &["k1", "k2"], vec![int("axis", 1)]),
    };
    let net = net.with("Concat", &["k2", "k1"], &["l"], vec![int("axis", 1)]);
    let net =
        listed_with(net, opset, 18, "ReduceMean", "l", ("axes", &[2, 3]), "m", vec![int("keepdims", 1)]);
    let net = listed(net, opset, 13, "Squeeze", "m", ("axes", &[2, 3]), "n");
    let net = listed(net, opset, 13, "Unsqueeze", "n", ("axes", &[1]), "o");
    let net = net.dense("o", "three", [6, 10], "p").node("Tanh", &["p"], "q");
    let net = listed_with(net, opset, 13, "ReduceSum", "q", ("axes", &[1]), "r", vec![int("keepdims", 0)]);
    net.param("head.weight", &[4, 10])
        .param("head.bias", &[4])
        .with("Gemm", &["r", "head.weight", "head.bias"], &["s"], vec![int("transB", 1)])
        .with("Softmax", &["s"], &["y"], vec![int("axis", 1)])
        .done(&["y"])
}

#[test]
fn a_net_of_every_opset_runs_as_in_onnx_runtime_and_is_pruned_exactly() {
    let newest = REGISTRY.iter().filter(|op| op.domain.is_empty()).flat_map(|op| op.since).max().unwrap();
    let inputs = [input("x", &[2, 3, 8, 8])];
    let mut first = None;
    for opset in OLDEST..=*newest {
        let bench = Bench::new(&model(opset));
        let ours = run(&bench.graph, &inputs, Precision::Single);
        // The versions say the same.
        close(&ours, first.get_or_insert_with(|| ours.clone()), 1e-6, &format!("opset {opset}"));
        let theirs = in_onnx_runtime(&bench.path(), &bench.graph, &inputs);
        match &theirs {
            Ok(theirs) => close(&ours, theirs, 1e-5, &format!("opset {opset} in ONNX Runtime")),
            Err(why) if opset > KNOWN => eprintln!("opset {opset} is not compared with ONNX Runtime: {why}"),
            Err(why) => panic!("opset {opset}: {why}"),
        }
        bench.exact(&inputs, &[], theirs.is_ok());
    }
}
