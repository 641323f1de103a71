//! A model tuned in the directory of a run: to recover it from its original, on new data, or from scratch.

use std::sync::Arc;

use secateurs_graph::Graph;

use super::job::{JobError, Observe, RunJob};
use super::stages::{Models, Stages};
use crate::plan::Plan;
use crate::report::Report;

/// Tunes a model in the directory of a run, or goes on with it where an earlier call was ended. With a teacher, it is the teacher
/// that the result is compared with. Of a run that is finished the report is returned.
///
/// `plan` is what made the model of its teacher, where that is known: hidden states of other width are compared by it.
pub fn tune_run(
    job: &RunJob,
    teacher: Option<&Graph>,
    plan: Option<&Plan>,
    observe: &mut Observe,
) -> Result<Report, JobError> {
    let model = Arc::new(job.graph.clone());
    let mut stages = Stages::open(job, None, None, teacher, observe)?;
    let teacher = stages.teacher.clone();
    if let Some(report) = stages.finished()? {
        return Ok(report);
    }
    let mut models = Models::of(teacher.as_ref().unwrap_or(&model).clone());
    stages.validate(Models::ORIGINAL, &models.original, None)?;
    if let Some(teacher) = &teacher {
        stages.validate(Models::PRUNED, &model, Some(teacher))?;
        models.pruned = Some(model.clone());
    }
    let result = stages.tune(&model, teacher.as_ref(), plan)?;
    stages.finish(models, result)
}
