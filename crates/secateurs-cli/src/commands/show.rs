//! `secateurs show`: what is in a file of evidence.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use secateurs::evidence::{Evidence, Header, MeasuredOutput, Score, Scored};
use secateurs::format::{count, significant};
use secateurs::pipeline;
use serde::Serialize;

use crate::arguments::check_results;
use crate::error::{CliError, Result};
use crate::table::Table;

/// Show what was measured of a model's units
///
/// With --json for every unit its group and number, the indices of the parameters that go with it, and each score with its
/// standard error.
#[derive(Args)]
pub struct Show {
    /// The file that `secateurs measure` wrote
    evidence: PathBuf,
    /// Also write what the scores are as an HTML page: sorted, by layer, and over all layers
    #[arg(long, value_name = "PAGE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    model: &'a str,
    model_hash: &'a str,
    samples: usize,
    reliability: f64,
    settings: &'a secateurs::evidence::Settings,
    outputs: &'a [MeasuredOutput],
    data: &'a [secateurs::evidence::MeasuredData],
    notes: &'a [String],
    ended: &'a Option<String>,
    units: Vec<Unit<'a>>,
}

#[derive(Serialize)]
struct Unit<'a> {
    group: usize,
    unit: usize,
    kind: &'a str,
    parameters: Vec<Parameter<'a>>,
    scores: std::collections::BTreeMap<&'static str, Value>,
}

#[derive(Serialize)]
struct Parameter<'a> {
    name: &'a str,
    axis: usize,
    made: bool,
    indices: &'a [usize],
}

#[derive(Serialize)]
struct Value {
    value: f64,
    standard_error: f64,
}

impl Show {
    pub fn run(self) -> Result {
        check_results(&[self.report.as_deref()])?;
        if self.report.as_deref() == Some(&*self.evidence) {
            return Err(CliError::Input("--report: the page would take the place of the evidence".into()));
        }
        let evidence = Evidence::read(&self.evidence)?;
        if let Some(path) = &self.report {
            pipeline::write_sensitivity(path, &evidence, Score::Quadratic, None)?;
        }
        let mut out = io::stdout().lock();
        match self.json {
            true => {
                writeln!(out, "{}", serde_json::to_string_pretty(&json(&evidence)).map_err(io::Error::from)?)?
            }
            false => {
                print(&evidence, &mut out)?;
                if let Some(path) = &self.report {
                    writeln!(out, "report    {}", path.display())?;
                }
            }
        }
        Ok(())
    }
}

fn json(evidence: &Evidence) -> Json<'_> {
    let header = &evidence.header;
    let scores: Vec<(&'static str, Scored)> =
        Score::ALL.iter().filter_map(|&score| Some((score.name(), evidence.score(score)?))).collect();
    let mut units = Vec::with_capacity(header.units());
    for (number, group) in header.groups.iter().enumerate() {
        for unit in 0..group.units {
            let at = units.len();
            let parameter = |p: &'_ secateurs::evidence::MeasuredParameter| p.indices[unit].is_empty();
            units.push(Unit {
                group: number,
                unit,
                kind: &group.kind,
                parameters: group
                    .parameters
                    .iter()
                    .filter(|p| !parameter(p))
                    .map(|p| Parameter {
                        name: &p.name,
                        axis: p.axis,
                        made: p.made,
                        indices: &p.indices[unit],
                    })
                    .collect(),
                scores: scores
                    .iter()
                    .map(|(name, scored)| {
                        (*name, Value { value: scored.values[at], standard_error: scored.errors[at] })
                    })
                    .collect(),
            });
        }
    }
    Json {
        model: &header.model,
        model_hash: &header.model_hash,
        samples: header.samples,
        reliability: evidence.reliability(),
        settings: &header.settings,
        outputs: &header.outputs,
        data: &header.data,
        notes: &header.notes,
        ended: &header.ended,
        units,
    }
}

/// A line a group: how its scores lie.
pub fn print(evidence: &Evidence, out: &mut impl Write) -> io::Result<()> {
    let header = &evidence.header;
    let Some(quadratic) = evidence.score(Score::Quadratic) else { return Ok(()) };
    let mut table = Table::new(&["units", "of", "lowest", "median", "highest", "sum", "median error"], 2);
    let mut first = 0;
    for group in &header.groups {
        let range = first..first + group.units;
        first += group.units;
        let mut sorted: Vec<(f64, f64)> =
            range.clone().map(|u| (quadratic.values[u], quadratic.errors[u])).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(lowest), Some(highest)) = (sorted.first(), sorted.last()) else { continue };
        let median = sorted[sorted.len() / 2];
        let mut relative: Vec<f64> =
            sorted.iter().filter(|(value, _)| *value > 0.0).map(|(value, error)| error / value).collect();
        relative.sort_by(f64::total_cmp);
        let error = relative.get(relative.len() / 2).map_or("–".into(), |e| format!("{:.0} %", 100.0 * e));
        let sum: f64 = sorted.iter().map(|(value, _)| value).sum();
        table.row([
            format!("{} × {}", count(group.units), group.kind),
            group.label(),
            significant(lowest.0, 2),
            significant(median.0, 2),
            significant(highest.0, 2),
            significant(sum, 2),
            error,
        ]);
    }
    table.print(out)?;
    print_conditions(header, evidence.reliability(), out)
}

fn print_conditions(header: &Header, reliability: f64, out: &mut impl Write) -> io::Result<()> {
    let settings = &header.settings;
    let losses: Vec<String> = header.outputs.iter().map(ToString::to_string).collect();
    writeln!(out)?;
    writeln!(out, "score     predicted {}", losses.join(" + "))?;
    if let Some(loss) = header.outputs.iter().find_map(|o| o.label_loss.as_ref()) {
        writeln!(out, "labels    {loss}")?;
    }
    writeln!(
        out,
        "samples   {} by {}, seed {}; the ranking's reliability is {reliability:.4}",
        count(header.samples),
        settings.estimator.name(),
        settings.seed
    )?;
    if let Some(trace) = &settings.trace {
        writeln!(out, "traces    {trace}")?;
    }
    match &header.ended {
        Some(why) => writeln!(out, "ended     {why}")?,
        None => writeln!(out, "ended     not yet; the same command goes on")?,
    }
    header.notes.iter().try_for_each(|note| writeln!(out, "note      {note}"))
}
