//! `cargo xtask reproduce PAGE`: the experiments behind `docs/results.md`.
//!
//! An experiment is one or more calls of the program. Its files lie in `data/reproduce/` and runs go on after an interruption; what an experiment found is kept in
//! `docs/results/PAGE/NAME.json`, and is not run again while that file is there. The page's part of `docs/results.md` is written from these
//! files, so that it is there with what has been run so far. Several calls at a time share the work: each experiment is locked.

mod language;
mod photographs;
mod vision;

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{paths, run, setup};

/// What a call with `--json` prints, in the folder of its experiment.
pub const PRINTED: &str = "printed.json";

/// Calls of the program.
pub struct Experiment {
    /// Its name in the page's folder.
    pub name: String,
    /// The arguments of each call; `{run}` stands for the folder of the experiment, `{page}` for the one that a page's experiments share.
    pub calls: Vec<Vec<String>>,
    /// What was found, from the folder.
    pub found: fn(&Path) -> Result<Value>,
}

impl Experiment {
    /// One run, with the words of a line and more, of which the report is kept.
    pub fn run(name: impl Into<String>, line: &str, more: &[&str]) -> Experiment {
        let call = words(line).chain(more.iter().map(|word| (*word).to_owned())).chain(words("-o {run}"));
        Experiment { name: name.into(), calls: vec![call.collect()], found: report }
    }

    /// The file that an argument names and that is not there.
    fn missing(&self) -> Option<&str> {
        let named =
            |word: &&String| ["assets/", "data/", "../"].iter().any(|folder| word.starts_with(folder));
        let words = self.calls.iter().flatten();
        words.filter(named).find(|word| !paths::repo().join(word).exists()).map(String::as_str)
    }
}

/// The words of a line.
pub fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

/// A part of `docs/results.md`.
pub struct Page {
    /// Its name on the command line.
    pub name: &'static str,
    pub experiments: Vec<Experiment>,
    /// The text, from what the experiments found.
    pub render: fn(&Found) -> String,
}

const PAGES: &[fn() -> Page] = &[vision::page, language::page, photographs::page];

pub fn command(arguments: &[String]) -> Result<()> {
    let (name, rest) = match arguments {
        [name, rest @ ..] => (name.as_str(), rest),
        [] => ("", &[][..]),
    };
    let pages: Vec<Page> = PAGES.iter().map(|page| page()).collect();
    let known: Vec<&str> = pages.iter().map(|page| page.name).collect();
    let Some(page) = pages.into_iter().find(|page| page.name == name) else {
        bail!("give one of the pages {}", known.join(", "));
    };
    let only = match rest {
        [] => "",
        [flag] if flag == "--render" => return write(&page),
        [flag, only] if flag == "--only" => only,
        _ => bail!("reproduce takes --only PART_OF_A_NAME, or --render"),
    };
    setup::command(&[])?;
    let mut left_out = Vec::new();
    for experiment in page.experiments.iter().filter(|experiment| experiment.name.contains(only)) {
        if result(&page, &experiment.name).is_file() {
            continue;
        }
        match experiment.missing() {
            Some(file) => left_out.push(format!("{}: {file} is not there", experiment.name)),
            None if !carry_out(&page, experiment)? => {
                left_out.push(format!("{}: another process is at work on it", experiment.name));
            }
            None => {}
        }
        write(&page)?;
    }
    write(&page)?;
    left_out.iter().for_each(|reason| eprintln!("left out: {reason}"));
    Ok(())
}

fn result(page: &Page, name: &str) -> PathBuf {
    paths::repo().join("docs/results").join(page.name).join(format!("{name}.json"))
}

/// Whether this process was the one to do it.
fn carry_out(page: &Page, experiment: &Experiment) -> Result<bool> {
    let shared = Path::new("data/reproduce").join(page.name);
    let folder = shared.join(&experiment.name);
    let name = folder.to_string_lossy();
    let calls: Vec<Vec<String>> = experiment
        .calls
        .iter()
        .map(|call| {
            let word =
                |word: &String| word.replace("{run}", &name).replace("{page}", &shared.to_string_lossy());
            call.iter().map(word).collect()
        })
        .collect();
    fs::create_dir_all(paths::repo().join(&folder))?;
    // Held until this function ends, however it ends.
    let lock = fs::File::create(paths::repo().join(format!("{name}.lock")))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(false),
        held => held?,
    }
    // It may have been done by whoever held the lock.
    if result(page, &experiment.name).is_file() {
        return Ok(true);
    }
    let program = paths::target().join("release").join("secateurs");
    for words in &calls {
        eprintln!("\n{}: secateurs {}", experiment.name, words.join(" "));
        let mut command = Command::new(&program);
        command.args(words).current_dir(paths::repo());
        match words.iter().any(|word| word == "--json") {
            true => fs::write(paths::repo().join(&folder).join(PRINTED), run::output(&mut command)?)?,
            false => run::run(&mut command)?,
        }
    }
    let mut kept = (experiment.found)(&paths::repo().join(&folder))?;
    // Evidence and states of the training: a gigabyte for MiniLM.
    for entry in fs::read_dir(paths::repo().join(&folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|own| own == "safetensors") {
            fs::remove_file(path)?;
        }
    }
    kept["commands"] = calls.iter().map(|words| format!("secateurs {}", words.join(" "))).collect();
    let path = result(page, &experiment.name);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    fs::write(&path, serde_json::to_string_pretty(&kept)? + "\n")?;
    Ok(true)
}

/// What is kept of the report of a run.
pub fn report(folder: &Path) -> Result<Value> {
    let path = folder.join("report.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut report: Value = serde_json::from_str(&text)?;
    let parts = ["date", "seconds", "seeds", "original", "pruned", "result"];
    Ok(parts.into_iter().map(|part| (part.to_owned(), report[part].take())).collect())
}

/// What the experiments of a page found.
pub struct Found<'p> {
    page: &'p Page,
}

impl Found<'_> {
    /// What an experiment found; `None` where it has not been run.
    pub fn get(&self, name: &str) -> Option<Value> {
        let text = fs::read_to_string(result(self.page, name)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Accuracy in percent of one of the models `original`, `pruned` and `result`, on `test` or `validation` samples.
    pub fn accuracy_on(&self, samples: &str, name: &str, model: &str) -> Option<f64> {
        self.metric(samples, name, model, "accuracy").map(|x| 100.0 * x)
    }

    /// Another metric of it.
    pub fn metric(&self, samples: &str, name: &str, model: &str, metric: &str) -> Option<f64> {
        self.get(name)?[model][samples]["metrics"][metric]["value"].as_f64()
    }

    /// Median latency of a model in milliseconds, at one of the batch sizes that were measured.
    pub fn latency(&self, name: &str, model: &str, at: usize) -> Option<f64> {
        self.get(name)?[model]["latency"][at]["median_ms"].as_f64()
    }

    /// Test accuracy in percent.
    pub fn accuracy(&self, name: &str, model: &str) -> Option<f64> {
        self.accuracy_on("test", name, model)
    }
}

/// The mean of some numbers and their standard deviation, which is 0 for a single one.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// A number with two digits behind the point, or a dash.
pub fn number(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.2}"))
}

/// A difference with its sign.
pub fn signed(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{}{:.2}", if value < 0.0 { '−' } else { '+' }, value.abs()))
}

/// Rows under a head, as Markdown.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    [head, rule].iter().chain(&rows).map(|row| line(row)).collect()
}

/// Writes the page's part of `docs/results.md`, between its marks.
fn write(page: &Page) -> Result<()> {
    let path = paths::repo().join("docs/results.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let marks = [format!("<!-- {} -->\n", page.name), format!("<!-- end of {} -->\n", page.name)];
    let ends = marks.each_ref().map(|mark| text.find(mark.as_str()));
    let [Some(start), Some(end)] = ends else { bail!("{} has no part {}", path.display(), page.name) };
    let own = (page.render)(&Found { page });
    let text = format!("{}{}\n{own}\n{}", &text[..start], marks[0], &text[end..]);
    Ok(fs::write(&path, text)?)
}
