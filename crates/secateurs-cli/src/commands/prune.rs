//! `secateurs prune`: plan and apply in one step.

use std::path::PathBuf;

use clap::Args;

use super::{planned, result};
use crate::arguments::{ModelArguments, PlanningArguments, ResultArguments};
use crate::error::Result;

/// Remove units of a model without data, and write the smaller model
///
/// A unit is the smallest part that can go: a channel with all that is coupled to it, a neuron, an attention head. Before the
/// smaller model gets its name it is run in ONNX Runtime on random inputs, and compared with the original in which the removed
/// units are zeroed where they are consumed.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs prune model.onnx --method magnitude --keep params=0.5 \\
      -o smaller.onnx
  secateurs prune model.onnx --method magnitude --keep macs=0.5 \\
      --dim batch=1 --multiple 8 -o smaller.onnx
  secateurs prune model.onnx --keep latency=3ms,bytes=2MB -o smaller.onnx
  secateurs prune decoder.onnx --keep params=0.7 \\
      --resizable 'past_key_values.*,present.*' -o smaller.onnx
  secateurs prune model.onnx --method random --seed 1 --keep units=0.5 \\
      --scope layer -o smaller.onnx --masked twin.onnx --plan plan.json")]
pub struct Prune {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    result: ResultArguments,
    /// Also write the plan
    #[arg(long, value_name = "PLAN")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    pruning: PlanningArguments,
}

impl Prune {
    pub fn run(self) -> Result {
        self.result.check(self.plan.as_deref())?;
        let (graph, plan) = planned::plan(&self.model, &self.pruning)?;
        let report = result::apply(&self.model.model, &graph, &plan, None, &self.result)?;
        if let Some(path) = &self.plan {
            plan.write(path)?;
        }
        report.print(self.result.json)
    }
}
