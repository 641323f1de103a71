//! What shapes a model's latency is measured at.

use std::path::{Path, PathBuf};

use secateurs_graph::{Bindings, Graph};

use crate::runtime::LatencyJob;

/// Why a model cannot be timed.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// An input of which nothing is known.
    #[error("{}: input '{input}' has no shape; give it one with --shape {input}=N,…", model.display())]
    NoShape {
        /// The model.
        model: PathBuf,
        /// The input.
        input: String,
    },
    /// A size that is no number.
    #[error("{}: input '{input}' has the symbolic size {size}; bind it with --dim {size}=N", model.display())]
    Symbolic {
        /// The model.
        model: PathBuf,
        /// The input.
        input: String,
        /// The size.
        size: String,
    },
}

/// A model with a number for every size of its inputs: `batch` for the first axes where they are symbolic, `sizes` for others.
/// The model is that of `file`, which computes at the shapes of `graph`.
pub fn latency_job(
    graph: &Graph,
    file: &Path,
    batch: usize,
    sizes: &Bindings,
) -> Result<LatencyJob, LatencyError> {
    let model = || file.to_owned();
    let mut bound = sizes.clone();
    bound.extend(batch_symbols(graph).into_iter().map(|symbol| (symbol, batch as i64)));
    let shapes = graph.inputs.iter().map(|&input| {
        let value = &graph.values[input];
        let name = || value.name.clone();
        let shape = value.fact.shape.as_ref();
        let shape = shape.ok_or_else(|| LatencyError::NoShape { model: model(), input: name() })?;
        let sizes = shape.iter().map(|dim| {
            let bound = dim.bind(&bound);
            let size = bound.known().map(|n| n as usize);
            size.ok_or_else(|| LatencyError::Symbolic {
                model: model(),
                input: name(),
                size: bound.to_string(),
            })
        });
        Ok((name(), sizes.collect::<Result<Vec<_>, _>>()?))
    });
    Ok(LatencyJob { shapes: shapes.collect::<Result<_, _>>()?, model: model() })
}

/// The symbolic sizes of the inputs' first axes, which count samples.
pub(super) fn batch_symbols(graph: &Graph) -> Vec<String> {
    let firsts = graph.inputs.iter().filter_map(|&input| graph.values[input].fact.shape.as_ref()?.first());
    firsts.flat_map(|dim| dim.symbols()).map(|symbol| symbol.to_string()).collect()
}
