//! Errors by the exit code that they end with.

use std::process::ExitCode;

use secateurs::data::DataError;
use secateurs::pipeline::EvaluateError;
use secateurs::runtime::RuntimeError;
use secateurs_graph::GraphError;

/// Why a command ends without its result.
pub enum CliError {
    /// What we were given cannot be used: exit code 2.
    Input(String),
    /// We could not do it: exit code 1.
    Failed(String),
    /// The reader of our output went away; not worth a word.
    ClosedPipe,
}

pub type Result<T = (), E = CliError> = std::result::Result<T, E>;

impl CliError {
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            CliError::Input(text) => (text, 2),
            CliError::Failed(text) => (text, 1),
            CliError::ClosedPipe => return ExitCode::SUCCESS,
        };
        eprintln!("error: {text}");
        ExitCode::from(code)
    }
}

impl From<GraphError> for CliError {
    fn from(error: GraphError) -> CliError {
        match error {
            GraphError::Torch(_) => CliError::Failed(error.to_string()),
            _ => CliError::Input(error.to_string()),
        }
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> CliError {
        CliError::Input(error.to_string())
    }
}

impl From<RuntimeError> for CliError {
    fn from(error: RuntimeError) -> CliError {
        match error {
            RuntimeError::Model { .. } | RuntimeError::Run { .. } => CliError::Input(error.to_string()),
            _ => CliError::Failed(error.to_string()),
        }
    }
}

impl From<EvaluateError> for CliError {
    fn from(error: EvaluateError) -> CliError {
        match error {
            EvaluateError::Graph(e) => e.into(),
            EvaluateError::Data(e) => e.into(),
            EvaluateError::Runtime(e) => e.into(),
            other => CliError::Input(other.to_string()),
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> CliError {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => CliError::ClosedPipe,
            _ => CliError::Failed(error.to_string()),
        }
    }
}
