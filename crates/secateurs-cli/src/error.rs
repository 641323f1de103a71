//! Errors by the exit code that they end with.

use std::path::Path;
use std::process::ExitCode;

use secateurs::compensate::CompensateError;
use secateurs::data::DataError;
use secateurs::evidence::EvidenceError;
use secateurs::pipeline::{
    ApplyError, CheckError, EvaluateError, JobError, LatencyError, PlanningError, WriteError,
};
use secateurs::plan::PlanError;
use secateurs::recipe::RecipeError;
use secateurs::run::RunError;
use secateurs::runtime::RuntimeError;
use secateurs::search::SelectError;
use secateurs::tune::TuneError;
use secateurs_graph::GraphError;

use crate::interrupt;
use crate::progress::say;

/// Why a command ends without its result.
pub enum CliError {
    /// What we were given cannot be used: exit code 2.
    Input(String),
    /// We could not do it: exit code 1.
    Failed(String),
    /// The budget cannot be met: exit code 3.
    Budget(String),
    /// A signal ended it.
    Interrupted,
    /// The reader of our output went away; not worth a word.
    ClosedPipe,
}

pub type Result<T = (), E = CliError> = std::result::Result<T, E>;

impl CliError {
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            CliError::Input(text) => (text, 2),
            CliError::Failed(text) => (text, 1),
            CliError::Budget(text) => (text, 3),
            CliError::Interrupted => {
                say(interrupt::message());
                return ExitCode::from(interrupt::EXIT_CODE);
            }
            CliError::ClosedPipe => return ExitCode::SUCCESS,
        };
        say(format_args!("error: {text}"));
        ExitCode::from(code)
    }

    /// Why a model has no plan.
    pub fn planning(error: PlanningError, model: &Path) -> CliError {
        let text = format!("{}: {error}", model.display());
        match error {
            PlanningError::Select(SelectError::Unmeetable { .. }) => CliError::Budget(text),
            PlanningError::Interrupted => CliError::Interrupted,
            PlanningError::Runtime(error) if !blames_the_model(&error) => CliError::Failed(text),
            _ => CliError::Input(text),
        }
    }

    /// Why arrays are not written, where what they are made of is not at fault.
    pub fn saving(error: DataError) -> CliError {
        match error {
            DataError::Io { .. } | DataError::Array { .. } => CliError::Failed(error.to_string()),
            error => error.into(),
        }
    }

    /// Why a plan cannot be applied to a model.
    pub fn applying(error: ApplyError, model: &Path, plan: Option<&Path>) -> CliError {
        match (error, plan) {
            (ApplyError::Plan(error), Some(plan)) => error.in_file(plan).into(),
            (ApplyError::Plan(error), None) => error.into(),
            (ApplyError::Implants(error), _) => (*error).into(),
            (ApplyError::Graph(error), _) => error.in_file(Some(model)).into(),
        }
    }
}

impl CliError {
    /// Why a run ended without its result.
    pub fn job(error: JobError, model: &Path) -> CliError {
        match error {
            JobError::Settings(text) => CliError::Input(text),
            JobError::Run(error) => error.into(),
            JobError::Evaluate(error) => (*error).into(),
            JobError::Data(error) => (*error).into(),
            JobError::TooMuchLost(text) => CliError::Budget(text),
            JobError::Planning { model, source } => CliError::planning(source, &model),
            JobError::Plan(error) => error.into(),
            JobError::Apply(error) => CliError::applying(error, model, None),
            JobError::Write(error) => error.into(),
            JobError::Evidence(error) => (*error).into(),
            JobError::Compensate(error) => (*error).into(),
            JobError::Tune(error) => (*error).into(),
            JobError::Latency(error) => error.into(),
            JobError::Runtime(error) => error.into(),
            JobError::Graph(error) => error.into(),
            JobError::Interrupted => CliError::Interrupted,
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> CliError {
        match error {
            RunError::Write { .. } => {
                CliError::Failed(format!("{error}. Once there is room, {}", interrupt::remedy()))
            }
            error => CliError::Input(error.to_string()),
        }
    }
}

impl From<TuneError> for CliError {
    fn from(error: TuneError) -> CliError {
        match error {
            TuneError::Graph(error) => error.into(),
            TuneError::Data(error) => error.into(),
            error @ TuneError::Diverged { .. } => CliError::Failed(error.to_string()),
            error => CliError::Input(error.to_string()),
        }
    }
}

impl From<CompensateError> for CliError {
    fn from(error: CompensateError) -> CliError {
        match error {
            CompensateError::Graph(error) => error.into(),
            CompensateError::Data(error) => error.into(),
            CompensateError::Inputs(error) => error.into(),
            error @ CompensateError::NotFinite { .. } => CliError::Input(error.to_string()),
            CompensateError::Options(text) => CliError::Input(text),
            CompensateError::Interrupted => CliError::Interrupted,
            CompensateError::Torch(error) => CliError::Failed(error.to_string()),
        }
    }
}

impl From<EvidenceError> for CliError {
    fn from(error: EvidenceError) -> CliError {
        match error {
            EvidenceError::Graph(error) => error.into(),
            EvidenceError::Data(error) => error.into(),
            EvidenceError::Outputs(error) => error.into(),
            EvidenceError::Write { .. } | EvidenceError::Torch(_) => CliError::Failed(error.to_string()),
            error => CliError::Input(error.to_string()),
        }
    }
}

impl From<LatencyError> for CliError {
    fn from(error: LatencyError) -> CliError {
        CliError::Input(error.to_string())
    }
}

impl From<RecipeError> for CliError {
    fn from(error: RecipeError) -> CliError {
        CliError::Input(error.to_string())
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

/// Whether ONNX Runtime is there and at work, and what it was given is at fault.
fn blames_the_model(error: &RuntimeError) -> bool {
    matches!(error, RuntimeError::Model { .. } | RuntimeError::Run { .. })
}

impl From<RuntimeError> for CliError {
    fn from(error: RuntimeError) -> CliError {
        match blames_the_model(&error) {
            true => CliError::Input(error.to_string()),
            false => CliError::Failed(error.to_string()),
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

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> CliError {
        match error {
            PlanError::Write { .. } => CliError::Failed(error.to_string()),
            _ => CliError::Input(error.to_string()),
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> CliError {
        match error {
            WriteError::Check(e) => e.into(),
            WriteError::Graph(GraphError::Onnx(e)) if matches!(*e, secateurs_onnx::Error::Io { .. }) => {
                CliError::Failed(e.to_string())
            }
            WriteError::Graph(e) => e.into(),
        }
    }
}

impl From<CheckError> for CliError {
    fn from(error: CheckError) -> CliError {
        CliError::Failed(error.to_string())
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
