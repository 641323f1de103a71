//! How sensitivity was measured.

use maud::{Markup, html};

use super::Sensitivity;
use crate::evidence::{Estimator, Header, Score, Verification};
use crate::format::{count, significant};
use crate::report::settings::group;

/// Names and values, for people.
pub fn of(header: &Header, score: Score) -> Vec<(String, String)> {
    let settings = &header.settings;
    let losses: Vec<String> = header.outputs.iter().map(ToString::to_string).collect();
    let passes = match (settings.estimator, settings.draws) {
        (Estimator::Exact, _) => String::new(),
        (_, 1) => ", 1 backward pass a batch".into(),
        (_, draws) => format!(", {draws} backward passes a batch"),
    };
    let mut rows = vec![
        ("score", format!("{}: {}", score.name(), meaning(score))),
        ("loss of the outputs", losses.join(" + ")),
        ("samples", count(header.samples)),
    ];
    if header.samples_in_factor < header.samples {
        rows.push(("samples that sets are predicted from", count(header.samples_in_factor)));
    }
    rows.extend(header.data.iter().map(|data| {
        let measured: usize = data.samples.iter().map(|[from, to]| to - from).sum();
        ("data", format!("{}: {} of {} samples", data.path, count(measured), count(data.of)))
    }));
    rows.extend([
        ("labels", if header.labels { "used" } else { "none, or not used" }.into()),
        ("estimator", format!("{}{passes}", settings.estimator.name())),
        ("traces", settings.trace.as_ref().map_or("not measured".into(), ToString::to_string)),
        ("seed", settings.seed.to_string()),
        ("computed in", format!("{} bits", settings.precision)),
        ("ended", header.ended.clone().unwrap_or_else(|| "not yet; the same command goes on".into())),
        ("measured by", format!("secateurs {}", header.secateurs)),
        ("hash of the model", header.model_hash.clone()),
    ]);
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn meaning(score: Score) -> &'static str {
    match score {
        Score::Quadratic => {
            "the change of the loss of the outputs that second order predicts for the unit's removal"
        }
        Score::QuadraticAbsorbed => "as quadratic, where the unit's mean is absorbed",
        Score::Loss => "the change of the labels' loss, by first order and second",
        Score::FirstOrder => "the change of the labels' loss, by first order alone",
        Score::Gradient => "the mean size of the labels' loss's change in first order",
        Score::Taylor => "the mean square of the labels' loss's change in first order",
        Score::Activation => "the mean size of the unit's activations",
        Score::Trace => "the trace of the Hessian in the weights that make the unit",
        Score::HapTrace => "the trace of the Hessian in the unit's kernels, times their mean square (HAP)",
    }
}

/// The table, and what was assumed.
pub fn table(sensitivity: &Sensitivity, verification: Option<&Verification>) -> Markup {
    let mut rows = sensitivity.conditions.clone();
    let mut add = |name: &str, value: String| rows.push((name.into(), value));
    add("reliability of the ranking", significant(sensitivity.reliability, 4));
    if let Some(v) = verification {
        let which = if v.same_samples { "of the measured samples" } else { "samples that were not measured" };
        add("verified on", format!("{} {which}", count(v.samples)));
        if let Some(p_max) = v.mean_p_max {
            add("mean highest probability", format!("{p_max:.3}"));
        }
    }
    html! {
        div.settings.lone { (group("conditions", &rows)) }
        @if !sensitivity.notes.is_empty() {
            ul.notes { @for note in &sensitivity.notes { li { (note) } } }
        }
        p.small {
            "The reliability is the rank correlation of the scores of two halves of the samples, stepped up to the whole."
        }
    }
}
