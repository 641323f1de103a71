//! `secateurs inspect`: a model's layers with shapes, parameters and MACs, or its groups.

mod groups;

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use secateurs::format::{bytes, count};
use secateurs::pipeline::dim_json;
use secateurs_graph::{Graph, ops};
use serde::Serialize;

use crate::arguments::{ModelArguments, SplitArgument};
use crate::error::{CliError, Result};
use crate::table::Table;

/// Show a model's layers with shapes, parameters and MACs
///
/// Parameters are trained floating-point numbers, shared ones counted once; running statistics are counted apart. MACs are
/// multiply–accumulates of one run at the sizes bound, and symbolic where a size is.
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelArguments,
    /// Show every node, not only those with parameters or MACs; with --groups, every member
    #[arg(long)]
    all: bool,
    /// Show what can be pruned together: groups, their units and what one costs, and what blocks pruning
    #[arg(long)]
    groups: bool,
    /// With --groups: where an axis is heads × dimensions or groups × channels, which of them are units
    #[arg(long, value_enum, default_value_t, requires = "groups")]
    split: SplitArgument,
    /// With --groups: inputs and outputs that may shrink with the units that they carry; `*` stands for any characters
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "groups")]
    resizable: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    model: String,
    opsets: BTreeMap<String, i64>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    parameters: usize,
    statistics: usize,
    constant_bytes: usize,
    /// A number, or a formula over the symbolic sizes.
    macs: serde_json::Value,
    nodes: usize,
    layers: Vec<Layer>,
    unknown_ops: Vec<UnknownOp>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    element_type: Option<String>,
    shape: Option<Vec<serde_json::Value>>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    op: String,
    outputs: Vec<Port>,
    parameters: usize,
    macs: serde_json::Value,
}

#[derive(Serialize)]
struct UnknownOp {
    op: String,
    domain: String,
    /// What of it is lacking, where it can be run and pruned otherwise.
    lacking: Option<String>,
    count: usize,
    first_node: String,
}

impl Inspect {
    pub fn run(self) -> Result {
        if self.groups {
            return self.groups();
        }
        let graph = self.model.read()?;
        let report = self.report(&graph);
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?,
            false => print(&report, &mut out)?,
        }
        Ok(())
    }

    fn groups(&self) -> Result {
        let (graph, sizes) = self.model.read_unbound()?;
        let groups = groups::Groups::new(&graph, self.split.into(), &self.resizable, &sizes)
            .map_err(|e| CliError::Input(format!("{}: {e}", self.model.model.display())))?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(&groups).map_err(io::Error::from)?)?,
            false => groups.print(self.all, &mut out)?,
        }
        Ok(())
    }

    fn report(&self, graph: &Graph) -> Report {
        let cost = graph.cost();
        let parameters = graph.params_by_node();
        let port = |&id: &_| {
            let value = &graph.values[id];
            Port {
                name: value.name.clone(),
                element_type: value.fact.element_type.map(|t| t.name().to_owned()),
                shape: value.fact.shape.as_ref().map(|s| s.iter().map(dim_json).collect()),
            }
        };
        let layers = graph.order.iter().filter_map(|&id| {
            let node = &graph.nodes[id];
            let (parameters, macs) = (parameters.get(&id).copied().unwrap_or(0), graph.macs(id));
            let unknown = node.op.downcast::<ops::Unknown>().is_some();
            (self.all || parameters > 0 || !macs.is(0) || unknown).then(|| Layer {
                name: graph.node_name(id),
                op: node.op.name().to_owned(),
                outputs: node.outputs.iter().flatten().map(port).collect(),
                parameters,
                macs: dim_json(&macs),
            })
        });
        Report {
            model: self.model.model.display().to_string(),
            opsets: graph.opsets.clone(),
            inputs: graph.inputs.iter().map(port).collect(),
            outputs: graph.outputs.iter().map(port).collect(),
            parameters: cost.params,
            statistics: cost.statistics,
            constant_bytes: cost.bytes,
            macs: dim_json(&cost.macs),
            nodes: graph.order.len(),
            layers: layers.collect(),
            unknown_ops: unknown_ops(graph),
        }
    }
}

fn unknown_ops(graph: &Graph) -> Vec<UnknownOp> {
    let mut found: Vec<UnknownOp> = Vec::new();
    for &id in &graph.order {
        let op = &graph.nodes[id].op;
        let Some(lacking) = op.downcast::<ops::Unknown>().map(ops::Unknown::lacking) else { continue };
        let same = |u: &&mut UnknownOp| {
            u.op == op.name() && u.domain == op.domain() && u.lacking.as_deref() == lacking
        };
        match found.iter_mut().find(same) {
            Some(known) => known.count += 1,
            None => found.push(UnknownOp {
                op: op.name().to_owned(),
                domain: op.domain().to_owned(),
                lacking: lacking.map(ToOwned::to_owned),
                count: 1,
                first_node: graph.node_label(id),
            }),
        }
    }
    found
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// A formula as a table can show it; JSON has it whole.
fn short(text: String) -> String {
    const WIDTH: usize = 40;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn shape_text(port: &Port) -> String {
    match &port.shape {
        Some(shape) => short(format!("[{}]", shape.iter().map(text).collect::<Vec<_>>().join(", "))),
        None => "[…]".into(),
    }
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for (kind, ports) in [("input", &report.inputs), ("output", &report.outputs)] {
        for port in ports {
            let element_type = port.element_type.as_deref().unwrap_or("?");
            writeln!(out, "{kind:<7} {} {element_type}{}", port.name, shape_text(port))?;
        }
    }
    writeln!(out)?;
    let mut table = Table::new(&["layer", "op", "output", "parameters", "MACs"], 3);
    for layer in &report.layers {
        let shapes: Vec<String> = layer.outputs.iter().map(shape_text).collect();
        table.row([
            layer.name.clone(),
            layer.op.clone(),
            shapes.join(" "),
            count(layer.parameters),
            short(count(text(&layer.macs))),
        ]);
    }
    table.print(out)?;
    writeln!(out)?;
    writeln!(out, "parameters          {}", count(report.parameters))?;
    writeln!(out, "running statistics  {}", count(report.statistics))?;
    writeln!(out, "constants           {}", bytes(report.constant_bytes as u64))?;
    writeln!(out, "MACs                {}", short(count(text(&report.macs))))?;
    if report.macs.is_string() {
        writeln!(out, "                    (bind the model's symbolic sizes for a number: --dim NAME=N)")?;
    }
    writeln!(out, "nodes               {} ({} shown)", count(report.nodes), report.layers.len())?;
    if !report.unknown_ops.is_empty() {
        writeln!(
            out,
            "\nops that cannot be run or pruned yet; shapes behind them are known only where the file says:"
        )?;
        for unknown in &report.unknown_ops {
            let domain = if unknown.domain.is_empty() { "ai.onnx" } else { &unknown.domain };
            let (op, count, node) = (&unknown.op, unknown.count, &unknown.first_node);
            let lacking = unknown.lacking.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
            writeln!(out, "  {domain}::{op}{lacking}, {count} nodes, the first is {node}")?;
        }
    }
    Ok(())
}
