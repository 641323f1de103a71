//! `secateurs apply`: a plan's smaller model.

use std::path::PathBuf;

use clap::Args;
use secateurs::plan::Plan;
use secateurs_graph::Graph;

use super::result;
use crate::arguments::ResultArguments;
use crate::error::Result;

/// Remove the units that a plan does not keep
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs apply model.onnx plan.json -o smaller.onnx
  secateurs apply model.onnx plan.json -o smaller.onnx --masked twin.onnx \\
      --json")]
pub struct Apply {
    /// The ONNX model that the plan was made for
    model: PathBuf,
    /// The plan, from `secateurs plan` or `prune --plan`
    plan: PathBuf,
    #[command(flatten)]
    result: ResultArguments,
}

impl Apply {
    pub fn run(self) -> Result {
        self.result.check(None)?;
        let plan = Plan::read(&self.plan)?;
        let graph = Graph::read_live(&self.model)?;
        result::apply(&self.model, &graph, &plan, Some(&self.plan), &self.result)?.print(self.result.json)
    }
}
