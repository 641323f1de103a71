//! Models that fix their batch compute batches of any size, where samples stay apart.

use secateurs_graph::rewrite::free_batch;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Noise, distance, graph, ints, run};

const F32: ElementType = ElementType::Float32;

fn numbers(values: &[i64]) -> Tensor {
    Tensor::from_slice(vec![values.len()], values).unwrap()
}

/// What a model that fixes its batch at 1 computes of three samples, at once and one by one.
fn of_three(model: ModelBuilder, shape: &[usize]) -> f64 {
    let graph = graph(model);
    let freed = free_batch(&graph).expect("the batch can be freed");
    assert_eq!(graph.to_model().graph().input, freed.to_model().graph().input, "the file keeps its batch");
    let mut noise = Noise::new(5);
    let samples: Vec<Tensor> = (0..3).map(|_| noise.tensor(F32, shape)).collect();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.bytes().to_vec()).collect();
    let all = Tensor::new(F32, [&[3], &shape[1..]].concat(), bytes.into()).unwrap();
    let at_once = run(&freed, &[all], true).swap_remove(0).to_f64_vec().unwrap();
    let vector = |values: &[f64]| [Tensor::from_slice(vec![values.len()], values).unwrap()];
    let differs = |(sample, found): (&Tensor, &[f64])| {
        let alone = run(&graph, std::slice::from_ref(sample), true).swap_remove(0).to_f64_vec().unwrap();
        distance(&vector(found), &vector(&alone))
    };
    samples.iter().zip(at_once.chunks(at_once.len() / 3)).map(differs).fold(0.0, f64::max)
}

fn convolution() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", F32, &["1", "2", "4", "4"])
        .constant("kernel", &Noise::new(1).tensor(F32, &[3, 2, 3, 3]))
        .constant("fc", &Noise::new(2).tensor(F32, &[12, 5]))
        .node("Conv", &["x", "kernel"], &["c"])
        .node("Relu", &["c"], &["r"])
}

#[test]
fn flattened_features_of_a_convolution() {
    for target in [&[1, -1][..], &[1, 12], &[-1, 12], &[0, -1]] {
        let model = convolution()
            .constant("target", &numbers(target))
            .node("Reshape", &["r", "target"], &["f"])
            .node("MatMul", &["f", "fc"], &["y"])
            .output("y");
        assert!(of_three(model, &[1, 2, 4, 4]) < 1e-12, "{target:?}");
    }
}

#[test]
fn heads_of_attention_that_share_a_target() {
    let model = ModelBuilder::new(17)
        .input("x", F32, &["1", "5", "8"])
        .constant("w", &Noise::new(1).tensor(F32, &[8, 8]))
        .constant("split", &numbers(&[1, 5, 2, 4]))
        .constant("joined", &numbers(&[1, 5, 8]))
        .node("MatMul", &["x", "w"], &["q"])
        .node("Reshape", &["q", "split"], &["qh"])
        .node("Reshape", &["x", "split"], &["kh"])
        .node_with("Transpose", &["qh"], &["qt"], vec![ints("perm", &[0, 2, 1, 3])])
        .node_with("Transpose", &["kh"], &["kt"], vec![ints("perm", &[0, 2, 3, 1])])
        .node("MatMul", &["qt", "kt"], &["scores"])
        .node("Softmax", &["scores"], &["weights"])
        .node("MatMul", &["weights", "qt"], &["mixed"])
        .node_with("Transpose", &["mixed"], &["back"], vec![ints("perm", &[0, 2, 1, 3])])
        .node("Reshape", &["back", "joined"], &["y"])
        .output("y");
    assert!(of_three(model, &[1, 5, 8]) < 1e-12);
}

#[test]
fn samples_behind_other_axes_and_in_windows() {
    // Time first, as in PyTorch's own attention; then windows of two pixels, which come after the samples.
    let model = ModelBuilder::new(17)
        .input("x", F32, &["1", "6", "8"])
        .constant("w", &Noise::new(1).tensor(F32, &[4, 4]))
        .constant("heads", &numbers(&[6, 2, 4]))
        .constant("rows", &numbers(&[6, 1, 8]))
        .constant("windows", &numbers(&[3, 2, 8]))
        .constant("whole", &numbers(&[1, 6, 8]))
        .node_with("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 0, 2])])
        .node("Reshape", &["t", "heads"], &["h"])
        .node("MatMul", &["h", "w"], &["m"])
        .node("Reshape", &["m", "rows"], &["r"])
        .node_with("Transpose", &["r"], &["b"], vec![ints("perm", &[1, 0, 2])])
        .node("Reshape", &["b", "windows"], &["p"])
        .node_with("Softmax", &["p"], &["s"], vec![AttributeProto::from_int("axis", 1)])
        .node("Reshape", &["s", "whole"], &["y"])
        .output("y");
    assert!(of_three(model, &[1, 6, 8]) < 1e-12);
}

/// A token joined to one sample, sizes of one sample, its first state, rows of indices that name it.
#[test]
fn constants_of_one_sample() {
    let input = || ModelBuilder::new(17).input("x", F32, &["1", "4", "4"]);
    let token = input()
        .constant("token", &Noise::new(1).tensor(F32, &[1, 2, 4]))
        .node_with("Concat", &["token", "x"], &["y"], vec![AttributeProto::from_int("axis", 1)])
        .output("y");
    assert!(of_three(token, &[1, 4, 4]) < 1e-12);
    let sizes = ModelBuilder::new(17)
        .input("x", F32, &["1", "2", "4", "4"])
        .constant("sizes", &numbers(&[1, 2, 7, 6]))
        .node_with(
            "Resize",
            &["x", "", "", "sizes"],
            &["y"],
            vec![AttributeProto::from_string("mode", "linear")],
        )
        .output("y");
    assert!(of_three(sizes, &[1, 2, 4, 4]) < 1e-12);
    let state = input()
        .constant("w", &Noise::new(1).tensor(F32, &[1, 9, 4]))
        .constant("r", &Noise::new(2).tensor(F32, &[1, 9, 3]))
        .constant("first", &Noise::new(3).tensor(F32, &[1, 1, 3]))
        .constant("last", &numbers(&[1, 12]))
        .node_with("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 0, 2])])
        .node_with(
            "GRU",
            &["t", "w", "r", "", "", "first"],
            &["h"],
            vec![AttributeProto::from_int("hidden_size", 3)],
        )
        .node_with("Transpose", &["h"], &["b"], vec![ints("perm", &[2, 1, 0, 3])])
        .node("Reshape", &["b", "last"], &["y"])
        .output("y");
    assert!(of_three(state, &[1, 4, 4]) < 1e-12);
    let rows: Vec<i64> = [[0, 3], [0, 1], [0, 2]].concat();
    let rows = Tensor::from_slice(vec![1, 3, 2], &rows).unwrap();
    let picked = input().constant("rows", &rows).node("GatherND", &["x", "rows"], &["y"]).output("y");
    assert!(of_three(picked, &[1, 4, 4]) < 1e-12);
    let all: Vec<i64> = (0..16).collect();
    let all = Tensor::from_slice(vec![1, 2, 8], &all).unwrap();
    let strided = input()
        .constant("list", &numbers(&[-1]))
        .constant("all", &all)
        .node("Reshape", &["x", "list"], &["l"])
        .node("Gather", &["l", "all"], &["y"])
        .output("y");
    assert!(of_three(strided, &[1, 4, 4]) < 1e-12);
}

/// Where one sample may lie in several axes: rows of time and samples, then heads of each, as PyTorch's attention has them.
#[test]
fn samples_between_time_and_heads() {
    let model = ModelBuilder::new(17)
        .input("x", F32, &["1", "5", "8"])
        .constant("w", &Noise::new(1).tensor(F32, &[8, 8]))
        .constant("rows", &numbers(&[5, 8]))
        .constant("time", &numbers(&[5, 1, 8]))
        .constant("heads", &numbers(&[5, 2, 4]))
        .node_with("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 0, 2])])
        .node("Reshape", &["t", "rows"], &["r"])
        .node("MatMul", &["r", "w"], &["m"])
        .node("Reshape", &["m", "time"], &["back"])
        .node("Reshape", &["back", "heads"], &["split"])
        .node_with("Transpose", &["split"], &["q"], vec![ints("perm", &[1, 0, 2])])
        .node_with("Transpose", &["split"], &["k"], vec![ints("perm", &[1, 2, 0])])
        .node("MatMul", &["q", "k"], &["scores"])
        .node("Softmax", &["scores"], &["weights"])
        .node("MatMul", &["weights", "q"], &["mixed"])
        .node_with("Transpose", &["mixed"], &["h"], vec![ints("perm", &[1, 0, 2])])
        .node("Reshape", &["h", "time"], &["joined"])
        .node_with("Transpose", &["joined"], &["y"], vec![ints("perm", &[1, 0, 2])])
        .output("y");
    assert!(of_three(model, &[1, 5, 8]) < 1e-12);
}

#[test]
fn what_mixes_samples_or_holds_their_number_stays_as_it_is() {
    let refused = |model: ModelBuilder| assert!(free_batch(&graph(model)).is_none());
    let input = || ModelBuilder::new(17).input("x", F32, &["1", "4", "4"]);
    // Each of two samples has a token of its own.
    refused(
        ModelBuilder::new(17)
            .input("x", F32, &["2", "4", "4"])
            .constant("token", &Noise::new(1).tensor(F32, &[2, 1, 4]))
            .node_with("Concat", &["token", "x"], &["y"], vec![AttributeProto::from_int("axis", 1)])
            .output("y"),
    );
    // Products of samples with each other.
    let rows = input().constant("rows", &numbers(&[1, 16])).node("Reshape", &["x", "rows"], &["r"]);
    refused(
        rows.node_with("Transpose", &["r"], &["t"], vec![ints("perm", &[1, 0])])
            .node("MatMul", &["r", "t"], &["y"])
            .output("y"),
    );
    let softmax = AttributeProto::from_int("axis", 0);
    refused(input().node_with("Softmax", &["x"], &["y"], vec![softmax]).output("y"));
    refused(input().node("ReduceMean", &["x"], &["y"]).output("y"));
    // One sample is taken out.
    refused(
        input().constant("first", &Tensor::scalar(0_i64)).node("Gather", &["x", "first"], &["y"]).output("y"),
    );
    // It is free already.
    refused(ModelBuilder::new(17).input("x", F32, &["n", "4"]).node("Relu", &["x"], &["y"]).output("y"));
}
