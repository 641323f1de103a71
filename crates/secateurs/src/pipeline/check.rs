//! Whether a model that was written computes what it should, in ONNX Runtime.

use std::path::Path;
use std::sync::Arc;

use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::surgery::Ports;
use secateurs_graph::{Bindings, Graph, GraphError};
use secateurs_onnx::Tensor;

use super::example::{Filling, example_inputs};
use crate::runtime::{
    Optimisation, OrtModel, RuntimeError, SessionOptions as RuntimeOptions, relative_difference,
};

/// The least tolerance, relative to an output's largest value.
const TOLERANCE: f64 = 1e-4;
/// Rounding differs more in deep models; this many times what the engines differ by on the original is rounding still.
const TIMES_ENGINES: f64 = 3.0;
/// Engines that differ by more on the original cannot tell right from wrong.
const MOST_ENGINES: f64 = 0.01;
const BATCH: i64 = 2;

/// Why a model was not found right.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It computes something else.
    #[error(
        "{what} differs from what it should compute: output '{output}' by {difference:.1e} of its largest value, where \
         {tolerance:.1e} is allowed; nothing was written. This is a fault of secateurs; please report it with the model"
    )]
    Differs {
        /// Which model.
        what: &'static str,
        /// The output.
        output: String,
        /// The relative difference.
        difference: f64,
        /// What would be rounding.
        tolerance: f64,
    },
    /// ONNX Runtime does not take the new model, though it took the original.
    #[error("{what} cannot be run, though the original can: {reason}; nothing was written")]
    Broken {
        /// Which model.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The original cannot be run on inputs that we can think of.
    #[error("the check could not run: {0}; --no-check writes the result without it")]
    CannotRun(String),
    /// ONNX Runtime or libtorch cannot be loaded.
    #[error("the check could not run: {0}. --no-check writes the result without it")]
    Engine(String),
}

/// What models are compared on: inputs, and how much the engines differ on the original.
pub struct Check {
    inputs: Vec<Tensor>,
    named: Vec<(String, Tensor)>,
    /// The tolerance of each output.
    tolerances: Vec<f64>,
}

impl Check {
    /// Runs the original in both engines, on random inputs of batch 2 and, should it fail, on zeros, or at the sizes as they are given.
    /// `sizes` are those of symbolic axes.
    pub fn new(graph: &Graph, sizes: &Bindings) -> Result<Check, CheckError> {
        let mut original = load(Path::new(graph.source.file())).map_err(|e| match e {
            e @ (RuntimeError::NotFound { .. } | RuntimeError::Load { .. }) => {
                CheckError::Engine(e.to_string())
            }
            e => CheckError::CannotRun(e.to_string()),
        })?;
        let session = session(graph).map_err(|e| match e {
            e @ GraphError::Torch(_) => CheckError::Engine(e.to_string()),
            e => CheckError::CannotRun(e.to_string()),
        })?;
        let mut first = None;
        // A first axis may need the size that it is given, and sizes that stand for nothing in particular may be too large for a table of
        // positions.
        for sizes in [check_sizes(graph, sizes, None), sizes.clone(), check_sizes(graph, sizes, Some(32))] {
            for filling in [Filling::Random, Filling::Zeros] {
                let tried = example_inputs(graph, &sizes, filling)
                    .and_then(|inputs| Check::try_on(graph, &session, &mut original, inputs));
                match tried {
                    Ok(check) => return Ok(check),
                    Err(reason) => first.get_or_insert(reason),
                };
            }
        }
        let reason = first.unwrap_or_default();
        Err(CheckError::CannotRun(format!("the model does not run on random inputs or zeros: {reason}")))
    }

    fn try_on(
        graph: &Graph,
        session: &Session,
        original: &mut OrtModel,
        inputs: Vec<Tensor>,
    ) -> Result<Check, String> {
        let names = graph.inputs.iter().map(|&v| graph.values[v].name.clone());
        let named: Vec<(String, Tensor)> = names.zip(inputs.iter().cloned()).collect();
        let theirs = original.run(&named).map_err(|e| e.to_string())?;
        let ours = session.run(&inputs).map_err(|e| e.to_string())?;
        let mut tolerances = Vec::with_capacity(ours.len());
        for (ours, (name, theirs)) in ours.iter().zip(&theirs) {
            let difference = relative_difference(theirs, ours);
            if difference.is_nan() || difference > MOST_ENGINES {
                let text = "ONNX Runtime and the interpreter differ on the original model, output";
                return Err(format!("{text} '{name}', by {difference:.1e} of its largest value"));
            }
            tolerances.push((TIMES_ENGINES * difference).max(TOLERANCE));
        }
        Ok(Check { inputs, named, tolerances })
    }

    /// What a graph computes, in the interpreter.
    pub fn expected(&self, graph: &Graph, what: &'static str) -> Result<Vec<Tensor>, CheckError> {
        let broken = |e: GraphError| CheckError::Broken { what, reason: e.to_string() };
        session(graph).and_then(|session| session.run(&self.inputs)).map_err(broken)
    }

    /// The same for a model whose inputs and outputs are these of the original's.
    pub fn shrunk(mut self, ports: &Ports) -> Result<Check, CheckError> {
        let inputs = ports.inputs(&self.inputs).map_err(|e| CheckError::CannotRun(e.to_string()))?;
        for ((_, named), input) in self.named.iter_mut().zip(&inputs) {
            *named = input.clone();
        }
        self.inputs = inputs;
        Ok(self)
    }

    /// Runs a file in ONNX Runtime and compares its outputs; the largest difference, relative to the output's largest value.
    pub fn file(&self, path: &Path, expected: &[Tensor], what: &'static str) -> Result<f64, CheckError> {
        let broken = |e: RuntimeError| CheckError::Broken { what, reason: e.to_string() };
        let outputs = load(path).and_then(|mut model| model.run(&self.named)).map_err(broken)?;
        let mut largest = 0f64;
        for (((output, found), expected), &tolerance) in outputs.iter().zip(expected).zip(&self.tolerances) {
            let difference = relative_difference(found, expected);
            if difference.is_nan() || difference > tolerance {
                return Err(CheckError::Differs { what, output: output.clone(), difference, tolerance });
            }
            largest = largest.max(difference);
        }
        Ok(largest)
    }
}

fn load(path: &Path) -> Result<OrtModel, RuntimeError> {
    OrtModel::load(path, &RuntimeOptions { optimisation: Optimisation::Off, ..RuntimeOptions::default() })
}

fn session(graph: &Graph) -> Result<Session, GraphError> {
    Session::new(Arc::new(graph.clone()), SessionOptions::default())
}

/// Batch 2 for the first axes, the sizes given (or `others`) for the rest.
fn check_sizes(graph: &Graph, sizes: &Bindings, others: Option<i64>) -> Bindings {
    let mut bound: Bindings = match others {
        Some(size) => sizes.keys().map(|name| (name.clone(), size)).collect(),
        None => sizes.clone(),
    };
    for &input in &graph.inputs {
        let first = graph.values[input].fact.shape.as_ref().and_then(|s| s.first());
        for symbol in first.map(|d| d.symbols()).unwrap_or_default() {
            bound.insert(symbol.to_string(), BATCH);
        }
    }
    bound
}
