//! `secateurs eval`: accuracy and loss on data.

use std::io::{self, Write};

use clap::Args;
use secateurs::format::count;
use secateurs::pipeline::{self, EvaluateOptions, Evaluation};
use secateurs_graph::session::SessionOptions;
use serde::Serialize;

use crate::arguments::{DataArguments, Engine, EngineArguments, ModelArguments};
use crate::error::Result;
use crate::progress;

/// Measure a model's accuracy and loss on data
///
/// The model's output must be one row of class scores a sample. The loss is the cross-entropy in nats.
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
    /// The output with the class scores [default: the first]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
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
        let graph = self.model.read()?;
        let options = self.data.options(&self.model.model);
        let dataset = pipeline::open_data(&graph, &self.data.data, &options, self.output.as_deref())?;
        self.engine.prepare()?;
        let options = EvaluateOptions {
            batch_size: self.batch_size.map(|n| n as usize),
            samples: self.samples.map(|n| n as usize),
            output: self.output.clone(),
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
        let evaluation =
            pipeline::evaluate(graph.into(), dataset.into(), &options, |done| bar.inc(done as u64));
        bar.finish_and_clear();
        let evaluation = evaluation?;
        let mut out = io::stdout().lock();
        if self.json {
            let report = Report {
                model: self.model.model.display().to_string(),
                data: self.data.data.display().to_string(),
                evaluation: &evaluation,
            };
            writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?;
        } else {
            print(&evaluation, &mut out)?;
        }
        Ok(())
    }
}

fn print(evaluation: &Evaluation, out: &mut impl Write) -> io::Result<()> {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let e = evaluation;
    writeln!(
        out,
        "accuracy  {} ± {:.2}  ({} of {})",
        percent(e.accuracy),
        100.0 * e.accuracy_standard_error,
        count(e.correct),
        count(e.samples)
    )?;
    if e.classes > 5 {
        writeln!(out, "top 5     {}", percent(e.top5_accuracy))?;
    }
    writeln!(out, "loss      {:.4} ± {:.4} nats", e.loss, e.loss_standard_error)?;
    writeln!(out, "time      {:.2} s, {:.0} samples/s", e.seconds, e.samples as f64 / e.seconds)?;
    if e.nan > 0 {
        writeln!(
            out,
            "warning   {} samples have scores that are not numbers; they count as wrong",
            count(e.nan)
        )?;
    }
    Ok(())
}
