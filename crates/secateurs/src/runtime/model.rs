//! One model in ONNX Runtime on the CPU.

use std::path::Path;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::DynValue;
use secateurs_onnx::Tensor;
use serde::{Deserialize, Serialize};

use super::error::{Result, RuntimeError};
use super::library::environment;
use super::value;
use crate::data::InputSpec;

/// Which graph optimisations ONNX Runtime may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// None: the model as it is written, for comparing numbers.
    Off,
    /// All of them, as deployed models run.
    All,
}

/// How a model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads within an operation; `None` for as many as there are cores.
    pub threads: Option<usize>,
    /// Graph optimisations.
    pub optimisation: Optimisation,
    /// Whether idle threads spin during a run, as they do by default in ONNX Runtime: faster, but they take the
    /// cores from everything else in the process. They stop when the run ends.
    pub spinning: bool,
}

impl Default for SessionOptions {
    /// All cores, all optimisations, no spinning.
    fn default() -> SessionOptions {
        SessionOptions { threads: None, optimisation: Optimisation::All, spinning: false }
    }
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct OrtModel {
    name: String,
    session: Session,
    inputs: Vec<InputSpec>,
    outputs: Vec<InputSpec>,
}

impl OrtModel {
    /// Loads a file; external data are found beside it.
    pub fn load(path: &Path, options: &SessionOptions) -> Result<OrtModel> {
        OrtModel::build(path.display().to_string(), options, |builder| builder.commit_from_file(path))
    }

    /// Loads a model from its bytes, which must hold all of its weights. `name` is what messages call it.
    pub fn from_bytes(name: &str, bytes: &[u8], options: &SessionOptions) -> Result<OrtModel> {
        OrtModel::build(name.to_owned(), options, |builder| builder.commit_from_memory(bytes))
    }

    fn build(
        name: String,
        options: &SessionOptions,
        commit: impl FnOnce(&mut SessionBuilder) -> ort::Result<Session>,
    ) -> Result<OrtModel> {
        let environment = environment()?;
        let session = builder(environment, options).and_then(|mut builder| commit(&mut builder));
        let error = |message: String| RuntimeError::Model { model: name.clone(), message };
        let session = session.map_err(|e| error(e.to_string()))?;
        let specs = |outlets: &[ort::value::Outlet]| {
            outlets
                .iter()
                .map(|outlet| value::spec(outlet.name(), outlet.dtype()))
                .collect::<Result<Vec<_>, _>>()
        };
        let inputs = specs(session.inputs()).map_err(&error)?;
        let outputs = specs(session.outputs()).map_err(&error)?;
        Ok(OrtModel { name, session, inputs, outputs })
    }

    /// The inputs in the model's order, without those that have a default value.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The outputs in the model's order; the first axis need not count samples.
    pub fn outputs(&self) -> &[InputSpec] {
        &self.outputs
    }

    /// Runs the model on inputs by name and returns all outputs in the model's order.
    pub fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let prepared = self.prepare(inputs)?;
        let error = |message: String| RuntimeError::Run { model: self.name.clone(), message };
        let outputs = self.session.run(prepared.by_name()).map_err(|e| error(e.to_string()))?;
        outputs
            .iter()
            .map(|(name, value)| match value::from_ort(value) {
                Ok(tensor) => Ok((name.to_owned(), tensor)),
                Err(message) => Err(error(format!("output '{name}' {message}"))),
            })
            .collect()
    }

    /// Copies inputs into ONNX Runtime, for runs that are timed.
    pub(super) fn prepare(&self, inputs: &[(String, Tensor)]) -> Result<Prepared> {
        if let Some(missing) =
            self.inputs.iter().find(|input| inputs.iter().all(|(name, _)| *name != input.name))
        {
            return Err(RuntimeError::Run {
                model: self.name.clone(),
                message: format!("there is no value for the input '{}', {missing}", missing.name),
            });
        }
        let convert = |(name, tensor): &(String, Tensor)| match value::to_ort(tensor) {
            Ok(value) => Ok((name.clone(), value)),
            Err(message) => Err(RuntimeError::Run {
                model: self.name.clone(),
                message: format!("input '{name}': {message}"),
            }),
        };
        Ok(Prepared(inputs.iter().map(convert).collect::<Result<_>>()?))
    }

    /// Runs the model and drops the outputs.
    pub(super) fn run_prepared(&mut self, inputs: &Prepared) -> Result<()> {
        match self.session.run(inputs.by_name()) {
            Ok(_) => Ok(()),
            Err(e) => Err(RuntimeError::Run { model: self.name.clone(), message: e.to_string() }),
        }
    }
}

/// Inputs in ONNX Runtime's memory.
pub(super) struct Prepared(Vec<(String, DynValue)>);

impl Prepared {
    fn by_name(&self) -> Vec<(&str, SessionInputValue<'_>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.into())).collect()
    }
}

fn builder(
    environment: &ort::environment::Environment,
    options: &SessionOptions,
) -> ort::Result<SessionBuilder> {
    let level = match options.optimisation {
        Optimisation::Off => GraphOptimizationLevel::Disable,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    let builder = Session::builder(environment)?
        .with_optimization_level(level)?
        .with_intra_threads(options.threads.unwrap_or(0))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spinning)?
        .with_config_entry("session.force_spinning_stop", "1")?;
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{Bytes, ElementType};

    use super::*;
    use crate::runtime::test_models::{identity, linear};

    const PLAIN: SessionOptions =
        SessionOptions { threads: Some(1), optimisation: Optimisation::Off, spinning: false };

    fn open(bytes: &[u8]) -> OrtModel {
        OrtModel::from_bytes("test", bytes, &PLAIN).unwrap()
    }

    #[test]
    fn a_matrix_product_is_right_from_memory_and_file() {
        let model = linear(2, 3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linear.onnx");
        std::fs::write(&path, &model).unwrap();
        let x = Tensor::from_slice(vec![2, 2], &[1.0_f32, 0.0, 2.0, 1.0]).unwrap();
        for mut model in [open(&model), OrtModel::load(&path, &SessionOptions::default()).unwrap()] {
            assert_eq!(model.inputs()[0].to_string(), "float32 [?, 2]");
            assert_eq!(model.outputs()[0].shape, [None, Some(3)]);
            let outputs = model.run(&[("x".to_owned(), x.clone())]).unwrap();
            // The weights are 0, 1, 2 and 3, 4, 5.
            assert_eq!(outputs[0].0, "y");
            assert_eq!(outputs[0].1.to_f64_vec().unwrap(), [0.0, 1.0, 2.0, 3.0, 6.0, 9.0]);
        }
    }

    #[test]
    fn every_numeric_type_passes_through_unchanged() {
        for element_type in [
            ElementType::Float32,
            ElementType::Float64,
            ElementType::Float16,
            ElementType::Bfloat16,
            ElementType::Int8,
            ElementType::Uint8,
            ElementType::Int16,
            ElementType::Uint16,
            ElementType::Int32,
            ElementType::Uint32,
            ElementType::Int64,
            ElementType::Uint64,
            ElementType::Bool,
        ] {
            let mut model = open(&identity(element_type));
            let length = element_type.byte_len(6).unwrap();
            let bytes: Vec<u8> = (0..length)
                .map(|i| if element_type == ElementType::Bool { i % 2 } else { i } as u8)
                .collect();
            for (shape, bytes) in [(vec![2, 3], bytes), (vec![0, 3], Vec::new())] {
                let tensor = Tensor::new(element_type, shape, Bytes::from(bytes)).unwrap();
                let outputs = model.run(&[("x".to_owned(), tensor.clone())]).unwrap();
                assert_eq!(outputs[0].1, tensor, "{element_type}");
            }
        }
    }

    #[test]
    fn strings_pass_through_unchanged() {
        let strings: Vec<Bytes> = vec!["a".into(), "".into(), "čž".into()];
        let tensor = Tensor::from_strings(vec![3, 1], strings).unwrap();
        let outputs = open(&identity(ElementType::String)).run(&[("x".to_owned(), tensor.clone())]).unwrap();
        assert_eq!(outputs[0].1, tensor);
    }

    #[test]
    fn a_bad_model_and_bad_inputs_are_errors_with_the_name() {
        let error = OrtModel::from_bytes("broken.onnx", b"no model", &PLAIN).unwrap_err().to_string();
        assert!(error.contains("broken.onnx"), "{error}");
        let mut model = open(&linear(2, 3));
        let wrong = Tensor::from_slice(vec![1, 5], &[0.0_f32; 5]).unwrap();
        let error = model.run(&[("x".to_owned(), wrong)]).unwrap_err().to_string();
        assert!(error.contains("cannot run"), "{error}");
        assert!(model.run(&[]).unwrap_err().to_string().contains("'x', float32 [?, 2]"));
        let float64 = Tensor::from_slice(vec![1, 2], &[0.0_f64; 2]).unwrap();
        assert!(model.run(&[("x".to_owned(), float64)]).is_err());
    }
}
