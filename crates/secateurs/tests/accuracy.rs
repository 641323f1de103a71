//! The trained models on real data (`cargo xtask data`): exactly the counts of ONNX Runtime.

use std::path::Path;
use std::sync::Arc;

use secateurs::data::{DataOptions, Preset};
use secateurs::pipeline::{Engine, EvaluateOptions, evaluate, open_data};
use secateurs::tune::Objective;
use secateurs_graph::Graph;
use secateurs_graph::session::SessionOptions;

/// Right answers of a model on data, in both engines; `None` where the model or the data are not there.
fn correct(model: &str, data: &str, options: DataOptions) -> Option<(u64, u64)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (model, data) = (root.join(model), root.join(data));
    if !model.exists() || !data.exists() {
        eprintln!(
            "skipped: {} or {} is not there; `cargo xtask data` fetches the data",
            model.display(),
            data.display()
        );
        return None;
    }
    let graph = Arc::new(Graph::read(&model).unwrap());
    let dataset = Arc::new(open_data(&graph, &data, &options, None, Objective::Auto).unwrap());
    let run = |engine| {
        let options = EvaluateOptions {
            batch_size: None,
            samples: None,
            output: None,
            objective: Objective::Auto,
            engine,
        };
        evaluate(graph.clone(), dataset.clone(), &options, |_, _, _| {}).unwrap()
    };
    let ours = run(Engine::Libtorch(SessionOptions::default()));
    let theirs = run(Engine::OnnxRuntime { model, threads: None });
    assert!((ours.loss - theirs.loss).abs() < 1e-5, "{} and {}", ours.loss, theirs.loss);
    Some((ours.met?.correct, theirs.met?.correct))
}

#[test]
fn preresnet_on_the_cifar10_test_set() {
    let options = DataOptions { preset: Some(Preset::Cifar10), ..DataOptions::default() };
    if let Some(counts) = correct("assets/cifar10-preresnet29-dense.onnx", "data/cifar10/test.npz", options) {
        assert_eq!(counts, (9236, 9236));
    }
}

#[test]
fn minilm_on_the_movie_review_test_split() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tokenizer = Some(root.join("data/minilm/tokenizer.json"));
    let options = DataOptions { tokenizer, max_length: Some(64), ..DataOptions::default() };
    let model = "../shared/models/minilm-l6-movie-reviews.onnx";
    if let Some(counts) = correct(model, "data/movie-reviews/test.tsv", options) {
        assert_eq!(counts, (906, 906));
    }
}
