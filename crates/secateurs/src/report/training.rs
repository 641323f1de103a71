//! The course of a training.

use maud::{Markup, html};

use super::chart::{LineChart, Mark, Series, bucket_means, smoothed};
use super::measured::Unit;
use super::scale::Spacing;
use super::{Training, TrainingEvaluation};
use crate::format::{count, significant};

/// Points of a curve at most.
const MOST_POINTS: usize = 600;
/// Fewer steps have no trend to show.
const FEWEST_SMOOTHED: usize = 20;

/// Curves of loss, metric and learning rate over the same axis.
pub fn curves(training: &Training) -> Markup {
    let per_epoch = training.steps_per_epoch.max(1) as f64;
    let last = training.steps.iter().map(|s| s.step).chain(training.evaluations.iter().map(|e| e.step)).max();
    let axis = Axis {
        per_epoch,
        end: training.epochs.max(1).min((last.unwrap_or(0) as f64 / per_epoch).ceil() as u64).max(1) as f64,
        marks: marks(training, per_epoch),
    };
    html! {
        p { (course(training, last.unwrap_or(0))) }
        @if !training.steps.is_empty() { (loss(training, &axis)) }
        @if !training.evaluations.is_empty() { (metric(training, &axis)) }
        @if !training.steps.is_empty() { (learning_rate(training, &axis)) }
        @if !training.rollbacks.is_empty() {
            ul.rollbacks {
                @for rollback in &training.rollbacks {
                    li { "Rollback at step " (count(rollback.step)) ": " (rollback.reason) "." }
                }
            }
        }
    }
}

/// What the charts have in common.
struct Axis<'a> {
    /// Steps in an epoch.
    per_epoch: f64,
    /// Its end, in epochs.
    end: f64,
    marks: Vec<Mark<'a>>,
}

impl Axis<'_> {
    fn epochs(&self, step: u64) -> f64 {
        step as f64 / self.per_epoch
    }

    fn chart<'a>(&'a self, id: &'a str, title: &'a str, series: Vec<Series<'a>>) -> LineChart<'a> {
        LineChart {
            id,
            title,
            description: describe(&series),
            x_label: "epoch",
            x_range: [0.0, self.end],
            spacing: Spacing::Linear,
            series,
            marks: self.marks.iter().map(|m| Mark { text: m.text.clone(), ..*m }).collect(),
            height: 13.0,
        }
    }
}

fn course(training: &Training, steps: u64) -> String {
    let epochs = steps as f64 / training.steps_per_epoch.max(1) as f64;
    let mut text = format!(
        "{} steps, {} an epoch: {} of {} epochs.",
        count(steps),
        count(training.steps_per_epoch),
        // One decimal, if it is not 0.
        (10.0 * epochs).round() / 10.0,
        count(training.epochs)
    );
    if let Some(reason) = &training.stopped {
        text += &format!(" Stopped early: {reason}.");
    }
    match &training.chosen {
        Some(chosen) => {
            let weights = if chosen.averaged { "the moving average of the weights" } else { "the weights" };
            let value = training.evaluations.iter().rfind(|e| e.step == chosen.step);
            let value = value.and_then(|e| if chosen.averaged { e.averaged } else { e.weights });
            let value = value.map_or(String::new(), |v| {
                format!(
                    ", where the {} was {}",
                    training.metric.name(),
                    training.metric.unit().texts(v, None).0
                )
            });
            text += &format!(
                " The result is {weights} after step {}{value} on the validation split.",
                count(chosen.step)
            );
        }
        None => text += " The result is the last state.",
    }
    text
}

fn marks(training: &Training, per_epoch: f64) -> Vec<Mark<'_>> {
    let rollbacks = training.rollbacks.iter().map(|rollback| Mark {
        name: "rollback",
        class: "bad",
        x: rollback.step as f64 / per_epoch,
        y: None,
        text: format!("rollback at step {}: {}", count(rollback.step), rollback.reason),
    });
    let chosen = training.chosen.iter().map(|chosen| Mark {
        name: "chosen",
        class: "chosen",
        x: chosen.step as f64 / per_epoch,
        y: None,
        text: format!("chosen: step {}", count(chosen.step)),
    });
    rollbacks.chain(chosen).collect()
}

fn loss(training: &Training, axis: &Axis) -> Markup {
    let points: Vec<(f64, f64)> = training.steps.iter().map(|s| (axis.epochs(s.step), s.loss)).collect();
    let raw = bucket_means(&points, MOST_POINTS);
    let together = points.len().div_ceil(raw.len());
    let name = if together > 1 { format!("mean of {together} steps") } else { "step".to_owned() };
    let mut series = vec![];
    let smooth = smoothed(&raw, raw.len() / 60);
    match raw.len() < FEWEST_SMOOTHED {
        true => series.push(Series { name: &name, class: "one", points: raw }),
        false => {
            series.push(Series { name: &name, class: "faint", points: raw });
            series.push(Series { name: "smoothed", class: "one", points: smooth });
        }
    }
    let finite = || points.iter().map(|p| p.1).filter(|y| y.is_finite());
    let (low, high) = finite().fold((f64::MAX, f64::MIN), |(l, h), y| (y.min(l), y.max(h)));
    // Where the late part of the curve would lie flat on the axis.
    let spacing = if low > 0.0 && high > 8.0 * low { Spacing::Logarithmic } else { Spacing::Linear };
    let unit = if training.metric.unit() == Unit::Number { "" } else { ", nats" };
    let scale = if spacing == Spacing::Logarithmic { " (logarithmic)" } else { "" };
    LineChart { spacing, ..axis.chart("loss", &format!("training loss{unit}{scale}"), series) }.figure()
}

fn metric(training: &Training, axis: &Axis) -> Markup {
    let unit = training.metric.unit();
    let (scale, unit) = match unit {
        Unit::Share => (100.0, ", %"),
        Unit::Nats => (1.0, ", nats"),
        _ => (1.0, ""),
    };
    let points = |get: fn(&TrainingEvaluation) -> Option<f64>| -> Vec<(f64, f64)> {
        let evaluations = training.evaluations.iter();
        evaluations.filter_map(|e| Some((axis.epochs(e.step), scale * get(e)?))).collect()
    };
    let weights = points(|e| e.weights);
    let averaged = points(|e| e.averaged);
    let series = [("weights", "two", weights), ("averaged weights", "one", averaged)];
    let series = series.into_iter().filter(|(_, _, points)| !points.is_empty());
    let series = series.map(|(name, class, points)| Series { name, class, points }).collect();
    let title = format!("{} on the validation split{unit}", training.metric.name());
    axis.chart("metric", &title, series).figure()
}

fn learning_rate(training: &Training, axis: &Axis) -> Markup {
    let points: Vec<(f64, f64)> =
        training.steps.iter().map(|s| (axis.epochs(s.step), s.learning_rate)).collect();
    let series =
        vec![Series { name: "learning rate", class: "one", points: bucket_means(&points, MOST_POINTS) }];
    LineChart { height: 6.0, ..axis.chart("learning-rate", "learning rate", series) }.figure()
}

/// From where to where every line goes.
fn describe(series: &[Series]) -> String {
    let line = |s: &Series| {
        let mut finite = s.points.iter().filter(|p| p.1.is_finite());
        let (first, last) = (finite.next()?, s.points.iter().rfind(|p| p.1.is_finite())?);
        let values = || s.points.iter().map(|p| p.1).filter(|y| y.is_finite());
        let (low, high) = values().fold((f64::MAX, f64::MIN), |(l, h), y| (y.min(l), y.max(h)));
        let [first, last, low, high] = [first.1, last.1, low, high].map(|v| significant(v, 3));
        Some(format!("{}: from {first} to {last}, between {low} and {high}.", s.name))
    };
    let lines: Vec<String> = series.iter().filter_map(line).collect();
    if lines.is_empty() { "No values.".to_owned() } else { lines.join(" ") }
}
