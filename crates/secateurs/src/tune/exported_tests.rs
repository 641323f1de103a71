//! Models as exporters write them: what is no weight stays, and what is one is trained.

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::tests::{data, descent, fixed_data, graph, net_of, train, values, wave, whole};
use super::*;

#[test]
fn tables_of_positions_and_frequencies_are_not_trained() {
    let table = |f: fn(f64) -> f64| {
        let angle = |i: usize| (i / 4) as f64 * 0.3_f64.powi((i % 4) as i32);
        let numbers: Vec<f32> = (0..32).map(|i| f(angle(i)) as f32).collect();
        Tensor::from_slice(vec![8, 4], &numbers).unwrap()
    };
    let frequencies: Vec<f32> = (0..8).map(|i| 0.75_f32.powi(i)).collect();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "8", "4"])
        .constant("cos", &table(f64::cos))
        .constant("sin", &table(f64::sin))
        .constant("turn", &wave(&[4, 4], 0.7, 0.5, 0.0))
        .constant("scale", &wave(&[8, 1], 2.3, 1e-3, 1.0))
        .constant("frequencies", &Tensor::from_slice(vec![1, 8], &frequencies).unwrap())
        .constant("column", &wave(&[8, 1], 1.9, 0.4, 0.2))
        .node("MatMul", &["x", "turn"], &["turned"])
        .node("Mul", &["x", "cos"], &["a"])
        .node("Mul", &["turned", "sin"], &["b"])
        .node("Add", &["a", "b"], &["rotated"])
        .node("Mul", &["rotated", "scale"], &["scaled"])
        .node("MatMul", &["column", "frequencies"], &["outer"])
        .node("MatMul", &["outer", "scaled"], &["value"])
        .output("value");
    let graph = graph(model);
    let mut left: Vec<&str> =
        settings::computed(&graph).into_iter().map(|value| graph.values[value].name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["cos", "frequencies", "sin"]);
}

#[test]
fn a_model_of_one_sample_is_tuned_in_batches() {
    let tuned = |batch: &str| {
        let (folder, model) = (tempfile::tempdir().unwrap(), graph(net_of(batch, 0.0)));
        let data = data(folder.path(), &model, true);
        assert_eq!(data.fixed_batch_size(), None);
        let run = train(&model, None, &data, &whole(), folder.path(), usize::MAX);
        let tuned = &run.tuned().graph;
        assert_eq!(tuned.to_model().graph().input, model.to_model().graph().input);
        ["conv", "gamma", "mean", "fc"].map(|name| values(tuned, name))
    };
    assert_eq!(tuned("1"), tuned("batch"));
}

#[test]
fn batch_norms_keep_their_statistics_where_the_model_fixes_a_small_batch() {
    secateurs_torch::load().unwrap();
    let kept = graph(net_of("1", 0.0));
    let mut folded = kept.clone();
    secateurs_graph::rewrite::fold_batch_norms(&mut folded).unwrap();
    let options = TuneOptions { epochs: 1, learning_rate: Some(0.1), ..whole() };
    for model in [&kept, &folded] {
        let folder = tempfile::tempdir().unwrap();
        let data = fixed_data(folder.path(), model, true);
        let run = train(model, None, &data, &options, folder.path(), usize::MAX);
        let tuned = run.tuned();
        let said = |what: &str| tuned.notes.iter().any(|note| note.contains(what));
        assert!(said("batches of 1") && !said("are put back"), "{:?}", tuned.notes);
        let norm = |graph: &Graph| graph.value_named("variance").map(|_| values(graph, "variance"));
        assert_eq!(norm(&tuned.graph), norm(model));
        assert_ne!(values(&tuned.graph, "fc"), values(model, "fc"));
    }
}

#[test]
fn dropout_that_lists_its_mask_is_trained() {
    for opset in [9, 10, 13] {
        let model = ModelBuilder::new(opset)
            .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
            .constant("kernel", &wave(&[3, 2, 1, 1], 0.7, 0.4, 0.0))
            .node("Dropout", &["x"], &["d", "mask"])
            .node("Conv", &["d", "kernel"], &["c"])
            .node("GlobalAveragePool", &["c"], &["p"])
            .node("Flatten", &["p"], &["logits"])
            .output("logits");
        let (folder, model) = (tempfile::tempdir().unwrap(), graph(model));
        let data = data(folder.path(), &model, true);
        let run = train(&model, None, &data, &descent(0.1, 2), folder.path(), usize::MAX);
        assert_ne!(values(&run.tuned().graph, "kernel"), values(&model, "kernel"));
    }
}

#[test]
fn gradients_pass_through_quantization() {
    let model = ModelBuilder::new(13)
        .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
        .constant("first", &wave(&[3, 2, 1, 1], 0.7, 0.4, 0.0))
        .constant("second", &wave(&[3, 3, 1, 1], 0.9, 0.4, 0.0))
        .constant("scale", &Tensor::scalar(0.05_f32))
        .constant("zero", &Tensor::scalar(0_i8))
        .node("QuantizeLinear", &["first", "scale", "zero"], &["wq"])
        .node("DequantizeLinear", &["wq", "scale", "zero"], &["w"])
        .node("Conv", &["x", "w"], &["c"])
        .node("QuantizeLinear", &["c", "scale", "zero"], &["q"])
        .node("DequantizeLinear", &["q", "scale", "zero"], &["d"])
        .node("Conv", &["d", "second"], &["s"])
        .node("GlobalAveragePool", &["s"], &["p"])
        .node("Flatten", &["p"], &["logits"])
        .output("logits");
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(model));
    let data = data(folder.path(), &model, true);
    let run = train(&model, None, &data, &descent(0.1, 2), folder.path(), usize::MAX);
    let (before, after) = (values(&model, "first"), values(&run.tuned().graph, "first"));
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
}

#[test]
fn constants_that_an_exporter_has_merged_are_trained_apart() {
    let vector = |number: f32| Tensor::from_slice(vec![4], &[number; 4]).unwrap();
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "2", "4", "4"])
        .constant("conv", &wave(&[4, 2, 3, 3], 0.71, 0.4, 0.0))
        .constant("one", &vector(1.0))
        .constant("zero", &vector(0.0))
        .node("Conv", &["x", "conv", "zero"], &["c"])
        .node("BatchNormalization", &["c", "one", "zero", "zero", "one"], &["n"])
        .node("GlobalAveragePool", &["n"], &["p"])
        .node("Flatten", &["p"], &["logits"])
        .output("logits");
    for reinit in [false, true] {
        let (folder, model) = (tempfile::tempdir().unwrap(), graph(model.clone()));
        let data = data(folder.path(), &model, true);
        let options = TuneOptions { reinit, ..descent(0.1, 2) };
        let run = train(&model, None, &data, &options, folder.path(), usize::MAX);
        let graph = &run.tuned().graph;
        let norm = graph.nodes.values().find(|node| node.op.name() == "BatchNormalization").unwrap();
        let read = |i: usize| graph.tensor(norm.inputs[i].unwrap()).unwrap().to_f64_vec().unwrap();
        for (a, b) in [(1, 4), (2, 3)] {
            assert_ne!(read(a), read(b), "reinit {reinit}: inputs {a} and {b}");
        }
        assert_ne!(read(4), [1.0; 4], "reinit {reinit}");
    }
}

#[test]
fn outputs_with_the_samples_behind_another_axis_are_refused() {
    let turned = net_of("batch", 0.0)
        .node_with("Transpose", &["logits"], &["turned"], vec![AttributeProto::from_ints("perm", [1, 0])])
        .output("turned");
    let (folder, model) = (tempfile::tempdir().unwrap(), graph(turned));
    let data = data(folder.path(), &model, true);
    let error =
        train(&model, None, &data, &whole(), folder.path(), usize::MAX).result.unwrap_err().to_string();
    assert!(error.contains("'turned'") && error.contains("--output"), "{error}");
}
