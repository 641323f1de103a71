//! What smaller models cost and are predicted to change, with the one that was chosen.

use maud::{Markup, html};

use super::chart::{LineChart, Mark, Series};
use super::scale::Spacing;
use super::{Frontier, FrontierPoint};
use crate::format::significant;

/// The chart, and how it is read.
pub fn section(frontier: &Frontier) -> Markup {
    let parts =
        if frontier.parts.is_empty() { String::new() } else { format!(" of {}", frontier.parts.join(", ")) };
    let what = format!("{}{parts}", resource(&frontier.resource));
    let points = |points: &[FrontierPoint]| -> Vec<(f64, f64)> {
        points.iter().map(|point| (100.0 * point.kept, point.change)).collect()
    };
    let steps = frontier.predicted.len() > 1;
    let mut series: Vec<Series> = frontier
        .predicted
        .iter()
        .map(|line| Series {
            name: if steps { &line.name } else { "predicted" },
            class: "one",
            points: points(&line.points),
        })
        .collect();
    if !frontier.measured.is_empty() {
        series.push(Series { name: "measured", class: "two", points: points(&frontier.measured) });
    }
    let FrontierPoint { kept, change } = frontier.chosen;
    let chosen = format!(
        "chosen: {} % of {what} kept, {} predicted",
        significant(100.0 * kept, 3),
        significant(change, 3)
    );
    let title = format!("change of the outputs (logarithmic), by % of {what} kept");
    let chart = LineChart {
        id: "frontier-chart",
        title: &title,
        description: format!("The smaller, the larger the change; {chosen}."),
        x_label: "% kept",
        x_range: [100.0 * kept, 100.0],
        spacing: Spacing::Logarithmic,
        series,
        marks: vec![Mark {
            name: "chosen",
            class: "chosen",
            x: 100.0 * kept,
            y: Some(change),
            text: chosen.clone(),
        }],
        height: 15.0,
    };
    html! {
        p {
            "What a smaller model is predicted to change, along the order in which units go: the KL divergence of its outputs in nats, and for outputs \
             that are numbers the mean squared error, of several the sum by their weights. Where layers are fitted afterwards, the units that stay take over what they can. Where 64 samples or more \
             were measured, predictions come from some that did not choose. "
            @if steps { "Units were measured anew for every step; the changes of steps are added up. " }
            @if !frontier.measured.is_empty() {
                "Measured are models that were made and compensated, on the validation split before any training."
            }
        }
        (chart.figure())
        p.small { (sentence(&chosen)) }
    }
}

/// With a capital, and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// What a resource is called.
fn resource(name: &str) -> &str {
    match name {
        "params" => "parameters",
        "macs" => "MACs",
        name => name,
    }
}
