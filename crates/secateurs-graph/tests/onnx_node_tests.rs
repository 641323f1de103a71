//! The ONNX project's own operator tests (`cargo xtask test` generates them into `data/onnx-node-tests`): every case
//! must give the expected outputs, except those in `onnx_node_tests/not_supported.txt`, which say what they need that we lack.
//!
//! `OPS=Conv,Gemm` tries the cases of these ops only and prints what fails. `SECATEURS_COVERAGE=FILE` writes the outcome of every
//! case as JSON lines. Cases named `…_expanded` run the function that defines an op in place of the op; they are counted apart.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::{Graph, ops};
use secateurs_onnx::proto::TensorProto;
use secateurs_onnx::{Bytes, Model, Tensor};

/// Cases that need what we lack, a line each: a name, in which `*` stands for anything, a colon and the reason.
const NOT_SUPPORTED: &str = include_str!("onnx_node_tests/not_supported.txt");

/// Whether a name is one of those of a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))
        }),
    }
}

enum Outcome {
    Passed,
    Failed(String),
    /// Needs an op or an element type that we lack.
    Unsupported(String),
}

#[test]
fn onnx_operator_tests_pass_for_every_registered_op() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/onnx-node-tests");
    let Ok(entries) = std::fs::read_dir(&root) else {
        eprintln!("skipped: {} is not there; `cargo xtask test` generates it", root.display());
        return;
    };
    let wanted = std::env::var("OPS").ok();
    let wanted: Option<Vec<&str>> = wanted.as_deref().map(|w| w.split(',').collect());
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join("model.onnx").is_file()).collect();
    folders.sort();
    std::panic::set_hook(Box::new(|_| {}));
    let patterns = || NOT_SUPPORTED.lines().filter_map(|line| Some(line.split_once(':')?.0));
    let mut counts = BTreeMap::<(bool, &str), usize>::new();
    let mut needed = vec![wanted.is_some(); patterns().count()];
    let mut failures = Vec::new();
    let registered = |entry: &ops::Entry| {
        let name = match entry.domain {
            "" => entry.name.to_owned(),
            domain => format!("{domain}::{}", entry.name),
        };
        format!("{{\"registered\":{name:?},\"since\":{:?}}}", entry.since)
    };
    let mut lines: Vec<String> = ops::REGISTRY.iter().map(registered).collect();
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (op, outcome) = match catch_unwind(AssertUnwindSafe(|| try_case(folder, wanted.as_deref()))) {
            Ok(Some(result)) => result,
            Ok(None) => continue,
            Err(panic) => ("?".into(), Outcome::Failed(format!("panic: {}", panic_text(&*panic)))),
        };
        let lacking = patterns().position(|pattern| matches(pattern, &name));
        let (kind, text) = match outcome {
            Outcome::Passed => ("passed", "passed".to_owned()),
            Outcome::Failed(reason) => ("failed", reason),
            Outcome::Unsupported(reason) => ("unsupported", reason),
        };
        match (kind, lacking) {
            ("passed", Some(_)) => {
                failures.push(format!("{name} passes: take it off the list of what is not supported"));
            }
            ("unsupported", Some(at)) => needed[at] = true,
            ("passed", None) => {}
            _ => failures.push(format!("{name} ({op}): {text}")),
        }
        if kind == "unsupported" && wanted.is_some() {
            eprintln!("unsupported: {name} ({op}): {text}");
        }
        let expanded = name.contains("_expanded");
        *counts.entry((expanded, kind)).or_default() += 1;
        lines.push(format!(
            "{{\"case\":{name:?},\"op\":{op:?},\"expanded\":{expanded},\"outcome\":\"{kind}\",\"detail\":{text:?}}}"
        ));
    }
    let _ = std::panic::take_hook();
    if let Ok(path) = std::env::var("SECATEURS_COVERAGE") {
        let mut file = std::fs::File::create(path).expect("the coverage file can be written");
        for line in &lines {
            writeln!(file, "{line}").expect("the coverage file can be written");
        }
    }
    for (pattern, _) in patterns().zip(&needed).filter(|(_, needed)| !**needed) {
        failures.push(format!("no case needs '{pattern}' on the list of what is not supported"));
    }
    for ((expanded, kind), count) in &counts {
        eprintln!("{count} cases {kind}{}", if *expanded { ", of expanded functions" } else { "" });
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

fn try_case(folder: &Path, wanted: Option<&[&str]>) -> Option<(String, Outcome)> {
    let model = match Model::read(&folder.join("model.onnx")) {
        Ok(model) => model,
        Err(e) => return Some(("?".into(), Outcome::Failed(e.to_string()))),
    };
    let nodes = &model.graph().node;
    let op = nodes.first().map(|n| n.op_type().to_owned()).unwrap_or_default();
    if let Some(wanted) = wanted
        && !nodes.iter().any(|n| wanted.contains(&n.op_type()))
    {
        return None;
    }
    let functions = &model.proto.functions;
    let unknown = nodes.iter().find(|n| {
        ops::find(n.op_type(), n.domain()).is_none() && !functions.iter().any(|f| f.name() == n.op_type())
    });
    if let Some(node) = unknown {
        let text = format!("the op {} is not registered", node.op_type());
        return Some((node.op_type().to_owned(), Outcome::Unsupported(text)));
    }
    let outcome = match run_case(folder, model) {
        Ok(()) => Outcome::Passed,
        Err(text) if text.contains("not supported") || text.contains("are not supported") => {
            Outcome::Unsupported(text)
        }
        Err(text) => Outcome::Failed(text),
    };
    Some((op, outcome))
}

fn run_case(folder: &Path, model: Model) -> Result<(), String> {
    let load = |kind: &str, i: usize| -> Result<Option<Tensor>, String> {
        let path = folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
        let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
        let proto = TensorProto::decode(Bytes::from(bytes)).map_err(|e| e.to_string())?;
        model.tensor(&proto).map(Some).map_err(|e| e.to_string())
    };
    let list = |kind: &str| -> Result<Vec<Tensor>, String> {
        (0..).map_while(|i| load(kind, i).transpose()).collect()
    };
    let (inputs, expected) = (list("input")?, list("output")?);
    let graph = Arc::new(Graph::from_model(model.clone()).map_err(|e| e.to_string())?);
    let session = Session::new(graph.clone(), SessionOptions::default()).map_err(|e| e.to_string())?;
    let outputs = session.run(&inputs).map_err(|e| e.to_string())?;
    for (i, (got, want)) in outputs.iter().zip(&expected).enumerate() {
        let fact = &graph.values[graph.outputs[i]].fact;
        let sizes: Vec<i64> = want.shape().iter().map(|&n| n as i64).collect();
        if !fact.admits(&sizes) {
            return Err(format!("output {i}: inferred {fact}, expected {sizes:?}"));
        }
        compare(got, want).map_err(|e| format!("output {i}: {e}"))?;
    }
    Ok(())
}

/// As the ONNX project's own runner compares: |a − b| ≤ 1e-7 + 1e-3·|b|; half precision by its own resolution.
fn compare(got: &Tensor, want: &Tensor) -> Result<(), String> {
    if got.shape() != want.shape() || got.element_type() != want.element_type() {
        return Err(format!(
            "{}{:?} instead of {}{:?}",
            got.element_type(),
            got.shape(),
            want.element_type(),
            want.shape()
        ));
    }
    let (a, b) = (got.to_f64_vec(), want.to_f64_vec());
    let (Ok(a), Ok(b)) = (a, b) else { return Err("not supported: comparison of this type".into()) };
    let (relative, absolute) = match want.element_type().name() {
        "float16" => (2e-3, 1e-4),
        "bfloat16" => (2e-2, 1e-3),
        _ => (1e-3, 1e-6),
    };
    match a.iter().zip(&b).position(|(a, b)| {
        !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= absolute + relative * b.abs())
    }) {
        Some(i) => Err(format!("element {i} is {} instead of {}", a[i], b[i])),
        None => Ok(()),
    }
}
