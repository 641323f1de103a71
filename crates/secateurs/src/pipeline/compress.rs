//! The whole way: plan, prune, compensate, tune against the original, measure, report.

use std::sync::Arc;

use super::job::{JobError, Observe, RunJob};
use super::plan::{PlanOptions, begin};
use super::stages::{Models, Stages};
use crate::evidence::Evidence;
use crate::report::Report;
use crate::resizable::resizable;
use crate::search::Resource;
use crate::tune::{WeightedOutput, fixed_outputs};

/// Makes a smaller model in the directory of a run, or goes on with it where an earlier call was ended. Of a run that is finished
/// the report is returned. Where no method is chosen, units are measured.
pub fn compress(job: &RunJob, observe: &mut Observe) -> Result<Report, JobError> {
    let settings = job.settings.plan.resolved(true);
    let plan = settings.options(job.sizes.clone()).map_err(JobError::Settings)?;
    let plan = PlanOptions { compensation: job.settings.compensate.fit, ..plan };
    if plan.budget.limit(Resource::Latency).is_some() && job.settings.latency.batches.is_empty() {
        return Err(JobError::Settings(
            "the budget limits latency, and --no-latency (in recipes no latency.batches) says not to measure it; leave out one of the two, or limit macs"
                .into(),
        ));
    }
    let outputs = outputs(job, &plan.resizable)?;
    let job = &RunJob { outputs: &outputs, ..job.clone() };
    let evidence = evidence(job, &plan)?;
    let original = Arc::new(job.graph.clone());
    let mut stages = Stages::open(job, Some(&settings), evidence, None, observe)?;
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

/// What units were found to be worth before, where that is given.
fn evidence(job: &RunJob, plan: &PlanOptions) -> Result<Option<Arc<Evidence>>, JobError> {
    let Some(path) = job.evidence else { return Ok(None) };
    let plan = PlanOptions { evidence: Some(Arc::new(Evidence::read(path)?)), ..plan.clone() };
    begin(job.graph, &plan)
        .map_err(|source| JobError::Planning { model: job.graph.source.file().into(), source })?;
    Ok(plan.evidence)
}

/// The outputs that are looked at: those that keep their shape.
fn outputs(job: &RunJob, names: &[String]) -> Result<Vec<WeightedOutput>, JobError> {
    let graph = job.graph;
    let ports = resizable(graph, names).map_err(|e| JobError::Settings(e.to_string()))?;
    if let Some(&input) = graph.inputs.iter().find(|input| ports.contains(input)) {
        return Err(JobError::Settings(format!(
            "--resizable names the input '{}', and the data have it in the shape of the original, so that no smaller model can be tuned \
             and scored on them; remove units with `secateurs prune`, or with `measure`, `plan` and `apply`",
            graph.values[input].name
        )));
    }
    Ok(fixed_outputs(graph, job.outputs, &ports)?)
}
