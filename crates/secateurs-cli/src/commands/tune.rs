//! `secateurs tune`: training a model.

use std::path::PathBuf;

use clap::Args;
use secateurs::pipeline;
use secateurs::plan::Plan;
use secateurs::run;
use secateurs_graph::Graph;
use toml::{Table, Value};

use super::watch;
use crate::arguments::{ModelArguments, RunArguments};
use crate::error::Result;

/// Tune a model: against a teacher, on labels, or from scratch
///
/// RUN is a directory of readable artifacts: config.toml, metrics.jsonl, model.onnx (the result), report.html and report.json. The
/// same command goes on where it was interrupted or killed. The epoch is chosen on samples that are held out of the training data, or on
/// --validation-data; test data are read once, at the end.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs tune smaller.onnx --teacher model.onnx --data train.npz -o run
  secateurs tune model.onnx --reinit --data train.npz --test test.npz \\
      --recipe cifar10-scratch -o run")]
pub struct Tune {
    #[command(flatten)]
    model: ModelArguments,
    /// The model whose outputs the tuned one is to have; its inputs and outputs are matched by name, or by place where no name is the same
    #[arg(long, value_name = "MODEL")]
    teacher: Option<PathBuf>,
    /// The plan that made the model of its teacher, to compare hidden states whose width was pruned (--hidden-distillation);
    /// needed as well where units of theirs are implanted, which puts them in another order
    #[arg(long, value_name = "PLAN", requires = "teacher")]
    plan: Option<PathBuf>,
    /// Draw all parameters anew first
    #[arg(long)]
    reinit: bool,
    /// Seed of everything that is drawn [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::arguments::parse_seed())]
    seed: Option<u64>,
    #[command(flatten)]
    run: RunArguments,
}

impl Tune {
    pub fn run(self) -> Result {
        let teacher = self.teacher.as_deref().map(Graph::read_live).transpose()?;
        let plan = self.plan.as_deref().map(Plan::read).transpose()?;
        let mut tune = Table::new();
        tune.extend(self.seed.map(|seed| ("seed".to_owned(), Value::Integer(seed as i64))));
        tune.extend(self.reinit.then(|| ("reinit".to_owned(), Value::Boolean(true))));
        watch::run(&self.model, &self.run, [Table::new(), Table::new(), tune], |job, observe| {
            if let Some(plan) = self.plan.as_deref().filter(|_| job.restart) {
                run::outside_run(job.folder, plan)?;
            }
            pipeline::tune_run(job, teacher.as_ref(), plan.as_ref(), observe)
        })
    }
}
