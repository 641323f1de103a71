//! `secateurs eval`: accuracy and loss on data.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use secateurs::format::count;
use secateurs::pipeline::{self, Collected, EvaluateOptions, Evaluation};
use secateurs::tune::Objective;
use secateurs_graph::session::SessionOptions;
use serde::Serialize;

use crate::arguments::{DataArguments, Engine, EngineArguments, ModelArguments, check_results, objective};
use crate::error::{CliError, Result};
use crate::progress;

/// Measure a model's accuracy and loss on data
///
/// The loss is the mean over samples of what the labels call for: the cross-entropy in nats of one class a sample or a row (token, pixel), the
/// binary cross-entropy of labels that hold or not, or the mean squared error of numbers. Accuracy is the share of labels that are met: by
/// the highest score, or by the probability's side of ½.
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    data: DataArguments,
    /// Samples in a batch [default: 128, or what the model fixes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Use the first N samples only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// The output that labels are for [default: the first of floats]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// What the output is taken for
    #[arg(long, value_parser = objective(), default_value = "auto")]
    objective: Objective,
    #[command(flatten)]
    engine: EngineArguments,
    /// Write the output of every sample, in the order of the data, to compare models sample by sample: arrays output, label and sample
    #[arg(long, value_name = "FILE.npz")]
    save: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    model: String,
    data: String,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

impl Eval {
    pub fn run(self) -> Result {
        check_results(&[self.save.as_deref()])?;
        let graph = self.model.read()?;
        let options = self.data.options(&self.model.model);
        let open = match self.engine.engine {
            Engine::Libtorch => pipeline::open_data,
            Engine::Onnxruntime => pipeline::open_fixed_data,
        };
        let dataset = open(&graph, &self.data.data, &options, self.output.as_deref(), self.objective)?;
        self.engine.prepare()?;
        let options = EvaluateOptions {
            batch_size: self.batch_size.map(|n| n as usize),
            samples: self.samples.map(|n| n as usize),
            output: self.output.clone(),
            objective: self.objective,
            engine: match self.engine.engine {
                Engine::Libtorch => pipeline::Engine::Libtorch(SessionOptions {
                    device: self.engine.device.device,
                    precision: self.engine.precision(),
                    ..SessionOptions::default()
                }),
                Engine::Onnxruntime => pipeline::Engine::OnnxRuntime {
                    model: self.model.model.clone(),
                    threads: self.engine.device.threads.map(Into::into),
                },
            },
        };
        let bar = progress::bar(options.samples.unwrap_or(usize::MAX).min(dataset.len()), "samples");
        let mut collected = self.save.as_ref().map(|_| Collected::default());
        let evaluation =
            pipeline::evaluate(graph.into(), dataset.into(), &options, |samples, output, labels| {
                if let Some(collected) = &mut collected {
                    collected.add(samples, output, labels);
                }
                bar.inc(samples.len() as u64);
            });
        bar.finish_and_clear();
        let evaluation = evaluation?;
        // What cannot be saved is told all the same, and what nobody reads is saved.
        let printed = self.print(&evaluation);
        if let (Some(collected), Some(path)) = (collected, &self.save) {
            collected.write(path).map_err(CliError::saving)?;
        }
        Ok(printed?)
    }

    fn print(&self, evaluation: &Evaluation) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.json {
            return print(evaluation, &mut out);
        }
        let report = Report {
            model: self.model.model.display().to_string(),
            data: self.data.data.display().to_string(),
            evaluation,
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)
    }
}

fn print(evaluation: &Evaluation, out: &mut impl Write) -> io::Result<()> {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let e = evaluation;
    if let Some(met) = &e.met {
        writeln!(
            out,
            "accuracy  {} ± {:.2}  ({} of {})",
            percent(met.accuracy),
            100.0 * met.accuracy_standard_error,
            count(met.correct),
            count(met.labels)
        )?;
        if met.classes > 5 {
            writeln!(out, "top 5     {}", percent(met.top5_accuracy))?;
        }
    }
    let nats = if e.met.is_some() { " nats" } else { "" };
    writeln!(out, "loss      {:.4} ± {:.4}{nats}  ({})", e.loss, e.loss_standard_error, e.loss_is)?;
    writeln!(out, "time      {:.2} s, {:.0} samples/s", e.seconds, e.samples as f64 / e.seconds)?;
    if e.nan > 0 {
        writeln!(
            out,
            "warning   {} rows have scores that are not numbers; they {}",
            count(e.nan),
            if e.met.is_some() { "count as wrong" } else { "are left out" }
        )?;
    }
    e.notes.iter().try_for_each(|note| writeln!(out, "note      {note}"))?;
    Ok(())
}
