//! A model above 2 GB, which no protobuf message holds. Its weights are holes in a sparse file but for the start of every row, so that it
//! takes little place on the disk.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use secateurs::pipeline::{WriteAppliedOptions, apply, plan, write_applied};
use secateurs_graph::session::Precision;
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::proto::{AttributeProto, StringStringEntryProto, TensorProto};
use secateurs_onnx::{ElementType, Model, Tensor};

use crate::net::{Net, close, floats, in_onnx_runtime, input, normal, options, run};

const NEURONS: usize = 2048;
/// 2.1 GB of weights.
const FEATURES: usize = 1 << 18;
/// Numbers of a row that are not zero.
const START: usize = 8;

#[test]
fn a_model_above_two_gigabytes_is_pruned_and_written_with_external_data() {
    let folder = tempfile::tempdir().unwrap();
    let smaller = folder.path().join("smaller.onnx");
    let starts = normal("starts", &[NEURONS, START], 0.3);
    let mut data = File::create(folder.path().join("w.bin")).unwrap();
    for (row, start) in starts.chunks(START).enumerate() {
        data.seek(SeekFrom::Start((row * FEATURES * 4) as u64)).unwrap();
        data.write_all(&start.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }
    data.set_len((NEURONS * FEATURES * 4) as u64).unwrap();
    drop(data);
    let text = |text: &str| Some(text.to_owned());
    let entry = |key, value: &str| StringStringEntryProto { key: text(key), value: text(value) };
    let net = Net::new(17)
        .input("x", &["batch", &FEATURES.to_string()])
        .param("b", &[NEURONS])
        .with("Gemm", &["x", "w", "b"], &["h"], vec![AttributeProto::from_int("transB", 1)])
        .node("Relu", &["h"], "r")
        .dense("r", "head", [NEURONS, 3], "y");
    let mut proto = net.builder.output("y").proto();
    proto.graph.as_mut().unwrap().initializer.push(TensorProto {
        name: text("w"),
        dims: vec![NEURONS as i64, FEATURES as i64],
        data_type: Some(ElementType::Float32.to_onnx()),
        data_location: Some(1),
        external_data: vec![entry("location", "w.bin")],
        ..TensorProto::default()
    });
    let graph = Graph::from_model(Model::from_proto(proto, Some(folder.path())).unwrap()).unwrap();
    assert!(graph.cost().bytes > 2 << 30);
    // Little is left, as what is left is written in full.
    let mut options = options(0, &[]);
    options.budget = secateurs::search::Budget::new(vec!["units=0.02".parse().unwrap()]).unwrap();
    options.select.max_removed = 1.0;
    let plan = plan(&graph, &options).unwrap();
    let applied = apply(&graph, &plan).unwrap();
    let sizes = Bindings::new();
    // The original would take 2 GB of memory to run.
    let options = WriteAppliedOptions { smaller: &smaller, masked: None, check: false, sizes: &sizes };
    let written = write_applied(&graph, &applied, &options).unwrap();
    let external = folder.path().join("smaller.onnx.data");
    let kept = &plan.groups[0].kept;
    let bytes = std::fs::metadata(&external).unwrap().len();
    assert!(bytes >= (kept.len() * FEATURES * 4) as u64 && bytes < written.file_bytes, "{bytes}");
    assert!(std::fs::metadata(&smaller).unwrap().len() < 100_000, "the weights are not in the message");

    // What the kept rows compute, from what was written to the file above.
    let read = Graph::read(&smaller).unwrap();
    let x = input("x", &[2, FEATURES]);
    let value = |name: &str| graph.tensor(graph.value_named(name).unwrap()).unwrap().to_f64_vec().unwrap();
    let (xs, b, head, bias) = (x.to_f64_vec().unwrap(), value("b"), value("head.weight"), value("head.bias"));
    let mut expected = Vec::new();
    for sample in xs.chunks(FEATURES) {
        for out in 0..3 {
            let unit = |&row: &usize| {
                let sum: f64 = (0..START).map(|i| sample[i] * f64::from(starts[row * START + i])).sum();
                (sum + b[row]).max(0.0) * head[row * 3 + out]
            };
            expected.push((kept.iter().map(unit).sum::<f64>() + bias[out]) as f32);
        }
    }
    let expected = [floats(ElementType::Float32, &[2, 3], &expected)];
    close(&run(&read, std::slice::from_ref(&x), Precision::Single), &expected, 1e-4, "the smaller model");
    let theirs: Vec<Tensor> = in_onnx_runtime(&smaller, &read, &[x]).unwrap();
    close(&theirs, &expected, 1e-4, "the smaller model in ONNX Runtime");
}
