//! `secateurs inspect --groups`: what can be pruned together, what a unit costs, and what blocks pruning.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use secateurs::format::count;
use secateurs::pipeline::macs_sizes;
use secateurs::plan::{PlannedSplit, parameter_names};
use secateurs::resizable::{ResizableError, coupling};
use secateurs_graph::coupling::{Costs, Coupling, Group, Reason, Remaining};
use secateurs_graph::{Bindings, Dim, Graph};
use serde::Serialize;

use super::{dim_json, text};
use crate::commands::result::sizes_text;
use crate::table::Table;

/// The groups of a model.
#[derive(Serialize)]
pub struct Groups {
    /// What symbolic sizes are bound to for MACs.
    sizes: BTreeMap<String, i64>,
    groups: Vec<Row>,
    blocked: Vec<Blocked>,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    units: usize,
    /// What the model loses with one unit while all others stay.
    parameters_per_unit: usize,
    macs_per_unit: serde_json::Value,
    members: Vec<Member>,
    /// Why removal changes what the other units compute, if it does.
    inexact: Option<String>,
}

#[derive(Serialize)]
struct Member {
    /// As plans name it: `conv1.weight[0]`.
    name: String,
    parameter: String,
    axis: usize,
    /// Indices that go with a unit.
    indices: usize,
    /// Whether the layer makes the unit here, or consumes it.
    made: bool,
}

#[derive(Serialize)]
struct Blocked {
    parameter: String,
    axis: usize,
    /// In words, with the node.
    reason: String,
    node: Option<String>,
    /// In words that other nodes may share.
    #[serde(skip)]
    shared: String,
}

/// Members and axes shown in a line of text; JSON has them all.
const SHOWN: usize = 4;

impl Groups {
    pub fn new(
        graph: &Graph,
        split: PlannedSplit,
        resizable: &[String],
        given: &Bindings,
    ) -> Result<Groups, ResizableError> {
        let coupling = coupling(graph, split, resizable)?;
        let sizes = macs_sizes(graph, given);
        let costs = Costs::new(graph, &coupling, &sizes);
        let whole = Remaining::new(&coupling);
        let all = (costs.params(&whole), costs.macs(&whole));
        let rows = (0..coupling.groups.len()).map(|g| {
            let group = &coupling.groups[g];
            let (parameters_per_unit, macs) = unit_cost(&costs, &coupling, g, &all);
            Row {
                kind: group.kind.name(),
                units: group.units.len(),
                parameters_per_unit,
                macs_per_unit: dim_json(&macs),
                members: members(graph, group),
                inexact: group.inexact.as_ref().map(|reason| reason.describe(graph)),
            }
        });
        let blocked = coupling.barred.iter().map(|b| Blocked {
            parameter: graph.values[b.value].name.clone(),
            axis: b.axis,
            reason: b.reason.describe(graph),
            node: b.reason.node().map(|n| graph.node_name(n)),
            shared: match &b.reason {
                Reason::Op(node, why) => format!("{}: {why}", graph.nodes[*node].op.name()),
                other => other.describe(graph),
            },
        });
        Ok(Groups { groups: rows.collect(), blocked: blocked.collect(), sizes })
    }

    pub fn print(&self, all: bool, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(&["group", "unit", "members", "units", "parameters/unit", "MACs/unit"], 3);
        for (number, row) in self.groups.iter().enumerate() {
            let mark = if row.inexact.is_some() { " (inexact)" } else { "" };
            let names: Vec<String> = row.members.iter().map(Member::text).collect();
            table.row([
                number.to_string(),
                format!("{}{mark}", row.kind),
                shortened(&names, all),
                count(row.units),
                count(row.parameters_per_unit),
                count(text(&row.macs_per_unit)),
            ]);
        }
        table.print(out)?;
        let units = self.groups.iter().map(|g| g.units).sum::<usize>();
        writeln!(
            out,
            "\n{} groups, {} units; what a unit costs while all others stay",
            self.groups.len(),
            count(units)
        )?;
        if let Some(sizes) = sizes_text(&self.sizes) {
            writeln!(out, "MACs at {sizes}")?;
        }
        let reasons = |(number, row): (usize, &Row)| Some((row.inexact.clone()?, number.to_string()));
        let inexact = by_reason(self.groups.iter().enumerate().filter_map(reasons));
        if !inexact.is_empty() {
            writeln!(
                out,
                "\ninexact: what is left computes something else; pruned only with --allow-inexact"
            )?;
            for (reason, groups) in inexact {
                let word = if groups.len() == 1 { "group" } else { "groups" };
                writeln!(out, "  {word} {}: {reason}", shortened(&groups, all))?;
            }
        }
        let axis = |b: &Blocked| match &b.node {
            Some(node) => (b.shared.clone(), format!("{}[{}] at '{node}'", b.parameter, b.axis)),
            None => (b.shared.clone(), format!("{}[{}]", b.parameter, b.axis)),
        };
        let blocked = by_reason(self.blocked.iter().map(axis));
        if !blocked.is_empty() {
            writeln!(out, "\ncannot be pruned")?;
            for (reason, axes) in blocked {
                writeln!(out, "  {reason}: {}", shortened(&axes, all))?;
            }
        }
        Ok(())
    }
}

impl Member {
    fn text(&self) -> String {
        match self.indices {
            0 | 1 => self.name.clone(),
            n => format!("{}×{n}", self.name),
        }
    }
}

/// The cost of the first unit of a group that can go alone.
fn unit_cost(costs: &Costs, coupling: &Coupling, group: usize, all: &(usize, Dim)) -> (usize, Dim) {
    let mut remaining = Remaining::new(coupling);
    let units = coupling.groups[group].units.len();
    match (0..units).find(|&unit| remaining.remove(group, unit)) {
        Some(_) => (all.0 - costs.params(&remaining), all.1.clone() - costs.macs(&remaining)),
        None => (0, 0.into()),
    }
}

fn members(graph: &Graph, group: &Group) -> Vec<Member> {
    let mut seen = HashSet::new();
    let first = group.parameters.iter().filter(|p| seen.insert((p.value, p.axis)));
    let named = parameter_names(graph, group).into_iter().zip(first);
    named
        .map(|(name, p)| Member {
            name,
            parameter: graph.values[p.value].name.clone(),
            axis: p.axis,
            indices: group.units.first().map_or(0, |unit| unit.indices(p).len()),
            made: p.made,
        })
        .collect()
}

/// Things that share a reason, in the order of the first.
fn by_reason(things: impl Iterator<Item = (String, String)>) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (reason, thing) in things {
        match found.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, own)) => own.push(thing),
            None => found.push((reason, vec![thing])),
        }
    }
    found
}

fn shortened(names: &[String], all: bool) -> String {
    match names.len() {
        n if all || n <= SHOWN + 1 => names.join(", "),
        n => format!("{}, … {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}
