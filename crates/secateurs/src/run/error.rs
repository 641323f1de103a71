//! What can be wrong with the directory of a run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be used for a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory or something in it cannot be read or made.
    #[error("{}: {source}; choose another folder with -o, or make this one writable", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An artifact cannot be written.
    #[error(
        "{}: cannot be written: {source}; what was finished before is kept",
        path.display()
    )]
    Write {
        /// The artifact.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It lies in a folder of data.
    #[error(
        "{}: lies in the data folder {}, which would change with what is written there; choose a place outside of the data, as with -o ../run",
        path.display(),
        data.display()
    )]
    InData {
        /// The place for results.
        path: PathBuf,
        /// The folder of data.
        data: PathBuf,
    },
    /// It holds what another run is to begin with.
    #[error(
        "{}: lies in {}, which --restart empties; copy it to another place and name it there, or choose another folder with -o",
        file.display(),
        path.display()
    )]
    InRun {
        /// The directory.
        path: PathBuf,
        /// What is needed.
        file: PathBuf,
    },
    /// Another process has it.
    #[error(
        "{}: another process is at work in this run; wait for it to end, or choose another folder with -o",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is something else in it.
    #[error(
        "{}: is not empty and holds no run of secateurs ('{found}' is in it); choose another folder with -o", path.display()
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// An artifact that cannot be understood.
    #[error("{}{}: {reason}; --restart discards the run and begins anew", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Damaged {
        /// The artifact.
        path: PathBuf,
        /// The line, from 1, where there are lines.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// It holds a run with other settings.
    #[error(
        "{}: holds a run with other settings; give the settings of that run to go on with it, choose another folder with -o, or \
         discard it with --restart:{}",
        path.display(),
        differences.iter().map(|d| format!("\n  {d}")).collect::<String>()
    )]
    Differs {
        /// The directory.
        path: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
}

/// A setting that a run has otherwise than was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its key, as in `tune.epochs`.
    pub key: String,
    /// What the run has, as in its file; `None` where nothing is said.
    pub run: Option<String>,
    /// What was asked for.
    pub asked: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        write!(f, "{}: {} in the run, {} asked for", self.key, text(&self.run), text(&self.asked))
    }
}

impl RunError {
    /// An [`RunError::Io`] about `path`, for `map_err`.
    pub fn open(path: &Path) -> impl FnOnce(io::Error) -> RunError + '_ {
        move |source| RunError::Io { path: path.to_owned(), source }
    }

    /// A [`RunError::Write`] about `path`, for `map_err`.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> RunError + '_ {
        move |source| RunError::Write { path: path.to_owned(), source }
    }
}
