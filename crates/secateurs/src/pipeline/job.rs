//! What a run in a directory is told, what it tells, and how it fails.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use secateurs_graph::{Bindings, Graph, GraphError};
use secateurs_torch::tch::Device;

use super::apply::ApplyError;
use super::evaluate::EvaluateError;
use super::latency::LatencyError;
use super::plan::PlanningError;
use super::write::WriteError;
use crate::compensate::CompensateError;
use crate::data::DataError;
use crate::evidence::EvidenceError;
use crate::plan::PlanError;
use crate::recipe::Settings;
use crate::run::RunError;
use crate::runtime::RuntimeError;
use crate::search::SelectError;
use crate::tune::{Event, TuneError, WeightedOutput};

/// What [`compress`](super::compress()) and [`tune_run`](super::tune_run()) work on.
#[derive(Clone)]
pub struct RunJob<'a> {
    /// The model, read from its file, with symbolic sizes as they are.
    pub graph: &'a Graph,
    /// The training data, of which a part is held out for choices where there are no data for them.
    pub data: &'a Path,
    /// Data for choices, on which nothing is trained.
    pub validation: Option<&'a Path>,
    /// The test data, which no choice depends on.
    pub test: Option<&'a Path>,
    /// What units were found to be worth before; `None` where that is measured in the run.
    pub evidence: Option<&'a Path>,
    /// A folder in which what the original answers in training is kept, for further runs.
    pub teacher_cache: Option<&'a Path>,
    /// The directory of the run.
    pub folder: &'a Path,
    /// All settings.
    pub settings: &'a Settings,
    /// Sizes to bind for counting MACs and measuring latency.
    pub sizes: Bindings,
    /// The outputs that are looked at, the one that labels are for first; all of floats where none is named.
    pub outputs: &'a [WeightedOutput],
    /// Where libtorch computes.
    pub device: Device,
    /// Its threads, which must be set already.
    pub threads: usize,
    /// Whether another run in the directory is discarded.
    pub restart: bool,
    /// Whether models are run in ONNX Runtime and compared before they get their names.
    pub check: bool,
    /// The program, and its arguments, that calls [`latency_child`](crate::runtime::latency_child).
    pub latency_child: (&'a Path, &'a [&'a str]),
    /// The command line, for the report.
    pub command: &'a [String],
}

/// A part of a run that is done as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A model is scored on data.
    Score,
    /// Units are measured.
    Measure,
    /// Units are chosen.
    Plan,
    /// They are removed, and the smaller model is checked.
    Prune,
    /// What is left takes over from what went.
    Compensate,
    /// The model is trained.
    Tune,
    /// The trained model is checked and written.
    Write,
    /// Latency is measured.
    Latency,
    /// The report is written.
    Report,
}

/// What a run tells while it works.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A stage begins.
    Begins {
        /// Which.
        stage: Stage,
        /// What is done, for people.
        what: String,
        /// How many samples, or layers that are timed or fitted, are gone through; 0 where that is not what takes time.
        samples: usize,
    },
    /// So many samples, or layers, more are done.
    Samples(usize),
    /// The training goes on.
    Tuning(&'a Event),
    /// A smaller model was tried on the way to the choice, and this came of it.
    Tried(&'a str),
    /// Nothing is left to do, as the run was finished then.
    WasFinished(&'a str),
}

/// What is told of a run; `Break` ends it between stages and within training, to be gone on with.
pub type Observe<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Why a run ends without its result. What was finished is kept.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Settings that are missing or make no sense.
    #[error("{0}")]
    Settings(String),
    /// The directory.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The data do not fit the model.
    #[error(transparent)]
    Evaluate(Box<EvaluateError>),
    /// The data.
    #[error(transparent)]
    Data(Box<DataError>),
    /// There is no plan.
    #[error("{}: {source}", model.display())]
    Planning {
        /// The model.
        model: PathBuf,
        /// Why.
        source: PlanningError,
    },
    /// Every smaller model loses too much of the metric.
    #[error("{0}")]
    TooMuchLost(String),
    /// The plan in the directory.
    #[error(transparent)]
    Plan(PlanError),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A model was not found right.
    #[error(transparent)]
    Write(WriteError),
    /// Measuring.
    #[error(transparent)]
    Evidence(Box<EvidenceError>),
    /// Compensating.
    #[error(transparent)]
    Compensate(Box<CompensateError>),
    /// Tuning, or scoring.
    #[error(transparent)]
    Tune(Box<TuneError>),
    /// A model cannot be timed.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The observer asked to stop.
    #[error("interrupted; the same command goes on")]
    Interrupted,
}

impl JobError {
    /// Whether no choice meets the budget.
    pub(super) fn is_unmeetable(&self) -> bool {
        let JobError::Planning { source, .. } = self else { return false };
        matches!(source, PlanningError::Select(SelectError::Unmeetable { .. }))
    }
}

/// What cannot be written has one message, whoever wrote it.
fn unwritten(path: PathBuf, source: std::io::Error) -> JobError {
    JobError::Run(RunError::Write { path, source })
}

impl From<EvaluateError> for JobError {
    fn from(error: EvaluateError) -> JobError {
        JobError::Evaluate(Box::new(error))
    }
}

impl From<DataError> for JobError {
    fn from(error: DataError) -> JobError {
        JobError::Data(Box::new(error))
    }
}

impl From<WriteError> for JobError {
    fn from(error: WriteError) -> JobError {
        match error {
            WriteError::Graph(GraphError::Onnx(error)) => match *error {
                secateurs_onnx::Error::Io { path, cause, .. } => unwritten(path, cause),
                error => JobError::Graph(error.into()),
            },
            error => JobError::Write(error),
        }
    }
}

impl From<TuneError> for JobError {
    fn from(error: TuneError) -> JobError {
        match error {
            TuneError::Write { path, source } => unwritten(path, source),
            TuneError::Interrupted { .. } => JobError::Interrupted,
            error => JobError::Tune(Box::new(error)),
        }
    }
}

impl From<CompensateError> for JobError {
    fn from(error: CompensateError) -> JobError {
        match error {
            CompensateError::Interrupted => JobError::Interrupted,
            error => JobError::Compensate(Box::new(error)),
        }
    }
}

impl From<EvidenceError> for JobError {
    fn from(error: EvidenceError) -> JobError {
        match error {
            EvidenceError::Write { path, source } => unwritten(path, source),
            EvidenceError::Interrupted { .. } => JobError::Interrupted,
            error => JobError::Evidence(Box::new(error)),
        }
    }
}

impl From<PlanError> for JobError {
    fn from(error: PlanError) -> JobError {
        match error {
            PlanError::Write { path, source } => unwritten(path, source),
            error => JobError::Plan(error),
        }
    }
}
