//! What units are worth, for people.

use std::path::Path;

use secateurs_graph::Graph;

use super::job::JobError;
use super::stages::Stages;
use crate::evidence::{Evidence, EvidenceError, Score, Verification};
use crate::methods::{Method, method};
use crate::plan::Plan;
use crate::report::{Sensitivity, render_sensitivity};
use crate::{run, whole};

/// Writes the page of what units are worth by a score, whole or not at all; with a verification, it is held against true removals.
pub fn write_sensitivity(
    path: &Path,
    evidence: &Evidence,
    score: Score,
    verification: Option<&Verification>,
) -> Result<(), EvidenceError> {
    let sensitivity = Sensitivity::of(evidence, score, None).ok_or_else(|| {
        EvidenceError::Options(format!("the score '{}' needs labels, and there were none", score.name()))
    })?;
    let page = render_sensitivity(&sensitivity, verification);
    whole::write(path, page.as_bytes()).map_err(|source| EvidenceError::Write { path: path.into(), source })
}

/// What was measured in a run and which units went by it; `None` where its method needs no evidence, or that is no longer there.
pub(super) fn of_run(
    stages: &Stages,
    plan: Option<&Plan>,
    original: &Graph,
) -> Result<Option<Sensitivity>, JobError> {
    let path = stages.directory.file(run::EVIDENCE);
    let method = plan.and_then(|plan| method(&plan.asked.method));
    let (Some(plan), Some(score), true) = (plan, method.and_then(Method::measured), path.is_file()) else {
        return Ok(None);
    };
    let evidence = Evidence::read(&path)?;
    let coupling = plan.coupling(original)?;
    evidence.check(original, &coupling, plan.asked.split, &plan.asked.resizable)?;
    let choice = plan.choice(original, &coupling)?;
    let mut found = Sensitivity::of(&evidence, score, Some(&choice));
    if let (Some(found), true) = (&mut found, method.is_some_and(Method::goes_by_sets)) {
        found.notes.push(format!(
            "Units went by {}, which weighs each with those that went before it; these scores are of single units, so that some with higher \
             ones may be gone.",
            plan.asked.method
        ));
    }
    Ok(found)
}
