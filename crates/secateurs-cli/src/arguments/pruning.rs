//! Arguments of the commands that choose and remove units.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use secateurs::evidence::Evidence;
use secateurs::implants::ImplantShare;
use secateurs::methods::METHODS;
use secateurs::pipeline::PlanOptions;
use secateurs::plan::PlannedSplit;
use secateurs::recipe::Recipe;
use secateurs::search::Limit;
use secateurs_graph::{Bindings, Dim, Graph};
use serde::Serialize;
use toml::Table;

use super::{ModelArguments, is_false, table};
use crate::error::{CliError, Result};

/// Which units to remove: the table `[plan]` of recipes.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Pruning")]
pub struct PruningArguments {
    /// What units are scored by; `secateurs methods` tells more [default: joint where units are measured, magnitude elsewhere]
    #[arg(long, value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| {
        clap::builder::PossibleValue::new(m.name).help(m.summary)
    })))]
    method: Option<String>,
    /// What to keep of params, macs, bytes, latency or units: shares between 0 and 1, or amounts as in latency=3ms,bytes=2MB,params=100k;
    /// all must hold
    ///
    /// Latency is that of the batch which --dim binds or the model fixes; else `prune` and `plan` measure it at batch 1, `compress` at the
    /// first of --latency-batches.
    #[arg(long, value_name = "RESOURCE=AMOUNT,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keep: Vec<Limit>,
    /// Remove units that are provably dead first, which changes nothing: what makes them is zero, or what reads them. Without --keep nothing
    /// else goes, whatever a recipe keeps
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    lossless: bool,
    /// Of the units that would go, implant the most sensitive instead: a share of them, as many as predicted changes say (auto), or none.
    /// k×k convolutions compute implanted units by one tap, other layers by two factors of low rank [default: none]
    #[arg(long, value_name = "SHARE|auto|none")]
    implant: Option<ImplantShare>,
    /// What implants start from in `compress`: the best fit to what they stand for, or zero. `prune` and `apply` see no samples: there they
    /// start from zero [default: least-squares]
    #[arg(long, value_parser = ["least-squares", "zero"])]
    implant_start: Option<String>,
    /// Compare scores over the whole model, or within each group so that all keep the same share [default: global]
    #[arg(long, value_parser = ["global", "layer"])]
    scope: Option<String>,
    /// Seed of everything that is drawn [default: 0]
    #[arg(long, value_name = "N", value_parser = super::parse_seed())]
    pub seed: Option<u64>,
    /// Where an axis is heads × dimensions or groups × channels: whole heads and groups (outer), or dimensions of all heads and
    /// channels of all groups (inner) [default: outer]
    #[arg(long, value_enum)]
    split: Option<SplitArgument>,
    /// Inputs and outputs of the model that may shrink with the units that they carry, as cached keys and values (past.*.key,present.*.key)
    /// or the states of recurrent layers do; `*` stands for any characters. All others keep their shape. Name both ends of what is fed back
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resizable: Vec<String>,
    /// The largest share of a group's units that may go; one unit stays always [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    max_removed: Option<f64>,
    /// Make the widths of all groups multiples of N, where they are at least as wide
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    multiple: Option<u32>,
    /// Prune only what has one of these in its name: kinds of units (head, neuron, channel) or parameters
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    among: Vec<String>,
    /// Count params, macs and bytes of the parts with these names only, as in encoder.* (from any component of a name to its end)
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    count: Vec<String>,
    /// Prune groups too whose removal changes what the others compute (as behind a softmax or layer norm)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    allow_inexact: bool,
}

/// Which units products of axes are split into.
#[derive(Clone, Copy, ValueEnum, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitArgument {
    #[default]
    Outer,
    Inner,
}

impl From<SplitArgument> for PlannedSplit {
    fn from(split: SplitArgument) -> PlannedSplit {
        match split {
            SplitArgument::Outer => PlannedSplit::Outer,
            SplitArgument::Inner => PlannedSplit::Inner,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1".into()),
    }
}

impl PruningArguments {
    /// What was given, as a recipe's table `[plan]`.
    pub fn table(&self) -> Result<Table> {
        table(self)
    }
}

/// Which units to remove by what was measured before.
#[derive(Args)]
pub struct PlanningArguments {
    #[command(flatten)]
    pruning: PruningArguments,
    /// What `secateurs measure` wrote, for methods that score by it
    #[arg(long, value_name = "EVIDENCE", help_heading = "Pruning")]
    evidence: Option<PathBuf>,
    /// Threads of ONNX Runtime where latency is limited, and measured for it
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Pruning", value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

impl PlanningArguments {
    /// Threads of ONNX Runtime.
    pub fn threads(&self) -> usize {
        self.threads.into()
    }

    /// The options for [`secateurs::pipeline::plan`].
    pub fn options(&self, sizes: Bindings) -> Result<PlanOptions> {
        let flags = Table::from_iter([("plan".to_owned(), self.pruning.table()?.into())]);
        let settings = Recipe::default().settings(flags)?.plan.resolved(self.evidence.is_some());
        let options = settings.options(sizes).map_err(CliError::Input)?;
        let evidence = self.evidence.as_deref().map(Evidence::read).transpose()?;
        Ok(PlanOptions { evidence: evidence.map(Arc::new), ..options })
    }
}

/// Where results go.
#[derive(Args)]
pub struct ResultArguments {
    /// Where to write the smaller model
    #[arg(short, long, value_name = "SMALLER")]
    pub output: PathBuf,
    /// Also write the model in its original shape, with the removed units zeroed where they are consumed: it computes what
    /// the smaller one does
    #[arg(long, value_name = "TWIN")]
    pub masked: Option<PathBuf>,
    /// Do not run the result in ONNX Runtime and compare it before it gets its name
    #[arg(long)]
    pub no_check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl ResultArguments {
    /// Refuses what would fail only after the work.
    pub fn check(&self, plan: Option<&Path>) -> Result {
        check_results(&[Some(&self.output), self.masked.as_deref(), plan])
    }
}

/// Refuses names of results that would fail only after the work.
pub fn check_results(paths: &[Option<&Path>]) -> Result {
    let paths: Vec<&Path> = paths.iter().copied().flatten().collect();
    for (i, path) in paths.iter().enumerate() {
        if paths[..i].contains(path) {
            return Err(CliError::Input(format!("{}: two results cannot have one name", path.display())));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(CliError::Input(format!(
                "{}: there is no such folder; make it first",
                folder.display()
            )));
        }
        if path.is_dir() {
            return Err(CliError::Input(format!("{}: is a folder; give a file name", path.display())));
        }
    }
    Ok(())
}

impl ModelArguments {
    /// Reads what is alive of the model, and says what its symbolic sizes are to be bound to: bound in the graph, they would be fixed
    /// in what is made of it.
    pub fn read_unbound(&self) -> Result<(Graph, Bindings)> {
        let graph = Graph::read_live(&self.model)?;
        let mut bound = graph.clone();
        self.sizes.bind(&mut bound)?;
        let mut sizes = Bindings::new();
        for &input in &graph.inputs {
            let (name, old) = (&graph.values[input].name, graph.values[input].fact.shape.as_ref());
            if old.is_none() && self.sizes.shapes.iter().any(|(given, _)| given == name) {
                return Err(CliError::Input(format!(
                    "--shape {name}: the file gives this input no shape, and what is made of the model would have none either; export the model \
                     with one, of which sizes may be names"
                )));
            }
            let new = bound.values[input].fact.shape.iter().flatten();
            for (old, new) in old.into_iter().flatten().zip(new) {
                if let ([symbol], Some(n)) = (&old.symbols()[..], new.known())
                    && *old == Dim::symbol(symbol.clone())
                {
                    sizes.insert(symbol.to_string(), n);
                }
            }
        }
        // A size that stands alone in no axis, as in `2*n`.
        sizes.extend(self.sizes.dims.iter().cloned());
        Ok((graph, sizes))
    }
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder, WriteOptions, write};

    use super::*;
    use crate::arguments::SizeArguments;

    /// The sizes of a model of two inputs, of which the first may have no shape.
    fn unbound(first: Option<&[&str]>, shapes: &[(&str, &[i64])]) -> Result<Bindings, String> {
        let mut model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, first.unwrap_or_default())
            .input("mask", ElementType::Float32, &["batch", "past + 1"])
            .node("Relu", &["x"], &["y"])
            .node("Relu", &["mask"], &["z"])
            .output("y")
            .output("z")
            .build()
            .unwrap();
        if first.is_none() {
            let graph = model.proto.graph.as_mut().unwrap();
            let r#type = graph.input[0].r#type.as_mut().unwrap();
            let Some(secateurs_onnx::proto::type_proto::Value::TensorType(tensor)) = r#type.value.as_mut()
            else {
                unreachable!("an input is a tensor")
            };
            tensor.shape = None;
        }
        let file = tempfile::NamedTempFile::with_suffix(".onnx").unwrap();
        write(&model, file.path(), &WriteOptions::default()).unwrap();
        let shapes = shapes.iter().map(|(input, shape)| ((*input).to_owned(), shape.to_vec())).collect();
        let sizes = SizeArguments { dims: Vec::new(), shapes };
        let model = ModelArguments { model: file.path().to_owned(), sizes };
        model.read_unbound().map(|(_, sizes)| sizes).map_err(|error| match error {
            CliError::Input(text) => text,
            _ => "another error".into(),
        })
    }

    #[test]
    fn a_shape_binds_symbols_that_are_whole_axes() {
        let sizes = unbound(Some(&["batch", "past"]), &[("mask", &[1, 17])]).unwrap();
        assert_eq!(sizes, Bindings::from([("batch".into(), 1)]));
        let sizes = unbound(Some(&["batch", "past"]), &[("mask", &[1, 17]), ("x", &[1, 16])]).unwrap();
        assert_eq!(sizes, Bindings::from([("batch".into(), 1), ("past".into(), 16)]));
    }

    #[test]
    fn a_shape_that_the_file_does_not_hold_is_refused_with_the_reason() {
        let error = unbound(None, &[("x", &[1, 3])]).unwrap_err();
        assert!(error.contains("--shape x: the file gives this input no shape"), "{error}");
        assert_eq!(unbound(None, &[("mask", &[1, 17])]).unwrap(), Bindings::from([("batch".into(), 1)]));
    }
}
