//! Models written only once they are found right.

use std::collections::BTreeSet;
use std::path::Path;

use secateurs_graph::cost::Cost;
use secateurs_graph::{Bindings, Graph, GraphError};
use secateurs_onnx::{Staged, WriteOptions, stage};

use super::apply::Applied;
use super::check::{Check, CheckError};

/// Where and how to write what [`apply`](super::apply()) gives.
#[derive(Debug, Clone, Copy)]
pub struct WriteAppliedOptions<'a> {
    /// The smaller model's file.
    pub smaller: &'a Path,
    /// The masked twin's file, if it is wanted.
    pub masked: Option<&'a Path>,
    /// Whether the models are run in ONNX Runtime and compared first.
    pub check: bool,
    /// The symbolic sizes, for the inputs that models are run on.
    pub sizes: &'a Bindings,
}

/// Whether and how a model is tried before it gets its name.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions<'a> {
    /// Whether it is run in ONNX Runtime and compared.
    pub check: bool,
    /// The symbolic sizes, for the inputs that it is run on.
    pub sizes: &'a Bindings,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What the smaller file costs, counted anew in the file.
    pub cost: Cost,
    /// The bytes of the smaller file and its external data.
    pub file_bytes: u64,
    /// The largest difference from what was expected, relative to the output's largest value; `None` without a check.
    pub difference: Option<f64>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The models were not found right.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The files cannot be written, or not be read again.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Writes the smaller model, and its twin where it is wanted. The smaller file must compute in ONNX Runtime what the masked
/// graph does in the interpreter; where the plan is inexact, what the smaller graph does. Only then do files get their names.
pub fn write_applied(
    original: &Graph,
    applied: &Applied,
    options: &WriteAppliedOptions,
) -> Result<Written, WriteError> {
    let smaller = staged(&applied.graph, options.smaller)?;
    let twin = options.masked.map(|path| staged(&applied.masked, path)).transpose()?;
    let difference = match options.check {
        true => Some(check(original, applied, &smaller, twin.as_ref(), options.sizes)?),
        false => None,
    };
    let cost = Graph::read(smaller.path())?.cost();
    let file_bytes = smaller.size_bytes();
    smaller.commit().map_err(GraphError::from)?;
    if let Some(twin) = twin {
        twin.commit().map_err(GraphError::from)?;
    }
    Ok(Written { cost, file_bytes, difference })
}

/// Writes a graph that was made of `original`. It must compute in ONNX Runtime what it does in the interpreter; only then does the
/// file get its name. `what` is what messages call it.
pub fn write_checked(
    original: &Graph,
    graph: &Graph,
    path: &Path,
    what: &'static str,
    options: &CheckOptions,
) -> Result<Written, WriteError> {
    let file = staged(graph, path)?;
    let difference = match options.check {
        true => {
            let check = Check::new(original, options.sizes)?;
            Some(check.file(file.path(), &check.expected(graph, what)?, what)?)
        }
        false => None,
    };
    let cost = Graph::read(file.path())?.cost();
    let file_bytes = file.size_bytes();
    file.commit().map_err(GraphError::from)?;
    Ok(Written { cost, file_bytes, difference })
}

/// The bytes of the file that a graph was read from, and of its external data.
pub fn file_bytes(graph: &Graph) -> u64 {
    let model = Path::new(graph.source.file());
    let mut files = BTreeSet::from([model.to_owned()]);
    secateurs_onnx::for_each_tensor(&graph.source.proto, |_, tensor| {
        let location = tensor.external_data.iter().find(|entry| entry.key() == "location");
        files.extend(location.map(|entry| model.with_file_name(entry.value())));
    });
    files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|m| m.len()).sum()
}

fn staged(graph: &Graph, path: &Path) -> Result<Staged, GraphError> {
    Ok(stage(&graph.to_model(), path, &WriteOptions::default())?)
}

fn check(
    original: &Graph,
    applied: &Applied,
    smaller: &Staged,
    twin: Option<&Staged>,
    sizes: &Bindings,
) -> Result<f64, CheckError> {
    const SMALLER: &str = "the smaller model";
    const TWIN: &str = "the masked twin";
    let check = Check::new(original, sizes)?;
    let masked = match applied.exact || twin.is_some() {
        true => Some(check.expected(&applied.masked, TWIN)?),
        false => None,
    };
    let twins = match (twin, &masked) {
        (Some(twin), Some(masked)) => check.file(twin.path(), masked, TWIN)?,
        _ => 0.0,
    };
    let check = check.shrunk(&applied.ports)?;
    let expected = match masked.filter(|_| applied.exact) {
        Some(masked) => applied.ports.outputs(&masked).map_err(|e| CheckError::CannotRun(e.to_string()))?,
        None => check.expected(&applied.graph, SMALLER)?,
    };
    Ok(twins.max(check.file(smaller.path(), &expected, SMALLER)?))
}
