//! A run as a directory: what was asked for, what has been done, and what came of it.
//!
//! Every artifact is written whole under a temporary name and renamed, so that a run can be killed at any moment and the same
//! command goes on. The log (`metrics.jsonl`) grows by whole lines, and says which stages are done.

mod config;
mod error;
mod log;
#[cfg(test)]
mod tests;

pub(crate) use config::settings_table;
pub use config::{
    Config, DataIdentity, FORMAT_VERSION, FileIdentity, ModelIdentity, fingerprint, outside_data, outside_run,
};
pub use error::{Difference, RunError};
pub use log::Log;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::whole;

/// The settings of the run.
pub const CONFIG: &str = "config.toml";
/// What has happened, a JSON object a line.
pub const METRICS: &str = "metrics.jsonl";
/// What every unit is worth.
pub const EVIDENCE: &str = "evidence.safetensors";
/// Which units stay.
pub const PLAN: &str = "plan.json";
/// The smaller model before it is tuned.
pub const PRUNED: &str = "pruned.onnx";
/// The same with its layers fitted to what the original makes.
pub const COMPENSATED: &str = "compensated.onnx";
/// The result.
pub const MODEL: &str = "model.onnx";
/// The result's figures, for machines.
pub const REPORT_JSON: &str = "report.json";
/// The result for people.
pub const REPORT_HTML: &str = "report.html";
const LOCK: &str = "lock";

/// What units are worth that a step of the choice begins with: those of the original in the first.
pub fn evidence_file(for_step: usize) -> String {
    match for_step {
        1 => EVIDENCE.to_owned(),
        step => format!("step-{step}.{EVIDENCE}"),
    }
}

/// The model that a step ends with.
pub fn step_file(step: usize) -> String {
    format!("step-{step}.onnx")
}

/// The plan of a smaller model that was tried on the way to the choice.
pub fn trial_file(number: usize) -> String {
    format!("trial-{number}.json")
}

/// Whether it is a file of a step or a trial.
fn is_of_choice(name: &str) -> bool {
    let numbered = |prefix: &str, suffixes: &[&str]| {
        let rest =
            name.strip_prefix(prefix).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        rest.is_some_and(|rest| suffixes.contains(&rest) && name.len() > prefix.len() + rest.len())
    };
    numbered("trial-", &[".json"]) || numbered("step-", &[".onnx", ".evidence.safetensors"])
}

/// Where a training stands, which goes once the run is finished.
const TRAINING_STATES: &[&str] =
    &["checkpoint.safetensors", "best.safetensors", "epoch.safetensors", "earlier.safetensors"];

/// What else a run consists of; `--restart` removes these and nothing else. The config goes last: with it goes the right to.
const ARTIFACTS: &[&str] =
    &[METRICS, EVIDENCE, PLAN, PRUNED, COMPENSATED, MODEL, REPORT_JSON, REPORT_HTML, CONFIG];

/// The directory of a run, held by this process alone.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl RunDirectory {
    /// Makes the directory of a run or opens it again, for the run that `config` says. A directory that holds another run is
    /// refused, unless it may be discarded (`restart`); one that holds anything else is refused and left as it is.
    pub fn open(path: &Path, config: &Config, restart: bool) -> Result<RunDirectory, RunError> {
        std::fs::create_dir_all(path).map_err(RunError::open(path))?;
        let foreign = foreign(path)?;
        let has_config = path.join(CONFIG).exists();
        if let (false, Some(found)) = (has_config, foreign) {
            return Err(RunError::NotARun { path: path.to_owned(), found });
        }
        let old = if has_config { Some(Config::read(path)) } else { None };
        if let Some(Err(error @ (RunError::NotARun { .. } | RunError::Io { .. }))) = old {
            return Err(error);
        }
        let directory = RunDirectory { path: path.to_owned(), _lock: lock(path)? };
        directory.remove_temporaries()?;
        match old {
            Some(_) if restart => directory.discard()?,
            Some(old) => {
                let differences = old?.differences(config);
                if !differences.is_empty() {
                    if std::fs::metadata(directory.file(METRICS)).is_ok_and(|log| log.len() > 0) {
                        return Err(RunError::Differs { path: path.to_owned(), differences });
                    }
                    // No stage was finished. What was begun is of the other settings.
                    directory.discard()?;
                }
            }
            None => {}
        }
        directory.write(CONFIG, config.to_text()?.as_bytes())?;
        Ok(directory)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where an artifact is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes an artifact, whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.file(name);
        whole::write(&path, bytes).map_err(RunError::write(&path))
    }

    /// Removes a model and its external data, so that what is written next has the names that a first run would give.
    pub fn remove_model(&self, name: &str) -> Result<(), RunError> {
        for entry in entries(&self.path)? {
            let data =
                entry.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(".data"));
            if data {
                let path = self.file(&entry);
                std::fs::remove_file(&path).map_err(RunError::write(&path))?;
            }
        }
        Ok(())
    }

    /// What killed processes have left half written.
    fn remove_temporaries(&self) -> Result<(), RunError> {
        for entry in entries(&self.path)?.iter().filter(|entry| is_temporary(entry)) {
            let path = self.file(entry);
            std::fs::remove_file(&path).map_err(RunError::open(&path))?;
        }
        Ok(())
    }

    fn discard(&self) -> Result<(), RunError> {
        self.remove_training_states()?;
        let of_choice = entries(&self.path)?.into_iter().filter(|name| is_of_choice(name));
        for name in of_choice.chain(ARTIFACTS.iter().map(|name| (*name).to_owned())) {
            match name.ends_with(".onnx") {
                true => self.remove_model(&name)?,
                false => self.remove(&name)?,
            }
        }
        Ok(())
    }

    /// Removes what a training goes on from: several times the model, and of no use to a finished run.
    pub fn remove_training_states(&self) -> Result<(), RunError> {
        TRAINING_STATES.iter().try_for_each(|name| self.remove(name))
    }

    /// Removes a file, where it is there.
    fn remove(&self, name: &str) -> Result<(), RunError> {
        let path = self.file(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RunError::write(&path)(e)),
            _ => Ok(()),
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<String>, RunError> {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    entries.map_err(RunError::open(folder))
}

/// Something in the directory that a run which was killed before it had a config does not leave.
fn foreign(path: &Path) -> Result<Option<String>, RunError> {
    Ok(entries(path)?.into_iter().find(|name| name != LOCK && !is_temporary(name)))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(whole::TEMPORARY)
}

fn lock(path: &Path) -> Result<File, RunError> {
    let name = path.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = file.map_err(RunError::open(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(e)) => Err(RunError::open(&name)(e)),
    }
}
