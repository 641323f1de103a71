//! Arguments of the commands that choose and remove units.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use secateurs::methods::{METHODS, method};
use secateurs::pipeline::PlanOptions;
use secateurs::plan::PlannedSplit;
use secateurs::search::{Budget, Limit, MAX_REMOVED, Scope, SelectOptions};
use secateurs_graph::{Bindings, Graph};

use super::ModelArguments;
use crate::error::{CliError, Result};

/// Which units to remove.
#[derive(Args)]
pub struct PruningArguments {
    /// What units are scored by; `secateurs methods` tells more
    #[arg(long, value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| {
        clap::builder::PossibleValue::new(m.name).help(m.summary)
    })))]
    method: String,
    /// What to keep: shares between 0 and 1 of params, macs or units; all must hold
    #[arg(long, value_name = "RESOURCE=SHARE,…", value_delimiter = ',', required = true)]
    keep: Vec<Limit>,
    /// Compare scores over the whole model, or within each group so that all keep the same share
    #[arg(long, value_enum, default_value_t)]
    scope: ScopeArgument,
    /// Seed of methods that draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where an axis is heads × dimensions or groups × channels: whole heads and groups, or dimensions of all heads and
    /// channels of all groups
    #[arg(long, value_enum, default_value_t)]
    split: SplitArgument,
    /// The largest share of a group's units that may go; one unit stays always
    #[arg(long, value_name = "SHARE", default_value_t = MAX_REMOVED, value_parser = parse_share)]
    max_removed: f64,
    /// Make the widths of all groups multiples of N, where they are at least as wide
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    multiple: Option<u32>,
    /// Prune groups too whose removal changes what the others compute (as behind a softmax or layer norm)
    #[arg(long)]
    allow_inexact: bool,
}

#[derive(Clone, Copy, ValueEnum, Default)]
enum ScopeArgument {
    #[default]
    Global,
    Layer,
}

/// Which units products of axes are split into.
#[derive(Clone, Copy, ValueEnum, Default)]
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
    /// The options for [`secateurs::pipeline::plan`].
    pub fn options(&self, sizes: Bindings) -> Result<PlanOptions> {
        Ok(PlanOptions {
            // The parser takes no other.
            method: method(&self.method).unwrap_or(&METHODS[0]),
            seed: self.seed,
            budget: Budget::new(self.keep.clone()).map_err(|e| CliError::Input(format!("--keep: {e}")))?,
            select: SelectOptions {
                scope: match self.scope {
                    ScopeArgument::Global => Scope::Global,
                    ScopeArgument::Layer => Scope::Layer,
                },
                max_removed: self.max_removed,
                multiple_of: self.multiple.map(|n| n as usize),
                allow_inexact: self.allow_inexact,
            },
            split: self.split.into(),
            sizes,
        })
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
        let all: Vec<&Path> =
            [Some(self.output.as_path()), self.masked.as_deref(), plan].into_iter().flatten().collect();
        for (i, path) in all.iter().enumerate() {
            if all[..i].contains(path) {
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
}

impl ModelArguments {
    /// Reads the model as it is, and says what its symbolic sizes are to be bound to: bound in the graph, they would be fixed
    /// in what is made of it.
    pub fn read_unbound(&self) -> Result<(Graph, Bindings)> {
        let graph = Graph::read(&self.model)?;
        let mut bound = graph.clone();
        self.sizes.bind(&mut bound)?;
        let mut sizes = Bindings::new();
        for &input in &graph.inputs {
            let shape = |graph: &Graph| graph.values[input].fact.shape.clone().unwrap_or_default();
            for (old, new) in shape(&graph).iter().zip(shape(&bound)) {
                if let ([symbol], Some(n)) = (&old.symbols()[..], new.known()) {
                    sizes.insert(symbol.to_string(), n);
                }
            }
        }
        // A size that stands alone in no axis, as in `2*n`.
        sizes.extend(self.sizes.dims.iter().cloned());
        Ok((graph, sizes))
    }
}
