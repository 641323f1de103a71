//! `secateurs bench`: latency of models side by side in ONNX Runtime.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use secateurs::pipeline::latency_job;
use secateurs::runtime::{
    LatencyJob, LatencyOptions, LatencyRequest, Timing, latency_child, measure_in_child,
};
use secateurs_graph::{Bindings, Graph};
use serde::Serialize;

use crate::arguments::SizeArguments;
use crate::error::{CliError, Result};
use crate::table::Table;

/// Measure the latency of models side by side in ONNX Runtime
///
/// The models run in turns on random inputs, in a process of its own that never loads libtorch, so that what else happens
/// on the machine meets all of them alike. The ratio is to the first model.
#[derive(Args)]
pub struct Bench {
    /// The ONNX models
    #[arg(required = true)]
    models: Vec<PathBuf>,
    #[command(flatten)]
    sizes: SizeArguments,
    /// The first axis of every input, where it is symbolic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    batch: i64,
    /// Threads of ONNX Runtime
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Timed runs of each model at least
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Runs of each model that are not timed, first
    #[arg(long, value_name = "N", default_value_t = 5)]
    warmup: u32,
    /// Seconds to go on for, over all models
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    threads: u16,
    models: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    model: String,
    shapes: Vec<(String, Vec<usize>)>,
    #[serde(flatten)]
    timing: Timing,
    /// How many times as fast as the first model, by the medians.
    speedup: f64,
}

impl Bench {
    pub fn run(self) -> Result {
        if !self.seconds.is_finite() || self.seconds < 0.0 {
            return Err(CliError::Input(format!("--seconds {}: must be a time", self.seconds)));
        }
        let jobs = self.models.iter().map(|m| self.job(m)).collect::<Result<Vec<_>>>()?;
        let options = LatencyOptions {
            threads: self.threads.into(),
            warmup: self.warmup as usize,
            min_runs: self.runs as usize,
            seconds: self.seconds,
        };
        let executable = std::env::current_exe()?;
        let request = LatencyRequest { jobs: jobs.clone(), options };
        let timings = measure_in_child(&executable, &["latency-child"], &request)?;
        let first = timings[0].median_ms;
        let rows = jobs.into_iter().zip(timings).map(|(job, timing)| Row {
            model: job.model.display().to_string(),
            shapes: job.shapes,
            speedup: first / timing.median_ms,
            timing,
        });
        let report = Report { threads: self.threads, models: rows.collect() };
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?,
            false => print(&report, &mut out)?,
        }
        Ok(())
    }

    /// The model with a number for every size of its inputs.
    fn job(&self, model: &Path) -> Result<LatencyJob> {
        let mut graph = Graph::read(model)?;
        self.sizes.bind(&mut graph)?;
        Ok(latency_job(&graph, model, self.batch as usize, &Bindings::new())?)
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table =
        Table::new(&["model", "inputs", "median ms", "10 %", "90 %", "fastest", "runs", "speed-up"], 2);
    for row in &report.models {
        let t = &row.timing;
        let shapes: Vec<String> =
            row.shapes.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
        let mut cells = vec![row.model.clone(), shapes.join(" ")];
        cells.extend([t.median_ms, t.p10_ms, t.p90_ms, t.min_ms].map(|ms| format!("{ms:.3}")));
        cells.extend([t.runs.to_string(), format!("{:.2}×", row.speedup)]);
        table.row(cells);
    }
    table.print(out)?;
    writeln!(out, "\nONNX Runtime, {} thread(s), models in turns", report.threads)
}

/// The child's side.
pub fn child() -> Result {
    latency_child(io::stdin().lock(), io::stdout().lock())?;
    Ok(())
}
