//! What can be wrong with a plan.

use std::path::{Path, PathBuf};

use crate::resizable::ResizableError;

/// Why a plan cannot be read, written or applied.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The plan's file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The plan's file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a plan.
    #[error("{}: not a plan of secateurs: {reason}; make one with `secateurs plan`", path.display())]
    Format {
        /// The plan's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A plan of a later format.
    #[error(
        "{}: the plan has format version {found}, this program reads {} to {}; use a newer secateurs, or make the plan again",
        path.display(),
        super::OLDEST_VERSION,
        super::FORMAT_VERSION
    )]
    Version {
        /// The plan's file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A group of a plan that is no choice of units.
    #[error("the plan's group of '{group}' {problem}")]
    Group {
        /// Its first parameter.
        group: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A node that cannot compute implanted units.
    #[error("the plan's implant at '{node}' {problem}")]
    Implant {
        /// The node, as the plan names it.
        node: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// Implants for a model that has no place for them.
    #[error("the model has {0}; make a plan without implants")]
    NoSites(String),
    /// Inputs and outputs that cannot shrink.
    #[error(transparent)]
    Resizable(#[from] ResizableError),
    /// A plan for another model.
    #[error(
        "the plan is for another model: '{file}' with hash {wanted}…, this one has {found}…; \
         give that model, or make a plan for this one"
    )]
    OtherModel {
        /// The file that the plan was made for.
        file: String,
        /// The start of its hash.
        wanted: String,
        /// The start of the model's.
        found: String,
    },
    /// An error in a plan that came from a file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The plan's file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<PlanError>,
    },
}

impl PlanError {
    /// Names the file that the error is about.
    pub fn in_file(self, path: &Path) -> PlanError {
        match self {
            PlanError::Group { .. }
            | PlanError::Implant { .. }
            | PlanError::NoSites(_)
            | PlanError::Resizable(_)
            | PlanError::OtherModel { .. } => PlanError::InFile { path: path.into(), source: Box::new(self) },
            named => named,
        }
    }
}
