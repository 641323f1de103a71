//! The table of a model's layers, and the latency that it says a choice of units has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secateurs_graph::coupling::{Coupling, Layer, Remaining};
use secateurs_graph::graph::NodeId;
use secateurs_graph::{Bindings, Graph, GraphError};
use secateurs_onnx::{WriteOptions, write};

use super::cache::Times;
use super::curve::{Curve, Grid};
use crate::runtime::{LatencyJob, LatencyOptions, LatencyRequest, RuntimeError, Timing};

/// Times models; [`measure_in_child`](crate::runtime::measure_in_child) but in tests.
pub type Clock<'c> = dyn FnMut(&LatencyRequest) -> Result<Vec<Timing>, RuntimeError> + 'c;

/// So many layers are timed side by side.
const TOGETHER: usize = 16;
/// Runs of a layer, first and timed, at least; and for how long all of them go on.
const WARMUP: usize = 2;
const MIN_RUNS: usize = 8;
const SECONDS: f64 = 0.02 * TOGETHER as f64;
/// What a whole model may take of its time with nothing left of it: a measurement that says more is noise.
const MAX_FIXED: f64 = 0.95;

/// What is told while a table is measured; false ends it.
pub type TableProgress<'p> = dyn FnMut(usize, usize) -> bool + 'p;

/// The times of a model's layers at any widths.
pub struct LatencyTable {
    layers: Vec<(Layer, Curve)>,
    /// How many layers, at any width, had to be measured now.
    pub measured: usize,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A layer cannot be taken out of the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A temporary file.
    #[error("a layer cannot be written for timing: {0}")]
    Write(String),
    /// It was asked to stop; what was measured is kept.
    #[error("interrupted")]
    Interrupted,
}

impl LatencyTable {
    /// Measures what `times` does not know of the model's layers at `sizes`, and keeps it there.
    pub fn measure(
        graph: &Graph,
        coupling: &Coupling,
        sizes: &Bindings,
        times: &mut Times,
        threads: usize,
        clock: &mut Clock,
        progress: &mut TableProgress,
    ) -> Result<LatencyTable, TableError> {
        // Models are made again when they are timed: those of all widths together may be larger than memory.
        let mut wanted: BTreeMap<String, (NodeId, Vec<usize>)> = BTreeMap::new();
        let mut planned: Vec<(Layer, Grid, Vec<Option<String>>)> = Vec::new();
        for layer in coupling.layers(graph) {
            let grid = Grid::new(layer.full());
            let mut keys = Vec::new();
            for widths in grid.points() {
                let model = layer.model(graph, coupling, &widths, sizes)?;
                keys.push(model.as_ref().map(|model| model.key.clone()));
                let new = model.filter(|model| times.get(&model.key).is_none());
                wanted.extend(new.map(|model| (model.key, (layer.node, widths))));
            }
            planned.push((layer, grid, keys));
        }
        let total = wanted.len();
        let folder = tempfile::tempdir().map_err(|e| TableError::Write(e.to_string()))?;
        let wanted: Vec<(String, (NodeId, Vec<usize>))> = wanted.into_iter().collect();
        let options = LatencyOptions { threads, warmup: WARMUP, min_runs: MIN_RUNS, seconds: SECONDS };
        let mut time = |files: &[PathBuf]| {
            let jobs = files.iter().map(|file| LatencyJob { model: file.clone(), shapes: Vec::new() });
            let timings = clock(&LatencyRequest { jobs: jobs.collect(), options: options.clone() })?;
            // What disturbs a run makes it slower.
            Ok(timings.into_iter().map(|timing| timing.lower_quartile_ms).collect::<Vec<_>>())
        };
        let mut refused = None;
        for (done, chunk) in wanted.chunks(TOGETHER).enumerate() {
            if !progress(done * TOGETHER, total) {
                return Err(TableError::Interrupted);
            }
            let mut files = Vec::new();
            for (i, (_, (node, widths))) in chunk.iter().enumerate() {
                let layer = planned.iter().map(|(layer, ..)| layer).find(|layer| layer.node == *node);
                let model = layer.map(|layer| layer.model(graph, coupling, widths, sizes)).transpose()?;
                let file = folder.path().join(format!("layer{i}.onnx"));
                if let Some(model) = model.flatten() {
                    write(&model.model, &file, &WriteOptions::default())
                        .map_err(|e| TableError::Write(e.to_string()))?;
                }
                files.push(file);
            }
            let keys = chunk.iter().map(|(key, _)| key.clone());
            match time(&files) {
                Ok(found) => times.extend(keys.zip(found)),
                // One that ONNX Runtime does not take must not cost the others their times.
                Err(error @ (RuntimeError::NotFound { .. } | RuntimeError::Load { .. })) => {
                    return Err(error.into());
                }
                Err(error) => {
                    for (key, file) in keys.zip(&files) {
                        times.extend(time(std::slice::from_ref(file)).ok().map(|found| (key, found[0])));
                    }
                    refused = Some(error);
                }
            }
            times.save();
        }
        progress(total, total);
        let mut layers = Vec::new();
        for (layer, grid, keys) in planned {
            let found = keys.iter().map(|key| key.as_ref().and_then(|key| times.get(key)));
            layers.extend(grid.curve(found.collect()).map(|curve| (layer, curve)));
        }
        match refused {
            Some(error) if layers.is_empty() => Err(error.into()),
            _ => Ok(LatencyTable { layers, measured: total }),
        }
    }

    /// The sum over the layers, in milliseconds.
    pub fn sum(&self, remaining: &Remaining) -> f64 {
        self.layers.iter().map(|(layer, curve)| curve.milliseconds(&layer.widths(remaining))).sum()
    }

    /// Whether any layer was timed.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

/// The latency of a choice: what the table says in proportion to the whole model's measured time, of which a share is taken not to
/// shrink. The table does not know of nodes without multiply–accumulates, nor of implants, which it counts like units that stay as they
/// are: that share, and what implants take beyond it, are found by measuring smaller models.
pub struct Estimate<'t> {
    table: &'t LatencyTable,
    whole: f64,
    /// The whole model as measured, in milliseconds.
    pub original_ms: f64,
    /// The share of its time that stays, whatever goes.
    fixed: f64,
    /// The share of its time that each index of an implanted unit takes beyond what it took.
    implanted: f64,
}

impl<'t> Estimate<'t> {
    /// An estimate by a whole model that takes `original_ms`.
    pub fn new(table: &'t LatencyTable, all: &Remaining, original_ms: f64) -> Estimate<'t> {
        Estimate { table, whole: table.sum(all), original_ms, fixed: 0.0, implanted: 0.0 }
    }

    /// Milliseconds of a choice.
    pub fn milliseconds(&self, remaining: &Remaining) -> f64 {
        let share = self.without_implants(remaining) + self.implanted * remaining.implants() as f64;
        self.original_ms * share.max(1e-3)
    }

    /// Learns that a choice takes `ratio` of the original's time. With implants it says what they take, as nothing of that stays
    /// where there are none.
    pub fn correct(&mut self, remaining: &Remaining, ratio: f64) {
        let (layers, implants) = (self.layers(remaining), remaining.implants());
        if !ratio.is_finite() {
            return;
        }
        if implants > 0 {
            self.implanted = (ratio - self.without_implants(remaining)) / implants as f64;
        } else if layers < 1.0 {
            self.fixed = ((ratio - layers) / (1.0 - layers)).min(MAX_FIXED);
        }
    }

    /// The share of the time that a choice takes if its implants take what they took.
    fn without_implants(&self, remaining: &Remaining) -> f64 {
        self.fixed + (1.0 - self.fixed) * self.layers(remaining)
    }

    /// What is left of the sum over the layers.
    fn layers(&self, remaining: &Remaining) -> f64 {
        self.table.sum(remaining) / self.whole
    }
}
