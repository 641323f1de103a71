//! `secateurs compress`: the whole way.

use std::path::PathBuf;

use clap::Args;
use secateurs::pipeline::{self, RunJob};
use serde::Serialize;

use super::watch;

use crate::arguments::{ModelArguments, PruningArguments, RunArguments, table};
use crate::error::Result;

/// Prune a model, tune it against the original, and report what was gained and lost
///
/// What units are worth is measured on the training data, unless --method names a method that needs no data.
///
/// RUN is a directory of readable artifacts: config.toml, evidence.safetensors, plan.json, pruned.onnx, compensated.onnx, metrics.jsonl, model.onnx (the result),
/// report.html and report.json; with --steps or --max-drop also the plans of the models that were tried (trial-N.json), and the model and
/// evidence of each step (step-N.onnx, step-N.evidence.safetensors). The same command goes on where it was interrupted or killed. Choices are made on samples that are
/// held out of the training data, or on --validation-data; test data are read once, at the end. Without labels the model is tuned and scored by the
/// original's outputs.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs compress model.onnx --data train.npz --test test.npz \\
      --keep params=0.5 -o run
  secateurs compress model.onnx --data photos/ --recipe magnitude \\
      --epochs 10 --crop-padding 4 --flip -o run
  secateurs compress model.onnx --data train.npz --max-drop 1 -o run
  secateurs compress bert.onnx --data train.tsv --validation-data dev.tsv \\
      --tokenizer tokenizer.json --keep params=0.5 -o run
  secateurs compress model.onnx --data train.npz --keep macs=0.3 --steps 4 \\
      -o run
  secateurs compress model.onnx --data train.npz --preset cifar10 \\
      --recipe hap --recipe mine.toml -o run")]
pub struct Compress {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    pruning: PruningArguments,
    /// What `secateurs measure` wrote of this model, in place of measuring it in the run
    #[arg(long, value_name = "EVIDENCE", help_heading = "Pruning")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    choice: ChoiceArguments,
    #[command(flatten)]
    compensation: CompensationArguments,
    #[command(flatten)]
    run: RunArguments,
}

/// How far the choice goes: keys of the table `[plan]` of recipes.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Pruning")]
struct ChoiceArguments {
    /// Look for the smallest model that loses at most so many points of accuracy (without labels: of agreement with the original) on the
    /// held-out samples, compensated and before tuning. Smallest is by --keep, which is then the least that is tried, or else by
    /// parameters; the keep of a recipe does not count then
    #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_drop: Option<f64>,
    /// Reach the budget in N steps: units are measured anew on the smaller model of each [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
}

/// How what is left takes over from what goes: the table `[compensate]` of recipes.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Compensation")]
struct CompensationArguments {
    /// What is fitted to what the original makes, in closed form, before tuning: nothing, what layers add (so that means are absorbed), or
    /// weights too [default: least-squares]
    #[arg(long = "compensate", value_name = "FIT", value_parser = ["none", "means", "least-squares"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<String>,
    /// Training samples that are fitted on [default: 512]
    #[arg(long = "compensate-samples", value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u32>,
}

impl Compress {
    pub fn run(self) -> Result {
        let mut plan = self.pruning.table()?;
        plan.extend(table(&self.choice)?);
        // One seed for all draws.
        let seed = plan.get("seed").map(|seed| ("seed".to_owned(), seed.clone()));
        let tune = seed.into_iter().collect();
        let compensate = table(&self.compensation)?;
        let evidence = self.evidence.as_deref();
        watch::run(&self.model, &self.run, [plan, compensate, tune], |job, observe| {
            pipeline::compress(&RunJob { evidence, ..job.clone() }, observe)
        })
    }
}
