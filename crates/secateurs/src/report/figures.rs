//! The table of figures before and after, and the sentence that sums it up.

use maud::{Markup, html};

use super::measured::{Change, Measured, Metric, Quality, Unit};
use super::{Count, Figures, Report};
use crate::format::{bytes, count, error_decimals, short_count, significant};
use crate::runtime::Timing;

/// A value, and below it what says how sure it is.
struct Cell {
    value: String,
    below: Option<String>,
}

impl Cell {
    fn new(value: impl Into<String>) -> Cell {
        Cell { value: value.into(), below: None }
    }
}

/// Figures taken under the same conditions.
struct Group {
    name: &'static str,
    conditions: String,
    rows: Vec<Row>,
}

/// A figure of every model.
struct Row {
    name: String,
    cells: Vec<Option<Cell>>,
    change: Option<Cell>,
}

/// The columns: names and figures.
fn models(report: &Report) -> Vec<(&'static str, &Figures)> {
    match &report.pruned {
        Some(pruned) => {
            vec![("original", &report.original), ("pruned, not tuned", pruned), ("result", &report.result)]
        }
        None => vec![("before", &report.original), ("after", &report.result)],
    }
}

/// What was done, in a sentence: `312,218 → 156,043 parameters (50.0 %), …`.
pub fn summary(report: &Report) -> String {
    let (before, after) = (&report.original, &report.result);
    let mut parts = vec![match before.parameters == after.parameters {
        true => format!("{} parameters as before", count(after.parameters)),
        false => format!(
            "{} → {} parameters ({})",
            count(before.parameters),
            count(after.parameters),
            percent(after.parameters as f64 / before.parameters.max(1) as f64)
        ),
    }];
    parts.extend(quality_summary(report));
    if let (Some(before), Some(after), Some(conditions)) =
        (before.latency.first(), after.latency.first(), &report.latency)
    {
        let ms = |timing: &Timing| significant(timing.median_ms, 3);
        let batch = conditions.batches.first().map_or(String::new(), |b| format!(" at batch {}", b.batch));
        let overlap = if overlap(before, after) { " (the spreads overlap)" } else { "" };
        parts.push(format!("{} → {} ms{batch}{overlap}", ms(before), ms(after)));
    }
    parts.join(", ")
}

/// The first of the metrics that there is, on test data rather than on the validation split.
fn quality_summary(report: &Report) -> Option<String> {
    type Pick = fn(&Figures) -> Option<&Quality>;
    let places: [(&str, Pick); 2] =
        [("the test set", |f| f.test.as_ref()), ("the validation split", |f| f.validation.as_ref())];
    places.into_iter().find_map(|(place, quality)| {
        let after = quality(&report.result)?;
        let metric =
            [Metric::Accuracy, Metric::Agreement].into_iter().find(|m| after.metrics.contains_key(m))?;
        let new = after.metrics.get(&metric)?;
        let old = quality(&report.original).and_then(|q| q.metrics.get(&metric));
        let values = match old {
            Some(old) => format!("{:.1} → {}", 100.0 * old.value, percent(new.value)),
            None => percent(new.value),
        };
        let noise = match old.and_then(|old| new.change_from(old).within_noise()) {
            Some(true) => " (within noise)",
            _ => "",
        };
        Some(format!("{} {values}{noise} on {place}", metric.name()))
    })
}

/// The table.
pub fn table(report: &Report) -> Markup {
    let models = models(report);
    let columns = models.len() + 1;
    let groups = groups(report, &models.iter().map(|(_, figures)| *figures).collect::<Vec<_>>());
    // The roles say what narrow screens, which lay the rows out anew, would forget.
    html! {
        table.figures role="table" style={ "--columns:" (columns) } {
            caption { "Figures of the model before and after" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { span.hidden { "figure" } }
                    @for (name, _) in &models { th role="columnheader" scope="col" { (name) } }
                    th role="columnheader" scope="col" { "change" }
                }
            }
            @for group in &groups {
                tbody role="rowgroup" {
                    tr.group role="row" {
                        th role="rowheader" scope="rowgroup" colspan=(columns + 1) {
                            (group.name) span.conditions { (group.conditions) }
                        }
                    }
                    @for row in &group.rows {
                        tr role="row" {
                            th role="rowheader" scope="row" { (row.name) }
                            @for value in &row.cells { td role="cell" { (cell(value)) } }
                            td role="cell" { (cell(&row.change)) }
                        }
                    }
                }
            }
        }
        p.small {
            "± is a standard error. A change is called noise where it is within two standard errors of the difference"
            @if report.latency.is_some() { "; the spread of a latency is from its 10th to its 90th percentile" }
            "."
        }
    }
}

fn cell(cell: &Option<Cell>) -> Markup {
    html! {
        @match cell {
            Some(Cell { value, below }) => {
                (value)
                @if let Some(below) = below { span.below { (below) } }
            }
            None => span.none { "–" },
        }
    }
}

fn groups(report: &Report, models: &[&Figures]) -> Vec<Group> {
    let sizes: Vec<String> = report.sizes.iter().map(|(name, n)| format!("{name}={n}")).collect();
    let size = Group {
        name: "Size",
        conditions: if sizes.is_empty() { String::new() } else { format!("MACs at {}", sizes.join(", ")) },
        rows: vec![
            count_row("parameters", models, |f| Some(f.parameters)),
            macs_row(models),
            Row {
                name: "file".into(),
                cells: models.iter().map(|f| f.file_bytes.map(|n| Cell::new(bytes(n)))).collect(),
                change: change_of_count(models, |f| f.file_bytes),
            },
            count_row("units", models, |f| f.units),
        ],
    };
    let mut groups = vec![
        quality_group("Test set", models, |f| f.test.as_ref()),
        quality_group("Validation split", models, |f| f.validation.as_ref()),
        size,
        Group {
            name: "Latency",
            conditions: latency_conditions(report, models),
            rows: report
                .latency
                .iter()
                .flat_map(|conditions| &conditions.batches)
                .enumerate()
                .map(|(place, batch)| latency_row(models, place, batch.batch))
                .collect(),
        },
    ];
    for group in &mut groups {
        group.rows.retain(|row| row.cells.iter().any(Option::is_some));
    }
    groups.retain(|group| !group.rows.is_empty());
    groups
}

fn quality_group(
    name: &'static str,
    models: &[&Figures],
    quality: fn(&Figures) -> Option<&Quality>,
) -> Group {
    let mut samples: Vec<u64> = models.iter().filter_map(|f| quality(f)).map(|q| q.samples).collect();
    samples.dedup();
    let samples: Vec<String> = samples.into_iter().map(count).collect();
    let row = |metric: Metric| {
        let values: Vec<_> =
            models.iter().map(|f| quality(f).and_then(|quality| quality.metrics.get(&metric))).collect();
        let cell = |measured: &Measured| {
            let (value, error) = metric.unit().texts(measured.value, measured.standard_error);
            Cell { value, below: error.map(|e| format!("± {e}")) }
        };
        let ends = values.first().copied().flatten().zip(values.last().copied().flatten());
        Row {
            name: format!("{}{}", metric.name(), if metric.unit() == Unit::Nats { ", nats" } else { "" }),
            cells: values.iter().map(|m| m.map(cell)).collect(),
            change: ends.map(|(old, new)| change_of_metric(metric, &new.change_from(old))),
        }
    };
    let rows = Metric::ALL.into_iter().map(row).collect();
    Group { name, conditions: format!("{} samples", samples.join(" / ")), rows }
}

fn change_of_metric(metric: Metric, change: &Change) -> Cell {
    if change.by == 0.0 {
        return Cell::new("none");
    }
    if !change.by.is_finite() {
        return Cell::new("not a number");
    }
    let (scale, unit, decimals) = match metric.unit() {
        Unit::Share => (100.0, Some("points"), 2),
        _ => (1.0, None, 4),
    };
    let error = change.standard_error.filter(|e| e.is_finite()).map(|e| scale * e);
    let decimals = error.and_then(error_decimals).unwrap_or(decimals);
    let error = error.map_or(String::new(), |e| format!(" ± {e:.decimals$}"));
    let noise = (change.within_noise() == Some(true)).then_some("within noise");
    let below: Vec<&str> = unit.into_iter().chain(noise).collect();
    Cell {
        value: signed(format!("{:.decimals$}", scale * change.by)) + &error,
        below: (!below.is_empty()).then(|| below.join(", ")),
    }
}

fn count_row(name: &str, models: &[&Figures], get: fn(&Figures) -> Option<u64>) -> Row {
    Row {
        name: name.into(),
        cells: models.iter().map(|f| get(f).map(|n| Cell::new(count(n)))).collect(),
        change: change_of_count(models, get),
    }
}

fn macs_row(models: &[&Figures]) -> Row {
    let cell = |macs: &Count| match macs {
        // Longer ones do not fit beside each other.
        Count::Number(n) if *n >= 1_000_000_000 => short_count(*n),
        Count::Number(n) => count(n),
        Count::Formula(formula) => formula.clone(),
    };
    Row {
        name: "MACs".into(),
        cells: models.iter().map(|f| Some(Cell::new(cell(&f.macs)))).collect(),
        change: change_of_count(models, |f| match f.macs {
            Count::Number(n) => Some(n),
            Count::Formula(_) => None,
        }),
    }
}

fn change_of_count(models: &[&Figures], get: fn(&Figures) -> Option<u64>) -> Option<Cell> {
    let (first, last) = (get(models.first()?)? as f64, get(models.last()?)? as f64);
    if first == last {
        return Some(Cell::new("none"));
    }
    (first > 0.0).then(|| Cell {
        value: signed(format!("{:.1}", 100.0 * (last - first) / first)) + " %",
        below: Some(format!("{} kept", percent(last / first))),
    })
}

fn latency_conditions(report: &Report, models: &[&Figures]) -> String {
    let mut parts = vec!["ONNX Runtime".to_owned()];
    if let Some(conditions) = &report.latency {
        parts.push(format!(
            "{} thread{}",
            conditions.threads,
            if conditions.threads == 1 { "" } else { "s" }
        ));
        let shapes = conditions.batches.iter().flat_map(|batch| &batch.shapes);
        parts.extend(shapes.map(|(name, shape)| format!("{name} {shape:?}")));
    }
    let mut runs: Vec<usize> = models.iter().flat_map(|f| &f.latency).map(|t| t.runs).collect();
    runs.sort_unstable();
    runs.dedup();
    let runs: Vec<String> = runs.into_iter().map(count).collect();
    parts.push(format!("{} runs each", runs.join(" / ")));
    parts.join(", ")
}

fn latency_row(models: &[&Figures], place: usize, batch: usize) -> Row {
    let cell = |t: &Timing| {
        let [median, p10, p90] = [t.median_ms, t.p10_ms, t.p90_ms].map(|ms| significant(ms, 3));
        Cell { value: format!("{median} ms"), below: Some(format!("{p10}–{p90}")) }
    };
    let ends = models.first().zip(models.last());
    let ends = ends.and_then(|(a, b)| a.latency.get(place).zip(b.latency.get(place)));
    Row {
        name: format!("median, batch {batch}"),
        cells: models.iter().map(|f| f.latency.get(place).map(cell)).collect(),
        change: ends.map(|(before, after)| Cell {
            value: format!("{:.2}× as fast", before.median_ms / after.median_ms),
            below: overlap(before, after).then(|| "the spreads overlap".into()),
        }),
    }
}

/// Whether the middle four fifths of the runs took times that both models needed.
fn overlap(a: &Timing, b: &Timing) -> bool {
    a.p10_ms <= b.p90_ms && b.p10_ms <= a.p90_ms
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// With a sign, the minus as long as the plus.
fn signed(number: String) -> String {
    match number.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => format!("+{number}"),
    }
}
