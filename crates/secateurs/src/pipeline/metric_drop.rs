//! How many points of the metric a smaller model loses, and how far a model may shrink until it loses too many.

use crate::data::Samples;
use crate::tune::{Meaning, Scores, heads};

use super::job::{JobError, RunJob};

/// The search ends when so small a share of a resource lies between a model that holds and one that does not.
const RESOLUTION: f64 = 0.01;

/// Refuses a limit on the drop of a metric that there is none of.
pub(super) fn check(job: &RunJob, validation: &Samples) -> Result<(), JobError> {
    if job.settings.plan.max_drop.is_none() {
        return Ok(());
    }
    let refuse = |why: String| Err(JobError::Settings(format!("--max-drop: {why}")));
    if validation.indices.is_empty() {
        return refuse(
            "no samples are held out of the training data to measure the drop on; raise --validation, or give --validation-data".into(),
        );
    }
    let heads = heads(job.graph, &validation.data, job.outputs, job.settings.tune.objective)?;
    match heads.first() {
        Some(head) if head.meaning == Meaning::Values => {
            let output = &job.graph.values[job.graph.outputs[head.index]].name;
            refuse(format!(
                "the output '{output}' is taken for numbers ({}), so that no metric counts points; limit what is kept with --keep, or say \
                 with --objective what the output is",
                if head.reason.is_empty() { "as was asked for" } else { head.reason }
            ))
        }
        _ => Ok(()),
    }
}

/// The points that a model loses: of accuracy against the original's, or without labels of agreement with the original.
pub(super) fn points(scores: &Scores) -> Option<f64> {
    let change = scores.accuracy_change.map(|[by, _]| by);
    let change =
        change.or(scores.agreement.filter(|_| scores.accuracy.is_none()).map(|agreement| agreement - 1.0));
    // Where nothing changes, 0 and not −0.
    change.map(|by| 0.0 - 100.0 * by)
}

/// What the points are of.
pub(super) fn metric(scores: &Scores) -> &'static str {
    if scores.accuracy.is_some() { "accuracy" } else { "agreement with the original" }
}

/// Goes the way from a model that holds (0) to the end (1), or where that does not hold towards it by halves, as far as models hold. `gap`
/// is the share of a resource that lies between the two. Models are not tried in an order in which all that hold come first; what is found
/// is a place where one holds and the next smaller one that was tried does not.
pub(crate) fn furthest<E>(gap: f64, mut holds: impl FnMut(f64) -> Result<bool, E>) -> Result<(), E> {
    let (mut low, mut high) = (0.0, 1.0);
    if holds(high)? {
        return Ok(());
    }
    while (high - low) * gap > RESOLUTION {
        let middle = f64::midpoint(low, high);
        match holds(middle)? {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_smallest_that_holds_is_found_to_a_hundredth(edge in 0.0f64..1.0, gap in 0.0f64..1.0) {
            let (mut best, mut tries) = (0.0f64, 0);
            furthest(gap, |way| {
                tries += 1;
                if way <= edge {
                    best = best.max(way);
                }
                Ok::<_, ()>(way <= edge)
            }).unwrap();
            prop_assert!(best <= edge && (edge - best) * gap <= RESOLUTION);
            prop_assert!(tries <= 8);
        }
    }

    #[test]
    fn points_are_of_accuracy_or_without_labels_of_agreement() {
        let scores = Scores {
            accuracy: Some(0.9),
            accuracy_change: Some([-0.02, 0.01]),
            agreement: Some(0.8),
            ..Scores::default()
        };
        assert_eq!((points(&scores), metric(&scores)), (Some(2.0), "accuracy"));
        let same = Scores { accuracy_change: Some([0.0, 0.0]), ..scores };
        assert_eq!(points(&same).map(f64::to_bits), Some(0f64.to_bits()));
        let unlabelled = Scores { agreement: Some(0.75), ..Scores::default() };
        assert_eq!((points(&unlabelled), metric(&unlabelled)), (Some(25.0), "agreement with the original"));
        assert_eq!(points(&Scores { divergence: Some(0.1), ..Scores::default() }), None);
    }

    #[test]
    fn the_search_ends_with_the_first_error() {
        assert_eq!(furthest(1.0, |_| Err("stopped")), Err("stopped"));
    }
}
