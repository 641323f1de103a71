//! The scores of all groups beside each other, as a heat map.

use maud::{Markup, html};

use super::ScoredGroup;
use crate::format::count;
use crate::report::chart::{axes, named, percent};
use crate::report::floored::FlooredScale;
use crate::report::layers::breakable;

/// Cells of a row; of more units, each is a quantile.
const COLUMNS: usize = 48;
/// Rows that are shown at once; more scroll.
const MOST_ROWS: usize = 40;
/// Shades that are told apart.
const SHADES: usize = 32;

/// A row a group: its units from the lowest score to the highest, shaded by score.
pub fn map(groups: &[ScoredGroup]) -> Markup {
    let scale = FlooredScale::covering(groups.iter().flat_map(|group| group.scores.iter().copied()), 5);
    let widths = || groups.iter().map(|group| group.scores.len());
    let (least, most) = (widths().min().unwrap_or(0), widths().max().unwrap_or(0));
    // Rows of one length, where that hides no layer's shape.
    let columns = (most <= COLUMNS && most <= 2 * least).then_some(most);
    html! {
        p {
            "The units of each layer from the lowest score, at the left, to the highest. "
            @match columns {
                Some(_) => "A cell is a unit.",
                None => "Layers of any width are as long, so that places are quantiles of their scores.",
            }
        }
        (ramp(&scale))
        div.wide.scroll[groups.len() > MOST_ROWS] tabindex="0" role="region" aria-label="Scores of all layers" {
            table.layers.heat {
                caption { "Scores of all layers" }
                thead {
                    tr {
                        th scope="col" { "layer" }
                        th.text.more scope="col" { "units" }
                        th scope="col" { span.hidden { "scores" } }
                        th.more scope="col" { "lowest" }
                        th scope="col" { "median" }
                        th.more scope="col" { "highest" }
                    }
                }
                tbody { @for group in groups { (row(group, &scale, columns)) } }
            }
        }
    }
}

fn row(group: &ScoredGroup, scale: &FlooredScale, columns: Option<usize>) -> Markup {
    let cells = cells(group);
    let width = 1.0 / columns.unwrap_or(cells.len()).max(1) as f64;
    let [lowest, median, highest] = group.extent().unwrap_or_else(|| ["–", "–", "–"].map(str::to_owned));
    html! {
        tr {
            th scope="row" { (breakable(&group.name)) }
            td.text.more { (group.units_text()) }
            td.cells {
                svg width="100%" height="100%" aria-hidden="true" {
                    title { (group.name) ": from " (lowest) " to " (highest) }
                    @for (from, shade) in runs(&cells, scale) { (cell(from as f64 * width, cells.len() as f64 * width, shade)) }
                }
            }
            td.more { (lowest) }
            td { (median) }
            td.more { (highest) }
        }
    }
}

/// The scores of the units from lowest to highest, or as many quantiles of them.
fn cells(group: &ScoredGroup) -> Vec<f64> {
    let ranked = group.ranked();
    let shown = ranked.len().min(COLUMNS);
    (0..shown).map(|column| group.scores[ranked[(2 * column + 1) * ranked.len() / (2 * shown)]]).collect()
}

/// Neighbours of one shade: the first cell, and the shade; `None` for what is too low to have one.
fn runs(cells: &[f64], scale: &FlooredScale) -> Vec<(usize, Option<usize>)> {
    let shade =
        |score: f64| scale.share(score).map(|share| ((share * SHADES as f64) as usize).min(SHADES - 1));
    let mut runs: Vec<(usize, Option<usize>)> = cells.iter().map(|&score| shade(score)).enumerate().collect();
    runs.dedup_by_key(|(_, shade)| *shade);
    runs
}

/// A rectangle from a place of the width to the end, on which the next one is laid: beside each other they would show seams.
fn cell(from: f64, end: f64, shade: Option<usize>) -> Markup {
    // How much of the ramp's upper colour is in it.
    let heat = shade.map_or(0.0, |shade| 100.0 * shade as f64 / (SHADES - 1) as f64);
    html! {
        rect.cell.dead[shade.is_none()] x=(percent(100.0 * from)) width=(percent(100.0 * (end - from))) y="0" height="100%"
            style={ "--heat:" (format!("{heat:.0}%")) } {}
    }
}

/// What the shades mean.
fn ramp(scale: &FlooredScale) -> Markup {
    let foot = scale.foot();
    let place = |shade: usize| foot + (1.0 - foot) * shade as f64 / SHADES as f64;
    let marks = scale.marks();
    let ends =
        marks.first().zip(marks.last()).map_or(String::new(), |(a, b)| format!("from {} to {}", a.1, b.1));
    let content = html! {
        @if foot > 0.0 { (cell(0.0, 1.0, None)) }
        @for shade in 0..SHADES { (cell(place(shade), 1.0, Some(shade))) }
        (axes(&marks, &[]))
    };
    html! {
        figure.chart.ramp {
            figcaption { span.title { "score" } }
            div.plot style="height:.75rem" {
                (named("ramp", "shades of scores", &format!("{ends}, in {} shades", count(SHADES)), content))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(scores: Vec<f64>) -> ScoredGroup {
        let standard_errors = vec![None; scores.len()];
        ScoredGroup {
            name: "w[0]".into(),
            kind: "channel".into(),
            scores,
            standard_errors,
            removed: vec![],
            implanted: vec![],
        }
    }

    #[test]
    fn wide_layers_become_quantiles_and_narrow_ones_stay() {
        let wide = group((0..480).rev().map(f64::from).collect());
        let cells_of_wide = cells(&wide);
        assert_eq!((cells_of_wide.len(), cells_of_wide[0], cells_of_wide[47]), (48, 5.0, 475.0));
        assert_eq!(cells(&group(vec![3.0, 1.0, 2.0])), [1.0, 2.0, 3.0]);
        assert!(cells(&group(vec![])).is_empty());
    }

    #[test]
    fn neighbours_of_one_shade_are_one_rectangle() {
        let scale = FlooredScale::covering([0.0, 1.0, 100.0], 2);
        let runs = runs(&[0.0, 0.0, 1.0, 1.001, 100.0], &scale);
        assert_eq!(runs, [(0, None), (2, Some(0)), (4, Some(SHADES - 1))]);
    }

    #[test]
    fn rows_are_as_long_as_their_layers_are_wide_only_where_these_are_much_alike() {
        let width = |of: &[usize]| {
            let groups: Vec<ScoredGroup> =
                of.iter().map(|n| group((1..=*n).map(|i| 10_f64.powi(i as i32)).collect())).collect();
            let html = map(&groups).into_string();
            html.matches("A cell is a unit.").count()
        };
        assert_eq!([width(&[4, 8]), width(&[4, 9]), width(&[60, 60])], [1, 0, 0]);
    }
}
