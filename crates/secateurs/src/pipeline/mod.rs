//! The way of the data, one public function a step. Command line and Python package call only these.

mod apply;
mod check;
mod choosing;
mod chosen;
mod collected;
mod compress;
mod early;
mod environment;
mod evaluate;
mod example;
mod job;
mod latency;
mod ledger;
mod lossless;
mod metric_drop;
mod nearer;
mod outcome;
#[cfg(test)]
mod parts_test;
mod plan;
mod record;
#[cfg(test)]
mod resumed_test;
mod samples;
mod sensitivity;
mod stages;
mod steps;
mod stored;
mod teacher;
#[cfg(test)]
mod text_test;
mod timed;
mod token_limits;
mod trials;
mod tune;
mod write;
#[cfg(test)]
mod write_test;

pub use apply::{Applied, ApplyError, apply, apply_from};
pub use check::CheckError;
pub use collected::Collected;
pub use compress::compress;
pub use evaluate::{Engine, EvaluateError, EvaluateOptions, Evaluation, evaluate};
pub use job::{JobError, Observe, Progress, RunJob, Stage};
pub use latency::{LatencyError, latency_job};
#[cfg(test)]
pub(crate) use metric_drop::furthest;
pub use plan::{PlanOptions, PlanParts, PlanningError, dim_json, macs_sizes, plan};
pub use sensitivity::write_sensitivity;
pub use timed::{ROUNDS, Stopwatch, TimedProgress, WITHIN, child_clock, plan_timed};
pub use tune::tune_run;
pub use write::{
    CheckOptions, WriteAppliedOptions, WriteError, Written, file_bytes, write_applied, write_checked,
};

use std::path::Path;

use secateurs_graph::rewrite::free_batch;
use secateurs_graph::{Graph, ValueId};

use crate::data::{DataError, DataOptions, Dataset, InputSpec, Labels};
use crate::tune::{Head, Objective, labelled_output};

/// The inputs of a model as data are bound to them.
pub fn input_specs(graph: &Graph) -> Result<Vec<InputSpec>, DataError> {
    let spec = |&id: &ValueId| {
        let value = &graph.values[id];
        let (Some(element_type), Some(shape)) = (value.fact.element_type, &value.fact.shape) else {
            return Err(DataError::Options(format!(
                "the model does not say what its input '{}' is ({}); export it with typed inputs, or give --shape",
                value.name, value.fact
            )));
        };
        let shape = shape.iter().map(|dim| dim.known().map(|n| n as usize)).collect();
        Ok(InputSpec { name: value.name.clone(), element_type, shape })
    };
    graph.inputs.iter().map(spec).collect()
}

/// Opens data for a model that the interpreter runs, which computes batches of any size where the model [can](free_batch): checks the first
/// sample against its inputs, and the labels against what the output that they are for is taken for.
pub fn open_data(
    graph: &Graph,
    path: &Path,
    options: &DataOptions,
    output: Option<&str>,
    objective: Objective,
) -> Result<Dataset, EvaluateError> {
    open_fixed_data(free_batch(graph).as_ref().unwrap_or(graph), path, options, output, objective)
}

/// The same in batches of the size that the model fixes, as ONNX Runtime takes them.
pub fn open_fixed_data(
    graph: &Graph,
    path: &Path,
    options: &DataOptions,
    output: Option<&str>,
    objective: Objective,
) -> Result<Dataset, EvaluateError> {
    let output = labelled_output(graph, output)?;
    let kind = |labels: &Labels| Head::of(graph, output, Some(labels), objective).label_kind(graph);
    let inputs = input_specs(graph)?;
    if !DataOptions::reads_texts(path) {
        return Ok(Dataset::open(path, options, &inputs, kind)?);
    }
    let token_limits = token_limits::token_limits(graph, options.max_length);
    let options = DataOptions { token_limits, ..options.clone() };
    Ok(Dataset::open(path, &options, &inputs, kind)?)
}
