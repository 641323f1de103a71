//! The whole way: plan, prune, compensate, tune against the original, measure, report.

use std::sync::Arc;

use super::job::{JobError, Observe, RunJob};
use super::stages::{Models, Stages};
use crate::report::Report;

/// Makes a smaller model in the directory of a run, or goes on with it where an earlier call was ended. Of a run that is finished
/// the report is returned. Where no method is chosen, units are measured.
pub fn compress(job: &RunJob, observe: &mut Observe) -> Result<Report, JobError> {
    let settings = job.settings.plan.resolved(true);
    let plan = settings.options(job.sizes.clone()).map_err(JobError::Settings)?;
    let original = Arc::new(job.graph.clone());
    let mut stages = Stages::open(job, Some(&settings), None, observe)?;
    if let Some(report) = stages.finished()? {
        return Ok(report);
    }
    let mut models = Models::of(original.clone());
    // First, as a budget that cannot be met is best known at once.
    let plan = stages.plan(&original, &plan)?;
    stages.validate(Models::ORIGINAL, &original, None)?;
    let pruned = stages.prune(&plan)?;
    stages.validate(Models::PRUNED, &pruned, Some(&original))?;
    let compensated = stages.compensate(&plan)?;
    if let Some(compensated) = &compensated {
        stages.validate(Models::COMPENSATED, compensated, Some(&original))?;
    }
    let start = compensated.unwrap_or_else(|| pruned.clone());
    let result = stages.tune(&start, Some(&original), Some(&plan))?;
    models.pruned = Some(pruned);
    stages.finish(models, result)
}
