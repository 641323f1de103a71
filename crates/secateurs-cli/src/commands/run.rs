//! `secateurs run`: a model on arrays.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use secateurs::data::npz;
use secateurs::runtime::{Optimisation, OrtModel, SessionOptions as RuntimeOptions};
use secateurs_graph::Graph;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::Tensor;

use crate::arguments::{Engine, EngineArguments, ModelArguments, check_results};
use crate::error::{CliError, Result};

/// Run a model on arrays
///
/// The archive holds one array for every input of the model, under the input's name. The outputs are written under theirs.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    model: ModelArguments,
    /// The inputs: an .npz of arrays named as the model's inputs
    #[arg(long, value_name = "FILE.npz")]
    inputs: PathBuf,
    /// Where to write the outputs
    #[arg(short, long, value_name = "FILE.npz")]
    output: PathBuf,
    #[command(flatten)]
    engine: EngineArguments,
}

impl Run {
    pub fn run(self) -> Result {
        check_results(&[Some(&self.output)])?;
        let graph = self.model.read()?;
        let inputs = self.read_inputs(&graph)?;
        self.engine.prepare()?;
        let outputs = match self.engine.engine {
            Engine::Libtorch => {
                let options = SessionOptions {
                    device: self.engine.device.device,
                    precision: self.engine.precision(),
                    ..SessionOptions::default()
                };
                let graph = Arc::new(graph);
                let session = Session::new(graph.clone(), options)?;
                let tensors: Vec<Tensor> = inputs.into_iter().map(|(_, tensor)| tensor).collect();
                let path = Some(self.model.model.as_path());
                let outputs = session.run(&tensors).map_err(|e| e.in_file(path))?;
                let names = graph.outputs.iter().map(|&v| graph.values[v].name.clone());
                names.zip(outputs).collect::<Vec<_>>()
            }
            Engine::Onnxruntime => {
                let options = RuntimeOptions {
                    threads: self.engine.device.threads.map(Into::into),
                    optimisation: Optimisation::Off,
                    ..RuntimeOptions::default()
                };
                OrtModel::load(&self.model.model, &options)?.run(&inputs)?
            }
        };
        let arrays: Vec<(&str, &Tensor)> =
            outputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        npz::write(&self.output, &arrays).map_err(CliError::saving)?;
        let mut out = io::stdout().lock();
        for (name, tensor) in &outputs {
            writeln!(out, "{name} {}{:?}", tensor.element_type(), tensor.shape())?;
        }
        Ok(())
    }

    fn read_inputs(&self, graph: &Graph) -> Result<Vec<(String, Tensor)>> {
        let mut archive = npz::Archive::open(&self.inputs)?;
        let given = archive.names();
        let wanted: Vec<&str> = graph.inputs.iter().map(|&v| graph.values[v].name.as_str()).collect();
        let wrong = |text: String| CliError::Input(format!("{}: {text}", self.inputs.display()));
        if let Some(missing) = wanted.iter().find(|name| !given.iter().any(|g| g == *name)) {
            let text = format!("has no array '{missing}'; the model's inputs are {}", wanted.join(", "));
            return Err(wrong(format!("{text}, the arrays {}", given.join(", "))));
        }
        if let Some(extra) = given.iter().find(|g| !wanted.contains(&g.as_str())) {
            return Err(wrong(format!(
                "the model has no input '{extra}'; its inputs are {}",
                wanted.join(", ")
            )));
        }
        let mut inputs = Vec::new();
        for &id in &graph.inputs {
            let value = &graph.values[id];
            let tensor = archive.read(&value.name)?;
            let sizes: Vec<i64> = tensor.shape().iter().map(|&n| n as i64).collect();
            let fits = value.fact.element_type.is_none_or(|t| t == tensor.element_type())
                && value.fact.admits(&sizes);
            if !fits {
                let got = format!("{}{:?}", tensor.element_type(), tensor.shape());
                return Err(wrong(format!(
                    "array '{}' is {got}; the model takes {}",
                    value.name, value.fact
                )));
            }
            inputs.push((value.name.clone(), tensor));
        }
        Ok(inputs)
    }
}
