//! What `prune` and `apply` have in common: carry a plan out, write the result, say what came of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use secateurs::format::{bytes, count};
use secateurs::implants::ImplantStart;
use secateurs::pipeline::{self, Applied, WriteAppliedOptions, Written, dim_json};
use secateurs::plan::{Plan, PlannedShare};
use secateurs_graph::{Bindings, Graph};
use serde::Serialize;

use crate::arguments::ResultArguments;
use crate::error::{CliError, Result};
use crate::progress::{self, say};
use crate::table::Table;

/// Before and after.
#[derive(Serialize)]
pub struct Report {
    model: String,
    smaller: String,
    masked: Option<String>,
    parameters: [usize; 2],
    /// Numbers at `sizes`, or formulas.
    macs: [serde_json::Value; 2],
    sizes: BTreeMap<String, i64>,
    constant_bytes: [usize; 2],
    file_bytes: [u64; 2],
    units: [usize; 2],
    groups: usize,
    groups_pruned: usize,
    /// Units that other layers compute, and the nodes that put channels in order for that at run time.
    implanted: usize,
    gathers: usize,
    slices: usize,
    reached: BTreeMap<String, PlannedShare>,
    exact: bool,
    /// The largest difference in ONNX Runtime from what was expected, relative to the output's largest value.
    difference: Option<f64>,
}

/// Applies a plan and writes the result.
pub fn apply(
    model: &Path,
    graph: &Graph,
    plan: &Plan,
    plan_path: Option<&Path>,
    result: &ResultArguments,
) -> Result<Report> {
    let applied = pipeline::apply(graph, plan).map_err(|e| CliError::applying(e, model, plan_path))?;
    if let Some((groups, reason)) = &applied.left_alone {
        let which = if *groups == 1 { "1 group is".to_owned() } else { format!("{groups} groups are") };
        say(format_args!(
            "note: {which} left alone, as pruning is not exact there ({reason}); --allow-inexact prunes them"
        ));
    }
    if let Some(missing) = plan.missing_implants() {
        say(format_args!("note: {missing}"));
    }
    if applied.implanted > 0 && plan.asked.implant.start == ImplantStart::LeastSquares {
        say(
            "note: the implants start from zero, as their best fit takes samples; `secateurs compress` fits them",
        );
    }
    // The result may take the model's place.
    let file_bytes = pipeline::file_bytes(graph);
    let sizes: Bindings = plan.model.sizes.clone();
    let options = WriteAppliedOptions {
        smaller: &result.output,
        masked: result.masked.as_deref(),
        check: !result.no_check,
        sizes: &sizes,
    };
    let busy = progress::busy(if result.no_check { "writing" } else { "checking in ONNX Runtime" });
    let written = pipeline::write_applied(graph, &applied, &options);
    busy.finish_and_clear();
    Ok(Report::new(model, file_bytes, plan, &applied, written?, result))
}

impl Report {
    fn new(
        model: &Path,
        file_bytes: u64,
        plan: &Plan,
        applied: &Applied,
        written: Written,
        result: &ResultArguments,
    ) -> Report {
        let sizes = &plan.model.sizes;
        let macs = [&applied.before.macs, &written.cost.macs].map(|macs| dim_json(&macs.bind(sizes)));
        Report {
            model: model.display().to_string(),
            smaller: result.output.display().to_string(),
            masked: result.masked.as_ref().map(|p| p.display().to_string()),
            parameters: [applied.before.params, written.cost.params],
            macs,
            sizes: sizes.clone(),
            constant_bytes: [applied.before.bytes, written.cost.bytes],
            file_bytes: [file_bytes, written.file_bytes],
            units: applied.units,
            groups: applied.groups[0],
            groups_pruned: applied.groups[1],
            implanted: applied.implanted,
            gathers: applied.gathers,
            slices: applied.slices,
            reached: plan.reached.clone(),
            exact: applied.exact,
            difference: written.difference,
        }
    }

    /// The result on standard output.
    pub fn print(&self, json: bool) -> Result {
        let mut out = io::stdout().lock();
        match json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(self).map_err(io::Error::from)?)?,
            false => self.table(&mut out)?,
        }
        Ok(())
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(&["", "before", "after", "kept"], 1);
        let kept = |[before, after]: [f64; 2]| format!("{:.2} %", 100.0 * after / before.max(1.0));
        let mut row = |name: &str, texts: [String; 2], values: Option<[f64; 2]>| {
            let [before, after] = texts;
            table.row([name.to_owned(), before, after, values.map(kept).unwrap_or_default()]);
        };
        let counts = |values: [usize; 2]| (values.map(count), Some(values.map(|n| n as f64)));
        let (texts, values) = counts(self.parameters);
        row("parameters", texts, values);
        let macs = [0, 1].map(|i| self.macs[i].as_f64());
        let texts = [0, 1].map(|i| match self.macs[i].as_str() {
            Some(formula) => formula.to_owned(),
            None => count(self.macs[i].to_string()),
        });
        row("MACs", texts, macs[0].zip(macs[1]).map(|(a, b)| [a, b]));
        row(
            "constants",
            self.constant_bytes.map(|n| bytes(n as u64)),
            Some(self.constant_bytes.map(|n| n as f64)),
        );
        row("file", self.file_bytes.map(bytes), Some(self.file_bytes.map(|n| n as f64)));
        let (texts, values) = counts(self.units);
        row("units", texts, values);
        table.print(out)?;
        writeln!(out)?;
        writeln!(out, "{} of {} groups lost units", self.groups_pruned, self.groups)?;
        if self.implanted > 0 {
            let Report { implanted, gathers, slices, .. } = self;
            writeln!(
                out,
                "{implanted} units are implanted, with {gathers} gathers and {slices} slices at run time"
            )?;
        }
        if let Some(sizes) = sizes_text(&self.sizes) {
            writeln!(out, "MACs at {sizes}")?;
        }
        match (self.difference, self.exact) {
            (Some(difference), true) => writeln!(
                out,
                "checked in ONNX Runtime: equal to the masked model to {difference:.0e} of the largest output"
            ),
            (Some(difference), false) => writeln!(
                out,
                "checked in ONNX Runtime: runs as the interpreter says, to {difference:.0e} of the largest output; \
                 not equal to the masked model, as inexact groups were pruned"
            ),
            (None, _) => writeln!(out, "not checked (--no-check)"),
        }
    }
}

/// Sizes as in `batch=1, sequence=128`; `None` where there are none.
pub fn sizes_text(sizes: &BTreeMap<String, i64>) -> Option<String> {
    let texts: Vec<String> = sizes.iter().map(|(name, n)| format!("{name}={n}")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
