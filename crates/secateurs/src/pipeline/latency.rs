//! What shapes a model's latency is measured at.

use std::path::{Path, PathBuf};

use secateurs_graph::{Bindings, Dim, Graph};

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

/// The batch sizes that a model is timed at; limits hold at the first. It is the one that the model fixes or `sizes` bind, and where
/// the model's batch is open those that were `asked` for.
pub(super) fn batches(graph: &Graph, asked: &[usize], sizes: &Bindings) -> Vec<usize> {
    let symbols = batch_symbols(graph);
    let (first, others) = match symbols.is_empty() {
        true => (first_axes(graph).next().and_then(Dim::known).or(Some(1)), &[][..]),
        false => (symbols.iter().find_map(|symbol| sizes.get(symbol).copied()), asked),
    };
    let first = first.map(|n| n as usize).filter(|_| !asked.is_empty());
    first.into_iter().chain(others.iter().copied().filter(|batch| Some(*batch) != first)).collect()
}

/// The symbolic sizes of the inputs' first axes, which count samples.
pub(super) fn batch_symbols(graph: &Graph) -> Vec<String> {
    first_axes(graph).flat_map(Dim::symbols).map(|symbol| symbol.to_string()).collect()
}

fn first_axes(graph: &Graph) -> impl Iterator<Item = &Dim> {
    graph.inputs.iter().filter_map(|&input| graph.values[input].fact.shape.as_ref()?.first())
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder};

    use super::*;

    #[test]
    fn models_are_timed_at_the_batch_that_they_fix_or_that_is_bound_and_where_it_is_open_at_all_that_are_asked_for()
     {
        let graph = |batch: &str| {
            let model = ModelBuilder::new(17).input("x", ElementType::Float32, &[batch, "4"]);
            Graph::from_model(model.node("Relu", &["x"], &["y"]).output("y").build().unwrap()).unwrap()
        };
        let bound = |n| Bindings::from([("batch".into(), n)]);
        assert_eq!(batches(&graph("16"), &[1, 32], &Bindings::new()), [16]);
        assert_eq!(batches(&graph("batch"), &[1, 32], &Bindings::new()), [1, 32]);
        assert_eq!(batches(&graph("batch"), &[1, 32], &bound(8)), [8, 1, 32]);
        assert_eq!(batches(&graph("batch"), &[1, 32], &bound(32)), [32, 1]);
        // With --no-latency.
        assert_eq!(batches(&graph("16"), &[], &bound(8)), [0; 0]);
    }
}
