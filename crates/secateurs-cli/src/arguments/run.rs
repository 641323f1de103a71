//! Arguments of the commands that work in the directory of a run.

use std::path::{Path, PathBuf};

use clap::Args;
use secateurs::recipe::{Recipe, SHIPPED, Settings, summary};
use secateurs_torch::tch::Device;
use serde::Serialize;
use toml::{Table, Value};

use super::{DataArguments, DeviceArguments, OutputArguments, TuningArguments, table};
use crate::error::Result;

/// Data, directory and settings of a run. They stand under no heading, whatever stands before them.
#[derive(Args)]
#[command(next_help_heading = None::<&'static str>)]
pub struct RunArguments {
    #[command(flatten)]
    pub data: DataArguments,
    /// Data that choices are made on, such as which epoch is best, in place of a part of the training data
    #[arg(long, value_name = "PATH", conflicts_with = "validation")]
    pub validation_data: Option<PathBuf>,
    /// Test data: the original and the result are measured on it once, at the end
    #[arg(long, value_name = "PATH")]
    pub test: Option<PathBuf>,
    /// The directory of the run; the same command goes on with it after an interruption
    #[arg(short = 'o', long = "out", value_name = "RUN")]
    pub folder: PathBuf,
    /// Settings from a TOML file, or a shipped recipe; several are laid over each other, flags over all
    #[arg(long, value_name = "RECIPE", long_help = recipes())]
    recipe: Vec<String>,
    /// Begin anew: discard what this or another run has left in the directory
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub outputs: OutputArguments,
    #[command(flatten)]
    pub device: DeviceArguments,
    /// Do not run models in ONNX Runtime and compare them before they get their names
    #[arg(long)]
    pub no_check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    tuning: TuningArguments,
    /// Keep here what the original computes of each batch while tuning; runs that show it the same batches (same data, augmentation,
    /// batch size and seed; other budgets or methods) read it instead, with the same result. Takes 4 bytes a number of the outputs, for
    /// every sample and epoch
    #[arg(long, value_name = "DIR", help_heading = "Tuning")]
    pub teacher_cache: Option<PathBuf>,
    #[command(flatten)]
    latency: LatencyArguments,
}

/// How to measure latency: the table `[latency]` of recipes.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Latency")]
struct LatencyArguments {
    /// Batch sizes, where the model's batch is dynamic; a limit on latency holds at the first of them, or at what --dim binds
    /// [default: 1,32]
    #[arg(id = "latency-batches", long, value_name = "N,…", value_delimiter = ',')]
    batches: Option<Vec<u32>>,
    /// Threads of ONNX Runtime [default: 1]
    #[arg(id = "latency-threads", long, value_name = "N")]
    threads: Option<u16>,
    /// Timed runs of each model at least [default: 20]
    #[arg(id = "latency-runs", long, value_name = "N")]
    runs: Option<u32>,
    /// Seconds for each batch size [default: 5]
    #[arg(id = "latency-seconds", long, value_name = "S")]
    seconds: Option<f64>,
    /// Do not measure latency
    #[arg(long, conflicts_with = "latency-batches")]
    #[serde(skip)]
    no_latency: bool,
}

fn recipes() -> String {
    let list: String =
        SHIPPED.iter().map(|(name, text)| format!("\n  {name:<19} {}", summary(text))).collect();
    format!(
        "Settings from a TOML file with the tables plan, measure, compensate, tune, data and latency, or a shipped recipe. Several are laid \
         over each other, flags over all:\n{list}"
    )
}

impl RunArguments {
    /// Flags over recipes over defaults; `plan` and `tune` are what further flags say in these tables.
    pub fn settings(&self, model: &Path, [plan, compensate, tune]: [Table; 3]) -> Result<Settings> {
        let mut recipe = Recipe::default();
        for name in &self.recipe {
            recipe = Recipe::find(name)?.over(recipe);
        }
        let mut latency = table(&self.latency)?;
        if self.latency.no_latency {
            latency.insert("batches".into(), Value::Array(Vec::new()));
        }
        let mut tuning = self.tuning.table()?;
        tuning.extend(tune);
        let flags = [
            ("plan", plan),
            ("compensate", compensate),
            ("tune", tuning),
            ("data", table(&self.data.options(model))?),
            ("latency", latency),
        ];
        let flags = flags.into_iter().map(|(name, table)| (name.to_owned(), Value::Table(table)));
        let mut settings = recipe.settings(flags.collect())?;
        settings.data.model_folder = model.parent().map(Into::into);
        Ok(settings)
    }

    /// Loads libtorch; where it computes, and with how many threads.
    pub fn prepare(&self) -> Result<(Device, usize)> {
        self.device.prepare()?;
        Ok((self.device.device, secateurs_torch::tch::get_num_threads() as usize))
    }
}
