//! The sorted scores of every group, with error bars.

use maud::{Markup, html};

use super::ScoredGroup;
use crate::format::{count, significant};
use crate::report::Fate;
use crate::report::chart::{Symbol, axes, legend, named, percent};
use crate::report::floored::FlooredScale;
use crate::report::layers::breakable;

/// Units that a chart shows at most; of more, as many spread evenly over the ranking.
const MOST_UNITS: usize = 96;
/// Units that all charts show at most, so that the page of a large model stays small; every chart shows some.
const MOST_OF_ALL: usize = 4000;
const FEWEST_UNITS: usize = 24;

/// Charts that are large; of more, all are small.
const MOST_LARGE: usize = 36;

impl Fate {
    fn of(group: &ScoredGroup, unit: usize) -> Fate {
        match (group.removed.binary_search(&unit), group.implanted.binary_search(&unit)) {
            (Ok(_), _) => Fate::Pruned,
            (_, Ok(_)) => Fate::Implanted,
            _ => Fate::Kept,
        }
    }
}

/// A chart a group, all with the same axis.
pub fn charts(groups: &[ScoredGroup]) -> Markup {
    let ends = |group: &ScoredGroup| -> Vec<f64> {
        let errors = group.standard_errors.iter().map(|e| e.unwrap_or(0.0));
        group.scores.iter().zip(errors).flat_map(|(score, e)| [*score, score + 2.0 * e]).collect()
    };
    let scale = FlooredScale::covering(groups.iter().flat_map(ends), 4);
    let most = (MOST_OF_ALL / groups.len().max(1)).clamp(FEWEST_UNITS, MOST_UNITS);
    let implanted = groups.iter().any(|group| !group.implanted.is_empty());
    let chosen = implanted || groups.iter().any(|group| !group.removed.is_empty());
    let fates = Fate::ALL.into_iter().filter(|fate| implanted || *fate != Fate::Implanted);
    let fates: Vec<_> = fates.map(|fate| (fate.name(), fate.name(), Symbol::Dot)).collect();
    let thinned = groups.iter().any(|group| group.scores.len() > most);
    html! {
        p {
            "The units of each layer from the lowest score to the highest, on a logarithmic axis that is the same for all. Bars reach two \
             standard errors to each side."
            @if thinned { " Of layers with more than " (most) " units, as many are shown, spread evenly over the ranking." }
        }
        @if chosen { p { (legend(&fates)) } }
        div.multiples.many[groups.len() > MOST_LARGE] {
            @for (number, group) in groups.iter().enumerate() { (chart(number, group, &scale, most)) }
        }
    }
}

/// A unit in its chart.
struct Point {
    /// Its number in the group.
    unit: usize,
    /// Its rank, from 0.
    rank: usize,
    /// Its place from 0 to 1, and those of the ends of its bar, upwards.
    up: [f64; 3],
    fate: Fate,
}

fn points(group: &ScoredGroup, scale: &FlooredScale, most: usize) -> Vec<Point> {
    let ranked = group.ranked();
    let point = |rank: usize| {
        let unit = ranked[rank];
        let score = group.scores[unit];
        let error = group.standard_errors[unit].unwrap_or(0.0);
        // A bar that reaches below the axis ends where the axis does.
        let place = |value: f64| match scale.share(value) {
            Some(_) => scale.place(value),
            None => Some(scale.foot().min(scale.place(score)?)),
        };
        let up = [place(score)?, place(score - 2.0 * error)?, place(score + 2.0 * error)?];
        Some(Point { unit, rank, up, fate: Fate::of(group, unit) })
    };
    spread(ranked.len(), most).filter_map(point).collect()
}

/// All places of so many, or `most` of them, the first and the last among them.
fn spread(of: usize, most: usize) -> impl Iterator<Item = usize> {
    let shown = of.min(most.max(2));
    (0..shown).map(move |i| if shown < 2 { i } else { (i * (of - 1) + (shown - 1) / 2) / (shown - 1) })
}

fn chart(number: usize, group: &ScoredGroup, scale: &FlooredScale, most: usize) -> Markup {
    let points = points(group, scale, most);
    let width = 1.0 / group.scores.len().max(1) as f64;
    let across = |point: &Point| (point.rank as f64 + 0.5) * width;
    // The ranks of the first unit and the last.
    let mut ranks = vec![(0.5 * width, "1".to_owned())];
    if group.scores.len() > 1 {
        ranks.push((1.0 - 0.5 * width, count(group.scores.len())));
    }
    let content = html! {
        (axes(&ranks, &scale.marks()))
        svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none" {
            @for fate in Fate::ALL {
                @let places: Vec<_> = points.iter().filter(|p| p.fate == fate).map(|p| (across(p), p.up)).collect();
                @if !places.is_empty() {
                    path.bars-of.(fate.name()) d=(bars(&places)) {}
                    path.dots.(fate.name()) d=(dots(&places)) {}
                }
            }
        }
        @for (i, point) in points.iter().enumerate() {
            @let from = if i == 0 { 0.0 } else { 0.5 * (across(&points[i - 1]) + across(point)) };
            @let to = points.get(i + 1).map_or(1.0, |next| 0.5 * (across(next) + across(point)));
            rect.strip x=(percent(100.0 * from)) width=(percent(100.0 * (to - from))) y="0" height="100%" {
                title { (told(group, point)) }
            }
        }
    };
    html! {
        figure.chart {
            figcaption {
                span.title { (breakable(&group.name)) }
                span.below { (group.units_text()) (fates(group)) }
            }
            div.plot {
                (named(&format!("units-{number}"), &group.name, &description(group), content))
            }
        }
    }
}

/// As in `, 12 pruned, 3 implanted`.
fn fates(group: &ScoredGroup) -> String {
    let fates = [(group.removed.len(), Fate::Pruned), (group.implanted.len(), Fate::Implanted)];
    let some = fates.iter().filter(|(units, _)| *units > 0);
    some.map(|(units, fate)| format!(", {} {}", count(*units), fate.name())).collect()
}

fn description(group: &ScoredGroup) -> String {
    let extent = group.extent().map_or(String::new(), |[lowest, median, highest]| {
        format!(": lowest score {lowest}, median {median}, highest {highest}")
    });
    let dead = group.scores.iter().filter(|score| **score == 0.0).count();
    let dead = if dead > 0 { format!(", {} of them 0", count(dead)) } else { String::new() };
    format!("{}{}{extent}{dead}.", group.units_text(), fates(group))
}

fn told(group: &ScoredGroup, point: &Point) -> String {
    let error = group.standard_errors[point.unit]
        .map_or(String::new(), |e| format!(" ± {}", significant(2.0 * e, 2)));
    let fate = match point.fate {
        Fate::Kept => String::new(),
        fate => format!(", {}", fate.name()),
    };
    format!(
        "{} {}, rank {} of {}\n{}{error}{fate}",
        group.kind,
        point.unit,
        count(point.rank + 1),
        count(group.scores.len()),
        significant(group.scores[point.unit], 3)
    )
}

/// Upright lines in a square of 1000.
fn bars(places: &[(f64, [f64; 3])]) -> String {
    let bar = |(x, [_, low, high]): &(f64, [f64; 3])| {
        format!("M{:.1} {:.1}V{:.1}", 1000.0 * x, 1000.0 * (1.0 - low), 1000.0 * (1.0 - high))
    };
    places.iter().map(bar).collect()
}

/// Lines of next to no length, whose round ends are dots.
fn dots(places: &[(f64, [f64; 3])]) -> String {
    places.iter().map(|(x, [up, ..])| format!("M{:.1} {:.1}h.01", 1000.0 * x, 1000.0 * (1.0 - up))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(scores: &[f64], errors: &[f64]) -> ScoredGroup {
        ScoredGroup {
            name: "w[0]".into(),
            kind: "channel".into(),
            scores: scores.to_vec(),
            standard_errors: errors.iter().map(|e| Some(*e)).collect(),
            removed: vec![1],
            implanted: vec![2],
        }
    }

    #[test]
    fn bars_reach_two_standard_errors_and_end_with_the_axis() {
        let group = group(&[10.0, 1.0, 0.0], &[2.0, 1.0, 0.0]);
        let scale = FlooredScale::covering([0.0, 1.0, 100.0], 2);
        let points = points(&group, &scale, 96);
        assert_eq!(
            points.iter().map(|p| (p.unit, p.fate)).collect::<Vec<_>>(),
            [(2, Fate::Implanted), (1, Fate::Pruned), (0, Fate::Kept)]
        );
        let place = |value: f64| scale.place(value).unwrap();
        assert_eq!(points[2].up, [10.0, 6.0, 14.0].map(place));
        // From 1 two errors down is below 0: the bar ends where the foot begins.
        assert_eq!(points[1].up, [place(1.0), scale.foot(), place(3.0)]);
        assert_eq!(points[0].up, [place(0.0); 3]);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_spread_over_all(of in 0_usize..5000, most in 2_usize..100) {
            let shown: Vec<usize> = spread(of, most).collect();
            prop_assert_eq!(shown.len(), of.min(most));
            prop_assert!(shown.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(of == 0 || (shown[0] == 0 && shown[shown.len() - 1] == of - 1));
        }

        #[test]
        fn any_scores_make_charts(
            units in prop::collection::vec((any::<f64>(), any::<f64>()), 0..6),
        ) {
            let (scores, errors): (Vec<f64>, Vec<f64>) = units.into_iter().unzip();
            let html = charts(&[group(&scores, &errors), group(&[], &[])]).into_string();
            let places = html.split('"').filter(|part| part.ends_with('%') || part.starts_with('M'));
            for place in places {
                prop_assert!(!place.contains("NaN") && !place.contains("inf"), "{place}");
            }
        }
    }
}
