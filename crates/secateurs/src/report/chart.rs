//! Charts as inline SVG.
//!
//! They stretch to any width with letters and strokes as they are: places are percentages, and what SVG knows no
//! percentages for (paths) lies in a nested `svg` whose strokes do not scale.

use maud::{Markup, html};

use super::scale::{Scale, Spacing};
use crate::format::significant;

/// Lines over a common axis.
pub struct LineChart<'a> {
    /// Unique in its page, for the names that link title and description.
    pub id: &'a str,
    /// What it shows, with the unit.
    pub title: &'a str,
    /// The same in a sentence with numbers, for those who cannot see it.
    pub description: String,
    /// What runs from left to right.
    pub x_label: &'a str,
    /// How far it goes at least.
    pub x_range: [f64; 2],
    /// How the upward axis is divided.
    pub spacing: Spacing,
    /// The lines, the lowest first.
    pub series: Vec<Series<'a>>,
    /// Places from left to right.
    pub marks: Vec<Mark<'a>>,
    /// In `rem`.
    pub height: f64,
}

/// A line.
pub struct Series<'a> {
    /// What it is.
    pub name: &'a str,
    /// The class that gives its colour.
    pub class: &'static str,
    /// From left to right and up. It breaks where a value cannot be shown and where it goes back.
    pub points: Vec<(f64, f64)>,
}

/// A place from left to right.
pub struct Mark<'a> {
    /// What is there, in a word.
    pub name: &'a str,
    /// The class that gives its colour.
    pub class: &'static str,
    /// Where.
    pub x: f64,
    /// How high the point there is, where one is meant.
    pub y: Option<f64>,
    /// What is there, in a sentence.
    pub text: String,
}

/// With more points than that a line has no dots.
const MOST_DOTS: usize = 60;
/// Strips that tell their values, at most.
const MOST_STRIPS: usize = 90;

impl LineChart<'_> {
    /// The chart with its title and legend.
    pub fn figure(&self) -> Markup {
        html! {
            figure.chart {
                figcaption {
                    span.title { (self.title) }
                    (self.legend())
                }
                div.plot style={ "height:" (self.height) "rem" } { (self.svg()) }
            }
        }
    }

    /// What the colours mean.
    fn legend(&self) -> Markup {
        let mut marks: Vec<&Mark> = Vec::new();
        for mark in &self.marks {
            if marks.iter().all(|m| m.name != mark.name) {
                marks.push(mark);
            }
        }
        // The title says what a lone line is.
        let series = if self.series.len() > 1 { &self.series[..] } else { &[] };
        let series = series.iter().map(|s| (s.name, s.class, Symbol::Line));
        let marks = marks.into_iter().map(|m| (m.name, m.class, Symbol::Mark));
        legend(&series.chain(marks).collect::<Vec<_>>())
    }

    fn svg(&self) -> Markup {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let marks = self.marks.iter().map(|m| m.x);
        let ends = self.x_range.into_iter().chain(points().map(|p| p.0)).chain(marks);
        let x = Scale::ending_with(ends, Spacing::Linear, 6);
        let heights = points().map(|p| p.1).chain(self.marks.iter().filter_map(|m| m.y));
        let y = Scale::covering(heights, self.spacing, if self.height < 8.0 { 3 } else { 5 });
        let across = |value: f64| x.place(value).map(|p| 100.0 * p);
        let up = |value: f64| y.place(value).map(|p| 100.0 * (1.0 - p));
        let dots = |s: &Series| s.points.len() <= MOST_DOTS;
        let content = html! {
                (axes(&x.marks(), &y.marks()))
                text.y x="-8" y="100%" dy="1.4em" { (self.x_label) }
                @for mark in &self.marks {
                    @if let Some(place) = across(mark.x) {
                        line.mark.(mark.class) x1=(percent(place)) x2=(percent(place)) y1="0" y2="100%" {}
                    }
                }
                svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none" {
                    @for series in &self.series {
                        path.(series.class) d=(path(&series.points, across, up)) {}
                    }
                }
                @for series in self.series.iter().filter(|s| dots(s)) {
                    @for (left, top) in series.points.iter().filter_map(|p| across(p.0).zip(up(p.1))) {
                        circle.(series.class) cx=(percent(left)) cy=(percent(top)) r="2.5" {}
                    }
                }
                @for mark in &self.marks {
                    @if let Some((left, top)) = across(mark.x).zip(mark.y.and_then(up)) {
                        circle.(mark.class) cx=(percent(left)) cy=(percent(top)) r="5" {}
                    }
                }
                (self.strips(&across))
        };
        named(self.id, self.title, &self.description, content)
    }

    /// Strips from top to bottom that say the values there under the pointer.
    fn strips(&self, across: &impl Fn(f64) -> Option<f64>) -> Markup {
        let mut places: Vec<f64> = self.series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
        places.retain(|x| across(*x).is_some());
        places.sort_by(f64::total_cmp);
        places.dedup();
        let stride = places.len().div_ceil(MOST_STRIPS).max(1);
        let places: Vec<f64> = places.into_iter().step_by(stride).collect();
        let left = |i: usize| match i {
            0 => Some(0.0),
            i if i == places.len() => Some(100.0),
            i => across(0.5 * (places[i - 1] + places[i])),
        };
        html! {
            @for (i, &place) in places.iter().enumerate() {
                @if let (Some(from), Some(to)) = (left(i), left(i + 1)) {
                    rect.strip x=(percent(from)) width=(percent(to - from)) y="0" height="100%" {
                        title { (self.values_at(place)) }
                    }
                }
            }
            @for mark in &self.marks {
                @if let Some(place) = across(mark.x) {
                    rect.strip x=(percent(place - 0.5)) width="1%" y="0" height="100%" { title { (mark.text) } }
                }
            }
        }
    }

    fn values_at(&self, x: f64) -> String {
        let mut text = format!("{} {}", self.x_label, significant(x, 4));
        for series in &self.series {
            let distance = |p: &&(f64, f64)| (p.0 - x).abs();
            let nearest = series.points.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            if let Some((_, y)) = nearest {
                text += &format!("\n{}: {}", series.name, significant(*y, 4));
            }
        }
        text
    }
}

/// A drawing that fills its place, with its title and its description for those who cannot see it. `id` is unique in the page.
pub fn named(id: &str, title: &str, description: &str, content: Markup) -> Markup {
    let [title_id, description_id] = ["title", "description"].map(|what| format!("{id}-{what}"));
    html! {
        svg width="100%" height="100%" role="img" aria-labelledby={ (title_id) " " (description_id) } {
            title id=(title_id) { (title) }
            desc id=(description_id) { (description) }
            (content)
        }
    }
}

/// Marks along both axes: their places from 0 to 1, and their texts.
pub fn axes(x: &[(f64, String)], y: &[(f64, String)]) -> Markup {
    html! {
        @for (place, label) in y {
            @let top = percent(100.0 * (1.0 - place));
            line.grid x1="0" x2="100%" y1=(top) y2=(top) {}
            text.y x="-8" y=(top) dy="0.32em" { (label) }
        }
        @for (place, label) in x {
            text.x x=(percent(100.0 * place)) y="100%" dy="1.4em" { (label) }
        }
    }
}

/// What stands for something in a legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A line.
    Line,
    /// A dashed line.
    Mark,
    /// A dot.
    Dot,
    /// A part of a bar.
    Block,
}

/// Names, the classes that give their colours, and what stands for them.
pub fn legend(entries: &[(&str, &str, Symbol)]) -> Markup {
    html! {
        @if !entries.is_empty() {
            span.legend {
                @for (name, class, symbol) in entries {
                    span.entry {
                        svg.(class).mark[*symbol == Symbol::Mark] aria-hidden="true" width="18" height="10" {
                            @match symbol {
                                Symbol::Line => line x1="0" x2="18" y1="5" y2="5" {},
                                Symbol::Mark => line x1="9" x2="9" y1="0" y2="10" {},
                                Symbol::Dot => circle cx="9" cy="5" r="3" {},
                                Symbol::Block => rect.(class) x="3" y="0" width="12" height="10" {},
                            }
                        }
                        (name)
                    }
                }
            }
        }
    }
}

/// A part of a hundred as SVG takes it.
pub fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

/// A path through `points` in a square of 1000, broken where a value cannot be shown and where it goes back.
fn path(
    points: &[(f64, f64)],
    across: impl Fn(f64) -> Option<f64>,
    up: impl Fn(f64) -> Option<f64>,
) -> String {
    let mut path = String::new();
    let mut before: Option<f64> = None;
    for &(x, y) in points {
        let place = across(x).zip(up(y));
        if let Some((left, top)) = place {
            let command = if before.is_some_and(|before| before <= x) { 'L' } else { 'M' };
            path += &format!("{command}{:.1} {:.1}", 10.0 * left, 10.0 * top);
        }
        before = place.map(|_| x);
    }
    path
}

/// Two bars, before and after, of `most`.
pub fn bars([before, after]: [u64; 2], most: u64) -> Markup {
    let width = |n: u64| percent(100.0 * n as f64 / most.max(1) as f64);
    html! {
        svg.bars width="100%" height="14" aria-hidden="true" {
            rect.before width=(width(before)) y="0" height="6" {}
            rect.after width=(width(after)) y="8" height="6" {}
        }
    }
}

/// A bar of parts that make up a whole, each with the class that gives its colour.
pub fn stacked(parts: &[(u64, &str)]) -> Markup {
    let whole = parts.iter().map(|(n, _)| n).sum::<u64>().max(1) as f64;
    let mut before = 0;
    let placed: Vec<(f64, f64, &str)> = parts
        .iter()
        .map(|(n, class)| {
            let from = before;
            before += n;
            (100.0 * from as f64 / whole, 100.0 * *n as f64 / whole, *class)
        })
        .filter(|(_, width, _)| *width > 0.0)
        .collect();
    html! {
        svg.stacked width="100%" height="12" aria-hidden="true" {
            @for (from, width, class) in placed {
                rect.(class) x=(percent(from)) width=(percent(width)) y="0" height="12" {}
            }
        }
    }
}

/// Not more than `most` points: means of as many points each, in their order. Values that are not finite do not count.
pub fn bucket_means(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(most.max(1)).max(1);
    let mean = |bucket: &[(f64, f64)]| {
        let finite: Vec<f64> = bucket.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
        let x = bucket.iter().map(|p| p.0).sum::<f64>() / bucket.len() as f64;
        // Of nothing it is NaN, which is a gap in the line.
        (x, finite.iter().sum::<f64>() / finite.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}

/// Every value replaced by the mean of those up to `reach` places around it that are finite.
pub fn smoothed(points: &[(f64, f64)], reach: usize) -> Vec<(f64, f64)> {
    let around = |i: usize| &points[i.saturating_sub(reach)..(i + reach + 1).min(points.len())];
    let value = |i: usize| bucket_means(around(i), 1).first().map_or(f64::NAN, |p| p.1);
    points.iter().enumerate().map(|(i, p)| (p.0, value(i))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chart(series: &[&[(f64, f64)]], spacing: Spacing) -> String {
        let series =
            series.iter().map(|points| Series { name: "<a>", class: "one", points: points.to_vec() });
        let chart = LineChart {
            id: "c",
            title: "loss",
            description: "falls".into(),
            x_label: "epoch",
            x_range: [0.0, 1.0],
            spacing,
            series: series.collect(),
            marks: vec![Mark { name: "rollback", class: "bad", x: 0.5, y: None, text: "at 0.5".into() }],
            height: 12.0,
        };
        chart.figure().into_string()
    }

    #[test]
    fn lines_break_at_gaps_and_where_they_go_back() {
        let points = [(0.0, 1.0), (1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0), (1.0, 1.0), (2.0, 0.0)];
        let scale = Scale::covering([0.0, 10.0], Spacing::Linear, 5);
        let place = |v: f64| scale.place(v).map(|p| 100.0 * p);
        assert_eq!(path(&points, place, place), "M0.0 100.0L100.0 0.0M300.0 100.0M100.0 100.0L200.0 0.0");
    }

    #[test]
    fn buckets_are_means_and_keep_order() {
        let points: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i), f64::from(i * i))).collect();
        assert_eq!(bucket_means(&points, 5), [(0.5, 0.5), (2.5, 6.5), (4.5, 20.5), (6.5, 42.5), (8.5, 72.5)]);
        assert_eq!(bucket_means(&points, 100), points);
        assert_eq!(bucket_means(&[(0.0, 1.0), (1.0, f64::NAN)], 1), [(0.5, 1.0)]);
        assert!(bucket_means(&[(0.0, f64::NAN)], 1)[0].1.is_nan());
        assert_eq!(bucket_means(&[], 5), []);
    }

    #[test]
    fn smoothing_keeps_a_straight_line() {
        let points: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert_eq!(smoothed(&points, 2)[2..7], points[2..7]);
        assert_eq!(smoothed(&points, 0), points);
    }

    #[test]
    fn names_are_escaped_and_a_description_is_there() {
        let html = chart(&[&[(0.0, 1.0), (1.0, 0.5)]], Spacing::Linear);
        assert!(html.contains("&lt;a&gt;") && !html.contains("<a>"));
        assert!(html.contains(r#"aria-labelledby="c-title c-description""#));
        assert!(html.contains(r#"<desc id="c-description">falls</desc>"#));
    }

    proptest! {
        #[test]
        fn any_values_make_a_chart(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..6),
            logarithmic in any::<bool>(),
        ) {
            let spacing = if logarithmic { Spacing::Logarithmic } else { Spacing::Linear };
            let html = chart(&[&points, &[]], spacing);
            let places = html.split('"').filter(|part| part.ends_with('%') || part.starts_with('M'));
            for place in places {
                prop_assert!(!place.contains("NaN") && !place.contains("inf"), "{place}");
            }
        }

        #[test]
        fn means_stay_within_and_are_few(values in prop::collection::vec(-1e6..1e6, 1..500), most in 1_usize..50) {
            let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect();
            let means = bucket_means(&points, most);
            prop_assert!(!means.is_empty() && means.len() <= most);
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (v.min(l), v.max(h)));
            prop_assert!(means.iter().all(|m| m.1 >= low - 1e-6 && m.1 <= high + 1e-6));
            prop_assert!(means.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
