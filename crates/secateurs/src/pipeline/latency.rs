//! What shapes a model's latency is measured at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// A model with a number for every size of its inputs: `sizes`, and `batch` for first axes where they do not say it.
/// The model is that of `file`, which computes at the shapes of `graph`.
pub fn latency_job(
    graph: &Graph,
    file: &Path,
    batch: usize,
    sizes: &Bindings,
) -> Result<LatencyJob, LatencyError> {
    let model = || file.to_owned();
    let bound = with_batch(graph, batch, sizes);
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

/// Sizes with `batch` for first axes where they do not say it.
pub(super) fn with_batch(graph: &Graph, batch: usize, sizes: &Bindings) -> Bindings {
    let symbols = first_axes(graph).flat_map(Dim::symbols).map(|symbol| (symbol.to_string(), batch as i64));
    symbols.chain(sizes.clone()).collect()
}

/// The same for another batch than the first of [`batches`]: what is bound to that is changed with it. First axes that are bound to
/// something else do not count samples.
pub(super) fn at_batch(graph: &Graph, batch: usize, sizes: &Bindings) -> Bindings {
    let symbols = batch_symbols(graph);
    let first = symbols.iter().find_map(|symbol| sizes.get(symbol)).copied();
    let others = sizes.iter().filter(|(symbol, size)| Some(**size) != first || !symbols.contains(symbol));
    with_batch(graph, batch, &others.map(|(symbol, size)| (symbol.clone(), *size)).collect())
}

/// Whether a model takes a batch of one size alone.
pub(super) fn fixes_batch(graph: &Graph) -> bool {
    batch_symbols(graph).is_empty()
}

/// The symbolic sizes that count samples: of the inputs' first axes, but for those that count something within a sample elsewhere, as the
/// length of texts does.
fn batch_symbols(graph: &Graph) -> Vec<String> {
    let shapes = || graph.inputs.iter().filter_map(|&input| graph.values[input].fact.shape.as_ref());
    let within: Vec<Arc<str>> = shapes().flat_map(|s| s.iter().skip(1)).flat_map(Dim::symbols).collect();
    let all: Vec<Arc<str>> = first_axes(graph).flat_map(Dim::symbols).collect();
    let own: Vec<&Arc<str>> = all.iter().filter(|symbol| !within.contains(symbol)).collect();
    let symbols = if own.is_empty() { all.iter().collect() } else { own };
    symbols.into_iter().map(|symbol| symbol.to_string()).collect()
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

    fn shaped(inputs: &[(&str, &[&str])]) -> Graph {
        let model = inputs.iter().fold(ModelBuilder::new(17), |model, &(name, shape)| {
            model.input(name, ElementType::Float32, shape)
        });
        let model = inputs.iter().fold(model, |model, &(name, _)| {
            let output = format!("{name}-output");
            model.node("Relu", &[name], &[&output]).output(&output)
        });
        Graph::from_model(model.build().unwrap()).unwrap()
    }

    fn shapes(graph: &Graph, batch: usize, sizes: &[(&str, i64)]) -> Vec<Vec<usize>> {
        let sizes = sizes.iter().map(|(symbol, size)| ((*symbol).into(), *size)).collect();
        let job = latency_job(graph, Path::new("m.onnx"), batch, &sizes).unwrap();
        job.shapes.into_iter().map(|(_, shape)| shape).collect()
    }

    #[test]
    fn sizes_that_are_bound_are_kept_also_where_they_are_those_of_first_axes() {
        let texts = shaped(&[("positions", &["len"]), ("ids", &["batch", "len"])]);
        assert_eq!(shapes(&texts, 1, &[("batch", 1), ("len", 128)]), [vec![128], vec![1, 128]]);
        assert_eq!(shapes(&texts, 4, &[("len", 128)]), [vec![128], vec![4, 128]]);
        assert_eq!(shapes(&texts, 4, &[]), [vec![4], vec![4, 4]]);
        let bound = Bindings::from([("batch".into(), 1), ("len".into(), 128)]);
        assert_eq!(batches(&texts, &[1, 32], &bound), [1, 32]);
        assert_eq!(at_batch(&texts, 32, &bound), Bindings::from([("batch".into(), 32), ("len".into(), 128)]));
        let table = shaped(&[("x", &["n", "4"]), ("table", &["m", "4"])]);
        let bound = Bindings::from([("n".into(), 8), ("m".into(), 100)]);
        assert_eq!(shapes(&table, 8, &[("n", 8), ("m", 100)]), [vec![8, 4], vec![100, 4]]);
        assert_eq!(at_batch(&table, 32, &bound), Bindings::from([("n".into(), 32), ("m".into(), 100)]));
        // As exporters that name no axes have them.
        let anonymous = shaped(&[("x", &["x.0", "4"]), ("y", &["y.0", "4"])]);
        assert_eq!(shapes(&anonymous, 3, &[]), [vec![3, 4], vec![3, 4]]);
        let bound = Bindings::from([("x.0".into(), 8), ("y.0".into(), 8)]);
        assert_eq!(
            at_batch(&anonymous, 32, &bound),
            Bindings::from([("x.0".into(), 32), ("y.0".into(), 32)])
        );
        assert_eq!(shapes(&shaped(&[("x", &["n", "n"])]), 3, &[]), [vec![3, 3]]);
    }
}
