//! `secateurs compress`: the whole way.

use clap::Args;
use secateurs::pipeline;

use super::watch;
use crate::arguments::{ModelArguments, PruningArguments, RunArguments};
use crate::error::Result;

/// Prune a model, tune it against the original, and report what was gained and lost
///
/// What units are worth is measured on the training data, unless --method names a method that needs no data.
///
/// RUN is a directory of readable artifacts: config.toml, evidence.safetensors, plan.json, pruned.onnx, metrics.jsonl, model.onnx (the result),
/// report.html and report.json. The same command goes on where it was interrupted or killed. Choices are made on samples that are
/// held out of the training data; test data are read once, at the end. Without labels the model is tuned and scored by the
/// original's outputs.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs compress model.onnx --data train.npz --test test.npz --keep params=0.5 -o run
  secateurs compress model.onnx --data photos/ --recipe magnitude --epochs 10 --crop-padding 4 --flip -o run
  secateurs compress model.onnx --data train.npz --recipe cifar10 --recipe mine.toml -o run")]
pub struct Compress {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    pruning: PruningArguments,
    #[command(flatten)]
    run: RunArguments,
}

impl Compress {
    pub fn run(self) -> Result {
        let plan = self.pruning.table()?;
        // One seed for all draws.
        let seed = plan.get("seed").map(|seed| ("seed".to_owned(), seed.clone()));
        let tune = seed.into_iter().collect();
        watch::run(&self.model, &self.run, [plan, tune], pipeline::compress)
    }
}
