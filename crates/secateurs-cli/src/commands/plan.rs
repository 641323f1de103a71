//! `secateurs plan`: which units would go.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use secateurs::format::count;
use secateurs::plan::Plan;
use secateurs::search::Resource;

use super::planned;
use crate::arguments::{ModelArguments, PlanningArguments, check_results};
use crate::error::Result;
use crate::progress::say;

/// Choose which units to remove, and write the choice as a readable plan
///
/// The plan is JSON: for each group that loses units, the axes of parameters that shrink and the numbers of the units that
/// stay. It can be edited, and `secateurs apply` carries it out.
#[derive(Args)]
#[command(after_help = "Examples:
  secateurs plan model.onnx --method magnitude --keep macs=0.5 -o plan.json
  secateurs plan model.onnx --keep latency=0.6 --dim batch=32 --threads 2 \\
      -o plan.json
  secateurs plan model.onnx --method random --seed 3 --keep units=0.7 \\
      --scope layer -o plan.json")]
pub struct PlanCommand {
    #[command(flatten)]
    model: ModelArguments,
    /// Where to write the plan
    #[arg(short, long, value_name = "PLAN")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pruning: PlanningArguments,
}

impl PlanCommand {
    pub fn run(self) -> Result {
        check_results(&[Some(&self.output)])?;
        let (_, plan) = planned::plan(&self.model, &self.pruning)?;
        plan.write(&self.output)?;
        if let Some(missing) = plan.missing_implants() {
            say(format_args!("note: {missing}"));
        }
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(&plan).map_err(io::Error::from)?)?,
            false => print(&plan, &mut out)?,
        }
        Ok(())
    }
}

fn print(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let units =
        |kept: bool| plan.groups.iter().map(|g| if kept { g.kept.len() } else { g.units }).sum::<usize>();
    writeln!(
        out,
        "{} of {} units stay in {} groups",
        count(units(true)),
        count(units(false)),
        plan.groups.len()
    )?;
    for (resource, share) in &plan.reached {
        let share_text = format!("{:.2} %", 100.0 * share.share);
        let amount = |value: f64| {
            Resource::named(resource).map_or_else(|| value.to_string(), |named| named.amount(value))
        };
        writeln!(out, "{resource:<7} {} of {} ({share_text})", amount(share.kept), amount(share.of))?;
    }
    match super::result::sizes_text(&plan.model.sizes) {
        Some(sizes) => writeln!(out, "MACs are counted at {sizes}"),
        None => Ok(()),
    }
}
