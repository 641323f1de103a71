//! What was predicted for removals against what came of them.

use maud::{Markup, html};

use super::ScoredGroup;
use crate::evidence::{Correlation, Kind, Removal, Verification};
use crate::format::{count, significant};
use crate::report::chart::{axes, named, percent};
use crate::report::floored::FlooredScale;

/// A chart for single units and for each kind of sets, and the rank correlations of all scores.
pub fn charts(groups: &[ScoredGroup], verification: &Verification) -> Markup {
    let kinds = Kind::ALL.map(|kind| {
        (kind, verification.removals.iter().filter(|r| r.kind == kind).collect::<Vec<&Removal>>())
    });
    html! {
        p {
            "Units and random sets of units were truly removed, on " (count(verification.samples))
            @if verification.same_samples { " of the samples that were measured." }
            @else { " samples that were not measured." }
            " From left to right the change of the outputs that second order predicts, upwards the change that came of it; on the line the \
             two are equal."
        }
        div.multiples {
            @for (kind, removals) in &kinds {
                @if !removals.is_empty() { (scatter(groups, *kind, removals, verification)) }
            }
        }
        @if !verification.correlations.is_empty() { (correlations(verification)) }
    }
}

fn scatter(groups: &[ScoredGroup], kind: Kind, removals: &[&Removal], verification: &Verification) -> Markup {
    let scale = FlooredScale::covering(removals.iter().flat_map(|r| [r.predicted, r.change]), 4);
    let ours = |c: &&Correlation| c.kind == kind && c.score == "quadratic";
    let rho = verification.correlations.iter().find(ours).map(|c| significant(c.outputs, 3));
    let rho = rho.map_or(String::new(), |rho| format!(", ρ = {rho}"));
    let number = format!("{} removal{}", count(removals.len()), if removals.len() == 1 { "" } else { "s" });
    let description = format!("{number}{rho}: predicted against true change of the outputs.");
    let places = removals.iter().filter_map(|r| Some((r, scale.place(r.predicted)?, scale.place(r.change)?)));
    let [low, high] = [100.0 * scale.foot(), 100.0].map(percent);
    let [top, bottom] = [0.0, 100.0 * (1.0 - scale.foot())].map(percent);
    let content = html! {
        (axes(&scale.marks(), &scale.marks()))
        line.diagonal x1=(low) y1=(bottom) x2=(high) y2=(top) {}
        @for (removal, across, up) in places {
            circle.one.removal cx=(percent(100.0 * across)) cy=(percent(100.0 * (1.0 - up))) r="3.5" {
                title { (told(groups, removal)) }
            }
        }
    };
    html! {
        figure.chart {
            figcaption { span.title { (kind.name()) } span.below { (number) (rho) } }
            div.plot.square { (named(&format!("removals-{kind:?}").to_lowercase(), kind.name(), &description, content)) }
        }
    }
}

fn told(groups: &[ScoredGroup], removal: &Removal) -> String {
    let what = match (removal.kind, removal.units.first().and_then(|&unit| find(groups, unit))) {
        (Kind::Unit, Some((group, unit))) => format!("{} {unit} of {}", group.kind, group.name),
        (Kind::Group, Some((group, _))) => format!("{} units of {}", count(removal.units.len()), group.name),
        _ => format!("{} units", count(removal.units.len())),
    };
    format!(
        "{what}\npredicted {}, true {}",
        significant(removal.predicted, 3),
        significant(removal.change, 3)
    )
}

/// The group of a unit that is numbered through all groups, and its number there.
fn find(groups: &[ScoredGroup], unit: usize) -> Option<(&ScoredGroup, usize)> {
    let mut first = 0;
    groups.iter().find_map(|group| {
        let own = unit.checked_sub(first).filter(|own| *own < group.scores.len());
        first += group.scores.len();
        own.map(|own| (group, own))
    })
}

/// Scores by kinds of removals.
fn correlations(verification: &Verification) -> Markup {
    let all = &verification.correlations;
    // The kinds that come last have all scores, in their order.
    let mut scores: Vec<&str> = Vec::new();
    for correlation in all.iter().rev() {
        if !scores.contains(&correlation.score.as_str()) {
            scores.insert(0, &correlation.score);
        }
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| all.iter().any(|c| c.kind == *kind)).collect();
    let labelled = all.iter().any(|c| c.loss.is_some());
    let of = |score: &str, kind: Kind| all.iter().find(|c| c.score == score && c.kind == kind);
    let text = |rho: Option<f64>| {
        rho.filter(|rho| rho.is_finite()).map_or("–".into(), |rho| format!("{rho:.3}").replace('-', "−"))
    };
    let outputs = |score: &str, kind| text(of(score, kind).map(|c| c.outputs));
    let loss = |score: &str, kind| text(of(score, kind).and_then(|c| c.loss));
    html! {
        div.wide tabindex="0" role="region" aria-label="Rank correlations" {
            table.correlations {
                caption { "Spearman's rank correlation of scores with the change that came of removals" }
                thead {
                    @if labelled {
                        tr {
                            td {}
                            th scope="colgroup" colspan=(kinds.len()) { "change of the outputs" }
                            th scope="colgroup" colspan=(kinds.len()) { "change of the labels' loss" }
                        }
                    }
                    tr {
                        th scope="col" { "score" }
                        @for _ in 0..=usize::from(labelled) {
                            @for kind in &kinds { th scope="col" { (kind.name()) } }
                        }
                    }
                }
                tbody {
                    @for score in scores {
                        tr.ours[score == "quadratic"] {
                            th scope="row" { (score) }
                            @for kind in &kinds { td { (outputs(score, *kind)) } }
                            @if labelled { @for kind in &kinds { td { (loss(score, *kind)) } } }
                        }
                    }
                }
            }
        }
        p.small {
            "Of sets, " i { "quadratic" }
            @if labelled { " and " i { "loss" } " predict" } @else { " predicts" }
            " the change as a whole; the other scores are added up over the units."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_in_their_groups() {
        let group = |name: &str, units: usize| ScoredGroup {
            name: name.into(),
            kind: "channel".into(),
            scores: vec![1.0; units],
            standard_errors: vec![None; units],
            removed: vec![],
            implanted: vec![],
        };
        let groups = [group("a", 2), group("none", 0), group("b", 3)];
        let found = |unit| find(&groups, unit).map(|(group, unit)| (group.name.as_str(), unit));
        assert_eq!([0, 1, 2, 4].map(found), [Some(("a", 0)), Some(("a", 1)), Some(("b", 0)), Some(("b", 2))]);
        assert_eq!(found(5), None);
    }
}
