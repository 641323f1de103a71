//! What cannot work is known before anything is done: found by its stage it would cost what was done before, and the run would hold other
//! settings than those that are right.

use super::job::{JobError, RunJob};
use super::plan::PlanningError;
use crate::data::Dataset;
use crate::evidence::{Evidence, Score};
use crate::methods::method;
use crate::recipe::PlanSettings;
use crate::runtime::find_library;
use crate::tune::{TuneError, TuneOptions, check_teaching, heads};

/// Refuses what the data, the evidence or this machine cannot serve. `tune` is how the run trains; `plan` is for runs that prune, which
/// have a teacher.
pub(super) fn check(
    job: &RunJob,
    data: &Dataset,
    tune: &TuneOptions,
    plan: Option<&PlanSettings>,
    evidence: Option<&Evidence>,
    teacher: bool,
) -> Result<(), JobError> {
    let teacher = teacher || plan.is_some();
    check_teaching(tune, data, teacher, job.teacher_cache.is_some())?;
    let labelled = heads(job.graph, data, job.outputs, tune.objective)?[0].labelled;
    if !labelled && !teacher {
        return Err(TuneError::NoTarget { data: data.path().to_owned() }.into());
    }
    if let Some(method) = plan.and_then(|plan| method(plan.method.as_deref()?)) {
        let measured = |score| evidence.map(|evidence| evidence.score(score).is_some());
        let labels = measured(Score::Loss).unwrap_or(labelled);
        let found = method.check_measured(labels, measured(Score::HapTrace).unwrap_or(true));
        found.map_err(|error| JobError::Planning {
            model: job.graph.source.file().into(),
            source: PlanningError::Method(error),
        })?;
    }
    let uses: Vec<&str> = [
        job.check.then_some("models are checked (--no-check leaves that out)"),
        (!job.settings.latency.batches.is_empty())
            .then_some("latency is measured (--no-latency leaves that out)"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match find_library() {
        Err(error) if !uses.is_empty() => {
            Err(JobError::Settings(format!("by ONNX Runtime {}: {error}", uses.join(" and "))))
        }
        _ => Ok(()),
    }
}
