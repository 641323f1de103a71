//! Texts from the file to the model: what the graph says of tokens, padding and positions.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::session::SessionOptions;
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::{Engine, EvaluateOptions, Evaluation, evaluate, open_data, token_limits::token_limits};
use crate::data::{Augment, DataOptions, Dataset, Stream, TOKENIZER};
use crate::evidence::{MeasureJob, MeasureOptions, Score, measure};
use crate::tune::Objective;

/// Rows of the table of tokens, and of that of positions.
const ROWS: usize = 9;
const POSITIONS: usize = 6;

fn wave(shape: &[usize], f: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (f * i as f64 + 0.3).sin() as f32).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// Two classes from the mean over tokens of a hidden layer over embeddings and positions; of all tokens, or of those that a mask names.
fn classifier(rows: usize, masked: bool) -> Graph {
    let ints = |values: &[i64]| Tensor::from_slice(vec![values.len()], values).unwrap();
    let mut model = ModelBuilder::new(17)
        .input("input_ids", ElementType::Int64, &["batch", "sequence"])
        .constant("words", &wave(&[rows, 4], 1.1))
        .constant("positions", &wave(&[1, POSITIONS, 4], 0.7))
        .constant("up", &wave(&[4, 6], 1.7))
        .constant("head", &wave(&[6, 2], 2.3))
        .constant("0", &ints(&[0]))
        .constant("1", &ints(&[1]))
        .constant("2", &ints(&[2]))
        .node("Gather", &["words", "input_ids"], &["embedded"])
        .node("Shape", &["input_ids"], &["shape"])
        .node("Slice", &["shape", "1", "2", "0"], &["length"])
        .node("Slice", &["positions", "0", "length", "1"], &["placed"])
        .node("Add", &["embedded", "placed"], &["placed_words"])
        .node("MatMul", &["placed_words", "up"], &["hidden"])
        .node("Relu", &["hidden"], &["x"]);
    if masked {
        model = model
            .input("attention_mask", ElementType::Int64, &["batch", "sequence"])
            .node_with("Cast", &["attention_mask"], &["float"], vec![AttributeProto::from_int("to", 1)])
            .node("Unsqueeze", &["float", "2"], &["mask"])
            .node("Mul", &["x", "mask"], &["kept"])
            .node_with("ReduceSum", &["kept", "1"], &["sum"], vec![AttributeProto::from_int("keepdims", 0)])
            .node_with("ReduceSum", &["mask", "1"], &["count"], vec![AttributeProto::from_int("keepdims", 0)])
            .node("Div", &["sum", "count"], &["pooled"]);
    } else {
        let attributes =
            vec![AttributeProto::from_int("keepdims", 0), AttributeProto::from_ints("axes", [1])];
        model = model.node_with("ReduceMean", &["x"], &["pooled"], attributes);
    }
    let model = model.node("MatMul", &["pooled", "head"], &["logits"]).output("logits");
    Graph::from_model(model.build().unwrap()).unwrap()
}

struct Files {
    _folder: tempfile::TempDir,
    data: PathBuf,
}

/// Texts of 1 to 12 words with alternating labels.
fn files(texts: usize) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.tsv");
    let words = ["a", "movie", "good", "!"];
    let line = |i: usize| {
        let text: Vec<&str> = (0..1 + i * 5 % 12).map(|word| words[(word + i) % 4]).collect();
        format!("{}\t{}\n", text.join(" "), i % 2)
    };
    let lines: String = (0..texts).map(line).collect();
    std::fs::write(&data, format!("text\tlabel\n{lines}")).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), TOKENIZER).unwrap();
    Files { _folder: folder, data }
}

fn open(graph: &Graph, files: &Files, options: &DataOptions) -> Result<Dataset, String> {
    open_data(graph, &files.data, options, None, Objective::Auto).map_err(|e| e.to_string())
}

fn score(graph: &Graph, data: &Arc<Dataset>, batch_size: usize) -> Evaluation {
    let options = EvaluateOptions {
        batch_size: Some(batch_size),
        samples: None,
        output: None,
        objective: Objective::Auto,
        engine: Engine::Libtorch(SessionOptions::default()),
    };
    evaluate(Arc::new(graph.clone()), data.clone(), &options, |_, _, _| {}).unwrap()
}

#[test]
fn the_graph_says_how_many_tokens_it_takes_and_which() {
    let limits = token_limits(&classifier(ROWS, true), None);
    assert_eq!(limits.positions, Some(POSITIONS));
    assert_eq!(limits.rows, [("input_ids".to_owned(), ROWS)].into());
    assert_eq!(limits.computed_with, Some(vec!["attention_mask".to_owned()]));
    let unmasked = token_limits(&classifier(ROWS, false), Some(4));
    assert_eq!((unmasked.positions, unmasked.computed_with), (None, Some(Vec::new())));
}

#[test]
fn texts_are_cut_at_the_models_positions() {
    let (graph, files) = (classifier(ROWS, true), files(40));
    let data = Arc::new(open(&graph, &files, &DataOptions::default()).unwrap());
    assert_eq!(data.max_length(), Some(POSITIONS));
    assert_eq!(score(&graph, &data, 8).samples, 40);
    let long = DataOptions { max_length: Some(POSITIONS + 1), ..DataOptions::default() };
    let error = open(&graph, &files, &long).unwrap_err();
    assert!(error.contains("--max-length 7") && error.contains("at most 6"), "{error}");
}

#[test]
fn a_tokenizer_of_another_model_is_an_error() {
    let error = open(&classifier(4, true), &files(4), &DataOptions::default()).unwrap_err();
    assert!(error.contains("has 4 rows") && error.contains("--tokenizer"), "{error}");
}

#[test]
fn padding_changes_nothing_whether_the_model_sees_it_or_not() {
    for masked in [true, false] {
        let (graph, files) = (classifier(ROWS, masked), files(40));
        let data = Arc::new(open(&graph, &files, &DataOptions::default()).unwrap());
        let [alone, together] = [1, 16].map(|size| score(&graph, &data, size));
        assert!((alone.loss - together.loss).abs() < 1e-6, "{} and {}", alone.loss, together.loss);
        assert_eq!(alone.met.unwrap().correct, together.met.as_ref().unwrap().correct);
        let told = together.notes.iter().any(|note| note.contains("padding"));
        assert_eq!(told, !masked, "{:?}", together.notes);
        let batches: Vec<usize> = data
            .loader(data.grouped((0..40).collect(), 40), 16, 1)
            .map(|batch| batch.unwrap().indices.len())
            .collect();
        assert_eq!(batches.iter().sum::<usize>(), 40);
        // Lengths are 3 to 6 tokens.
        assert_eq!(batches.len() > 3, !masked, "{batches:?}");
    }
}

#[test]
fn evidence_is_the_same_whatever_padding_there_is() {
    let (graph, files) = (Arc::new(classifier(ROWS, true)), files(40));
    let data = Arc::new(open(&graph, &files, &DataOptions::default()).unwrap());
    let [alone, together] = [1, 16].map(|batch_size| {
        let options = MeasureOptions { batch_size, ..MeasureOptions::default() };
        let among: Vec<usize> = (0..40).collect();
        let file = files.data.with_file_name(format!("{batch_size}.safetensors"));
        let job = MeasureJob { graph: &graph, data: &data, among: &among, options: &options, file: &file };
        measure(&job, &mut |_| ControlFlow::Continue(())).unwrap()
    });
    for score in [Score::Activation, Score::Quadratic, Score::QuadraticAbsorbed, Score::Gradient] {
        let [alone, together] = [&alone, &together].map(|evidence| evidence.score(score).unwrap().values);
        for (alone, together) in alone.iter().zip(&together) {
            assert!(
                (alone - together).abs() < 1e-5 * alone.abs().max(1e-3),
                "{score:?}: {alone}, {together}"
            );
        }
    }
}

#[test]
fn epochs_have_every_text_once_beside_others_of_its_length() {
    let (graph, files) = (classifier(ROWS, true), files(120));
    let data = Arc::new(open(&graph, &files, &DataOptions::default()).unwrap());
    let epochs = |seed: u64, first_step: usize| -> Vec<(Vec<usize>, usize)> {
        let stream = data.stream(Stream {
            samples: (0..120).collect(),
            batch_size: 10,
            seed,
            augment: Augment::default(),
            first_step,
            steps: 24,
            threads: 2,
        });
        let of = |batch: crate::data::Result<crate::data::Batch>| {
            let batch = batch.unwrap();
            let padding = batch.inputs[1].1.to_i64_vec().unwrap().iter().filter(|mask| **mask == 0).count();
            (batch.indices, padding)
        };
        stream.map(of).collect()
    };
    let all = epochs(3, 0);
    let of_epoch = |epoch: usize| -> BTreeSet<usize> {
        all[12 * epoch..12 * (epoch + 1)].iter().flat_map(|(indices, _)| indices).copied().collect()
    };
    assert_eq!((of_epoch(0).len(), of_epoch(1).len()), (120, 120));
    assert_ne!(all[..12], all[12..]);
    assert_eq!(epochs(3, 12), all[12..], "a run goes on with the batches that it would have seen");
    assert_ne!(epochs(4, 0), all);
    // 3 lengths change within a sorted epoch, each in one batch.
    let padding: usize = all[..12].iter().map(|(_, padding)| padding).sum();
    assert!(padding <= 3 * 9 * 3, "{padding}");
    let padded = all[..12].iter().filter(|(_, padding)| *padding > 0).count();
    assert!(padded <= 3, "{padded} of 12 batches are padded");
}
