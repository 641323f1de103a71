//! What has happened in a run: JSON objects, a line each.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::{METRICS, RunDirectory};
use crate::whole;

/// The log of a run, read when it is opened, and appended to.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    file: File,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// The step of training that it belongs to; `None` for what stages have found.
    step: Option<u64>,
    /// The step that training went back to there.
    to: Option<u64>,
}

impl Line {
    fn new(text: String) -> serde_json::Result<Line> {
        #[derive(Deserialize)]
        struct Step {
            step: Option<u64>,
            to: Option<u64>,
        }
        let Step { step, to } = serde_json::from_str(&text)?;
        Ok(Line { text, step, to })
    }
}

impl RunDirectory {
    /// Opens the log. A last line that a killed process has not finished is dropped.
    pub fn log(&self) -> Result<Log, RunError> {
        let path = self.file(METRICS);
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            text => text.map_err(RunError::open(&path))?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = Vec::new();
        for (number, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = Line::new(String::from_utf8_lossy(line).trim_end().to_owned());
            lines.push(line.map_err(|e| RunError::Damaged {
                path: path.clone(),
                line: Some(number + 1),
                reason: format!("is no JSON: {e}"),
            })?);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(RunError::open(&path))?;
        let mut log = Log { folder: self.path().to_owned(), file, lines };
        if whole < text.len() {
            log.rewrite()?;
        }
        Ok(log)
    }
}

impl Log {
    /// What stages have found, as far as it is of this kind.
    pub fn stages<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> {
        self.records(false)
    }

    /// What happened in training, as far as it is of this kind.
    pub fn steps<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> {
        self.records(true)
    }

    fn records<T: DeserializeOwned>(&self, of_training: bool) -> impl Iterator<Item = T> {
        let lines = self.lines.iter().filter(move |line| line.step.is_some() == of_training);
        lines.filter_map(|line| serde_json::from_str(&line.text).ok())
    }

    /// Adds a line; one with the key `step` belongs to training.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let path = self.path();
        let line = serde_json::to_string(record).and_then(Line::new);
        let line = line.map_err(|e| RunError::write(&path)(e.into()))?;
        // In one call, so that a kill tears at most this line.
        self.file.write_all(format!("{}\n", line.text).as_bytes()).map_err(RunError::write(&path))?;
        self.lines.push(line);
        Ok(())
    }

    /// Adds a line that later lines depend on: it lasts through a power cut.
    pub fn append_synced(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        self.append(record)?;
        self.file.sync_data().map_err(RunError::write(&self.path()))
    }

    /// Drops what training did after `step`, as it is done again from there. A step may have been met more than once, where the
    /// training went back: what follows its last time goes. That it went back stays, as the state that it goes on from knows it.
    pub fn rewind(&mut self, step: usize) -> Result<(), RunError> {
        let last = match step {
            0 => None,
            step => self.lines.iter().rposition(|line| line.step.is_some_and(|s| s <= step as u64)),
        };
        let before = self.lines.len();
        let mut number = 0;
        self.lines.retain(|line| {
            number += 1;
            line.step.is_none() || line.to.is_some() || last.is_some_and(|last| number <= last + 1)
        });
        match self.lines.len() < before {
            true => self.rewrite(),
            false => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(METRICS)
    }

    fn rewrite(&mut self) -> Result<(), RunError> {
        let path = self.path();
        let text: String = self.lines.iter().map(|line| format!("{}\n", line.text)).collect();
        whole::write(&path, text.as_bytes()).map_err(RunError::write(&path))?;
        self.file = OpenOptions::new().append(true).open(&path).map_err(RunError::open(&path))?;
        Ok(())
    }
}
