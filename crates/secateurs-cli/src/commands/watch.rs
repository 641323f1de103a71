//! What `compress` and `tune` show: progress while they work, before and after at the end.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use secateurs::format::{bytes, count, significant};
use secateurs::pipeline::{JobError, Observe, Progress, RunJob, Stage};
use secateurs::report::{Count, Figures, Metric, NoteWeight, Report};
use secateurs::run;
use secateurs::tune::{Event, Scores};
use serde::Serialize;

use crate::arguments::{ModelArguments, RunArguments};
use crate::error::{CliError, Result};
use crate::table::Table;
use crate::{interrupt, progress};

/// Does the work of a run, shows its progress and prints its result. `flags` are what the command's own flags say in the tables
/// `plan`, `compensate` and `tune` of settings.
pub fn run(
    model: &ModelArguments,
    arguments: &RunArguments,
    flags: [toml::Table; 3],
    work: impl FnOnce(&RunJob, &mut Observe) -> Result<Report, JobError>,
) -> Result {
    let settings = arguments.settings(&model.model, flags)?;
    let (graph, sizes) = model.read_unbound()?;
    let (device, threads) = arguments.prepare()?;
    interrupt::watch(arguments.restart)?;
    let executable = std::env::current_exe()?;
    let command: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let job = RunJob {
        graph: &graph,
        data: &arguments.data.data,
        validation: arguments.validation_data.as_deref(),
        test: arguments.test.as_deref(),
        evidence: None,
        teacher_cache: arguments.teacher_cache.as_deref(),
        folder: &arguments.folder,
        settings: &settings,
        sizes,
        outputs: &arguments.outputs.outputs,
        device,
        threads,
        restart: arguments.restart,
        check: !arguments.no_check,
        latency_child: (&executable, &["latency-child"]),
        command: &command,
    };
    let mut watch = Watch { bar: ProgressBar::hidden() };
    let report = work(&job, &mut |progress| watch.observe(progress));
    watch.bar.finish_and_clear();
    print(&report.map_err(|e| CliError::job(e, &model.model))?, &arguments.folder, arguments.json)
}

/// Progress on standard error.
struct Watch {
    bar: ProgressBar,
}

impl Watch {
    /// Takes note of what happens, and says whether to go on.
    fn observe(&mut self, progress: Progress) -> ControlFlow<()> {
        match progress {
            Progress::Begins { stage, what, samples } => {
                interrupt::training(matches!(stage, Stage::Tune | Stage::Measure));
                self.bar.finish_and_clear();
                self.say(&what);
                let by_layer = matches!(stage, Stage::Latency | Stage::Compensate);
                let noun = if by_layer { "layers" } else { "samples" };
                self.bar = if samples > 0 { progress::bar(samples, noun) } else { progress::busy(what) };
            }
            Progress::Samples(done) => self.bar.inc(done as u64),
            Progress::Tuning(event) => self.tuning(event),
            Progress::Tried(text) => self.say(text),
            Progress::WasFinished(date) => {
                self.say(&format!("this run was finished on {date}; --restart does it again"))
            }
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        self.bar.suspend(|| progress::say(text));
    }

    fn tuning(&mut self, event: &Event) {
        match event {
            Event::Started { step, steps, training_samples, validation_samples, notes, .. } => {
                self.bar.finish_and_clear();
                let from = if *step > 0 { format!(" from step {}", count(step)) } else { String::new() };
                self.say(&format!(
                    "tuning{from}: {} steps on {} samples, {} held out",
                    count(steps),
                    count(training_samples),
                    count(validation_samples)
                ));
                notes.iter().for_each(|note| self.say(&format!("note: {note}")));
                self.bar = training_bar(*steps, *step);
            }
            Event::Step { step, loss, learning_rate, samples_per_second, .. } => {
                self.bar.set_position(*step as u64);
                self.bar.set_message(format!(
                    "{samples_per_second:.0} samples/s  loss {loss:.3}  rate {}",
                    significant(*learning_rate, 2)
                ));
            }
            Event::Epoch { epoch, scores, best, .. } => {
                let best = if *best && scores.samples > 0 { "  (best)" } else { "" };
                let when = if *epoch == 0 { "before".into() } else { format!("epoch {epoch}") };
                self.say(&format!("{when}: {}{best}", scores_text(scores)));
            }
            Event::RolledBack { step, to, reason, .. } => {
                self.say(&format!("step {step}: {reason}; back to step {to} with smaller steps"));
            }
            Event::Stopped { reason, .. } => self.say(&format!("ended early: {reason}")),
        }
    }
}

fn training_bar(steps: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {eta} left  {msg}");
    let bar = match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    // The rate is that of this process.
    bar.with_position(done as u64)
}

fn scores_text(scores: &Scores) -> String {
    let share = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {:.2} %", 100.0 * v));
    let nats = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {v:.4}"));
    let texts = [
        share("accuracy", scores.accuracy),
        nats("loss", scores.loss),
        share("agreement", scores.agreement),
        nats("divergence", scores.divergence),
    ];
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    if texts.is_empty() { "nothing held out".into() } else { texts.join(", ") }
}

#[derive(Serialize)]
struct Summary<'a> {
    run: String,
    model: String,
    report_html: String,
    report: &'a Report,
}

/// The result on standard output.
fn print(report: &Report, folder: &Path, json: bool) -> Result {
    let path = |name: &str| folder.join(name).display().to_string();
    let warnings = report.notes.iter().filter(|note| note.weight == NoteWeight::Warning);
    warnings.for_each(|note| progress::say(format_args!("warning: {}", note.text)));
    let mut out = io::stdout().lock();
    if json {
        let summary = Summary {
            run: folder.display().to_string(),
            model: path(run::MODEL),
            report_html: path(run::REPORT_HTML),
            report,
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&summary).map_err(io::Error::from)?)?;
        return Ok(());
    }
    table(report).print(&mut out)?;
    writeln!(out)?;
    if let Some(latency) = &report.latency {
        writeln!(out, "latency in ONNX Runtime, {} thread(s)", latency.threads)?;
    }
    if let Some(sizes) = super::result::sizes_text(&report.sizes) {
        writeln!(out, "MACs at {sizes}")?;
    }
    writeln!(out, "model   {}", path(run::MODEL))?;
    writeln!(out, "report  {}", path(run::REPORT_HTML))?;
    Ok(())
}

fn table(report: &Report) -> Table {
    let mut columns = vec![("before", &report.original), ("after", &report.result)];
    if let Some(pruned) = &report.pruned {
        columns.insert(1, ("untuned", pruned));
    }
    let header: Vec<&str> =
        [""].into_iter().chain(columns.iter().map(|(name, _)| *name)).chain(["change"]).collect();
    let mut table = Table::new(&header, 1);
    let mut row = |name: String, cell: &dyn Fn(&Figures) -> Option<String>, change: Option<String>| {
        let cells: Vec<Option<String>> = columns.iter().map(|(_, figures)| cell(figures)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into()));
            table.row([name].into_iter().chain(cells).chain([change.unwrap_or_default()]));
        }
    };
    let (before, after) = (&report.original, &report.result);
    for data in ["test", "validation"] {
        for metric in Metric::ALL {
            let measured = move |f: &Figures| {
                let quality = if data == "test" { &f.test } else { &f.validation };
                quality.as_ref().and_then(|quality| quality.metrics.get(&metric)).copied()
            };
            let cell = |f: &Figures| {
                let m = measured(f)?;
                let (value, error) = metric.unit().texts(m.value, m.standard_error);
                Some(error.map_or(value.clone(), |error| format!("{value} ± {error}")))
            };
            let change =
                measured(before).zip(measured(after)).map(|(old, new)| change(metric, new.value - old.value));
            row(format!("{}, {data}", metric.name()), &cell, change);
        }
    }
    let share = |old: f64, new: f64| format!("{:.1} %", 100.0 * new / old.max(f64::MIN_POSITIVE));
    row(
        "parameters".into(),
        &|f| Some(count(f.parameters)),
        Some(share(before.parameters as f64, after.parameters as f64)),
    );
    let macs = |f: &Figures| match f.macs {
        Count::Number(n) => Some(n as f64),
        Count::Formula(_) => None,
    };
    let text = |f: &Figures| match &f.macs {
        Count::Number(n) => Some(count(n)),
        Count::Formula(formula) => Some(formula.clone()),
    };
    row("MACs".into(), &text, macs(before).zip(macs(after)).map(|(old, new)| share(old, new)));
    let sizes = before.file_bytes.zip(after.file_bytes);
    row("file".into(), &|f| f.file_bytes.map(bytes), sizes.map(|(old, new)| share(old as f64, new as f64)));
    let batches = report.latency.iter().flat_map(|conditions| &conditions.batches);
    for (place, batch) in batches.enumerate() {
        let latency = |f: &Figures| f.latency.get(place).map(|t| t.median_ms);
        row(
            format!("latency, batch {}", batch.batch),
            &|f| {
                let t = f.latency.get(place)?;
                let [median, low, high] = [t.median_ms, t.p10_ms, t.p90_ms].map(|ms| significant(ms, 3));
                Some(format!("{median} ms ({low}–{high})"))
            },
            latency(before).zip(latency(after)).map(|(old, new)| share(old, new)),
        );
    }
    table
}

fn change(metric: Metric, by: f64) -> String {
    match metric {
        Metric::Accuracy | Metric::Agreement => format!("{:+.2} points", 100.0 * by),
        _ => format!("{by:+.4}"),
    }
}
