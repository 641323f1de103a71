//! `cargo xtask coverage`: runs the tests that see what is covered and writes `docs/coverage.md` from what they saw.

mod practice;
mod pruning;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{fixtures, only_flags, paths, run, setup, test};

#[derive(Default)]
struct Op {
    since: Vec<i64>,
    passed: usize,
    /// Passed as the function that defines the op.
    expanded: usize,
    failed: usize,
    unsupported: usize,
    models: BTreeSet<String>,
}

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    setup::libraries(false)?;
    let python = fixtures::make()?;
    test::nextest()?;
    let [cases] = observe("secateurs-graph", "onnx_node_tests", ["SECATEURS_COVERAGE"], &python)?;
    let seen = ["SECATEURS_ZOO_COVERAGE", "SECATEURS_PRUNING_COVERAGE", "SECATEURS_PRACTICE"];
    let [models, pruned, practice] = observe("secateurs", "zoo", seen, &python)?;
    let path = paths::repo().join("docs").join("coverage.md");
    fs::write(&path, page(&cases, &models, &pruned, &practice))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// Runs the tests of one binary and reads the JSON lines that they write to the files that these variables name.
fn observe<const N: usize>(
    package: &str,
    binary: &str,
    variables: [&str; N],
    python: &Path,
) -> Result<[Vec<Value>; N]> {
    let files = variables.map(|variable| paths::target().join(format!("{variable}.jsonl")));
    for file in files.iter().filter(|file| file.exists()) {
        fs::remove_file(file)?;
    }
    let mut cargo = run::cargo();
    cargo.args(["nextest", "run", "--package", package, "--test", binary]).env("SECATEURS_PYTHON", python);
    run::run(cargo.envs(variables.iter().zip(&files)))?;
    let mut seen = variables.map(|_| Vec::new());
    for (lines, file) in seen.iter_mut().zip(&files) {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{binary} wrote nothing: is its data there?"))?;
        let parse = |line| serde_json::from_str(line).context("a line of a test is no JSON");
        *lines = text.lines().map(parse).collect::<Result<_>>()?;
    }
    Ok(seen)
}

fn page(cases: &[Value], models: &[Value], pruned: &[Value], practice: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut ops = BTreeMap::<String, Op>::new();
    let mut unregistered = BTreeMap::<String, usize>::new();
    for line in cases.iter().filter(|line| line["registered"].is_string()) {
        let since = line["since"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
        ops.insert(text(&line["registered"]), Op { since, ..Op::default() });
    }
    let mut reasons = Vec::new();
    for line in cases.iter().filter(|line| line["case"].is_string()) {
        let name = text(&line["op"]);
        let Some(op) = ops.get_mut(&name) else {
            *unregistered.entry(name).or_default() += 1;
            continue;
        };
        match line["outcome"].as_str() {
            Some("passed") if line["expanded"] == true => op.expanded += 1,
            Some("passed") => op.passed += 1,
            Some("failed") => op.failed += 1,
            _ => op.unsupported += 1,
        }
        if line["outcome"] != "passed" {
            reasons.push(format!(
                "| {} | {} |",
                text(&line["case"]),
                text(&line["detail"]).replace('|', "\\|")
            ));
        }
    }
    for model in models {
        for op in model["ops"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(op) = ops.get_mut(op) {
                op.models.insert(text(&model["model"]));
            }
        }
    }
    let sum = |f: fn(&Op) -> usize| ops.values().map(f).sum::<usize>();
    let mut page = format!(
        "# Coverage\n\nWritten by `cargo xtask coverage`. The cases are the operator tests of the ONNX project (PyPI's \
         `onnx`, see `xtask/requirements.txt`); a case counts for the op of its first node. Expanded cases run the function that defines an op in \
         place of the op.\n\n{} ops; {} cases passed and {} expanded ones, {} failed, {} need an element type or a form that is not supported; {} cases of {} ops that are not \
         registered.\n\n## Ops\n\n| op | opset versions | passed | expanded | failed | not supported | zoo models |\n\
         |---|---|---|---|---|---|---|\n",
        ops.len(),
        sum(|o| o.passed),
        sum(|o| o.expanded),
        sum(|o| o.failed),
        sum(|o| o.unsupported),
        unregistered.values().sum::<usize>(),
        unregistered.len()
    );
    for (name, op) in &ops {
        let since: Vec<String> = op.since.iter().map(i64::to_string).collect();
        let row = [op.passed, op.expanded, op.failed, op.unsupported, op.models.len()].map(|n| n.to_string());
        let _ = writeln!(page, "| {name} | {} | {} |", since.join(", "), row.join(" | "));
    }
    page.push_str(
        "\n## Zoo\n\nEvery model is written back losslessly, every shape that inference finds is the one that a run gives, \
         and the outputs equal ONNX Runtime's (graph optimisations off) at batch sizes 2 and 3. Fixed at batch 1, with \
         all constants folded that follow from it, every model and its pruning still compute any batch: 3 samples at \
         once as the model does whose batch is free.\n\n\
         | model | nodes | parameters | MACs | largest difference |\n|---|---|---|---|---|\n",
    );
    for model in models {
        let difference = model["difference"].as_f64().unwrap_or(f64::NAN);
        let (name, macs) = (text(&model["model"]), text(&model["macs"]));
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {macs} | {difference:.1e} |",
            model["nodes"], model["parameters"]
        );
    }
    page.push_str(&pruning::section(pruned));
    page.push_str(&practice::section(practice));
    page.push_str("\n## Cases of registered ops that do not pass\n\n| case | reason |\n|---|---|\n");
    page.push_str(&reasons.join("\n"));
    page.push_str("\n\n## Ops that are not registered\n\n");
    let list: Vec<String> = unregistered.iter().map(|(op, n)| format!("{op} ({n})")).collect();
    page.push_str(&list.join(", "));
    page.push('\n');
    page
}
