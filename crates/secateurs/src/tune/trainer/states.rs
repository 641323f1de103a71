//! The states of a training: what it goes on from after a kill, and returns to from faults.

use std::path::{Path, PathBuf};

use secateurs_graph::Graph;
use secateurs_torch::tch::Tensor;

use super::super::checkpoint::{self, Checkpoint, Progress};
use super::super::hidden::Hidden;
use super::super::{Event, TuneError, TuneJob};
use super::Trainer;

/// The states that a training goes on from: after the last epoch, within the epoch, and after the epoch before the last.
pub(super) const EPOCH: &str = "epoch";
pub(super) const CHECKPOINT: &str = "checkpoint";
const EARLIER: &str = "earlier";
/// The weights that were best on the held-out samples.
pub(super) const BEST: &str = "best";
/// Returns to an earlier state before a training is given up.
const MAX_ROLLBACKS: usize = 5;

impl Trainer<'_> {
    /// Everything that the next step depends on.
    fn state(&self) -> Vec<(String, Tensor)> {
        let named = |kind: &str, list: &[(String, Tensor)]| -> Vec<(String, Tensor)> {
            list.iter().map(|(name, tensor)| (format!("{kind}/{name}"), tensor.shallow_clone())).collect()
        };
        let mut all = named("weight", &self.weights);
        all.extend(self.averages.iter().flat_map(|averages| named("average", averages)));
        for (slot, (name, _)) in self.optimizer.slots.iter().zip(&self.weights) {
            let moments = slot.moments.iter().enumerate();
            all.extend(moments.map(|(i, moment)| (format!("moment{i}/{name}"), moment.shallow_clone())));
        }
        all
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.job.folder.join(format!("{name}.safetensors"))
    }

    pub(super) fn save(&self, name: &str) -> Result<(), TuneError> {
        checkpoint::write(&self.path(name), &self.progress, &self.state())
    }

    /// Keeps the state after an epoch, and the one before it.
    pub(super) fn save_epoch(&mut self) -> Result<(), TuneError> {
        let (epoch, earlier) = (self.path(EPOCH), self.path(EARLIER));
        match std::fs::rename(&epoch, &earlier) {
            // A run that was killed between these two lines has none.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(TuneError::Write { path: epoch, source: e });
            }
            _ => {}
        }
        self.progress.returned = false;
        self.save(EPOCH)
    }

    /// Goes on from the latest state in the folder.
    pub(super) fn resume(&mut self) -> Result<(), TuneError> {
        let mut latest: Option<(PathBuf, Checkpoint)> = None;
        for name in [EPOCH, CHECKPOINT, EARLIER] {
            let path = self.path(name);
            if let Some(found) = Checkpoint::read(&path, &self.progress.fingerprint)?
                && latest.as_ref().is_none_or(|(_, latest)| found.progress.step > latest.progress.step)
            {
                latest = Some((path, found));
            }
        }
        latest.map_or(Ok(()), |(path, found)| self.restore(&path, found))
    }

    fn restore(&mut self, path: &Path, checkpoint: Checkpoint) -> Result<(), TuneError> {
        checkpoint.restore(path, &mut self.state())?;
        self.progress = checkpoint.progress;
        Ok(())
    }

    /// Returns to the state after the last epoch, with half the learning rate; to the one before where the training has failed from
    /// there already, for that state may have been spoiled before it showed.
    pub(super) fn roll_back(&mut self, step: usize, reason: String) -> Result<Event, TuneError> {
        let (factor, rollbacks) = (self.progress.factor / 2.0, self.progress.rollbacks + 1);
        if rollbacks > MAX_ROLLBACKS {
            return Err(TuneError::Diverged { reason, step, rollbacks: MAX_ROLLBACKS });
        }
        let (epoch, earlier) = (self.path(EPOCH), self.path(EARLIER));
        let back = self.progress.returned || !epoch.is_file();
        let path = if back && earlier.is_file() { earlier } else { epoch };
        let found = Checkpoint::read(&path, &self.progress.fingerprint)?;
        let found = found.ok_or_else(|| TuneError::Checkpoint {
            path: path.clone(),
            message: "is gone, and the training must return to it".into(),
        })?;
        let best = self.progress.best;
        self.restore(&path, found)?;
        // What was best stays so, however the training came there.
        self.progress = Progress { factor, rollbacks, best, returned: true, ..self.progress.clone() };
        // The state within the epoch that was left is void: it goes first, so that no run goes on from it.
        match std::fs::remove_file(self.path(CHECKPOINT)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(TuneError::Write { path: self.path(CHECKPOINT), source: e });
            }
            _ => {}
        }
        self.save(EPOCH)?;
        Ok(Event::RolledBack { step, to: self.progress.step, reason, learning_rate_factor: factor })
    }
}

/// A hash of all that a training depends on but the data, the machine and the version.
pub(super) fn fingerprint(job: &TuneJob, hidden: Option<&Hidden>) -> Result<String, TuneError> {
    // Nothing for no output that was chosen, so that checkpoints from before there could be several go on.
    let outputs = (!job.outputs.is_empty()).then_some(job.outputs);
    let settings =
        serde_json::to_string(&(job.options, outputs)).map_err(|e| TuneError::Options(e.to_string()))?;
    let hash = |graph: &Graph| graph.hash();
    let hidden = hidden.map(|hidden| format!(" {}", hidden.hash())).unwrap_or_default();
    Ok(format!("{} {} {settings}{hidden}", hash(job.graph), job.teacher.map(hash).unwrap_or_default()))
}
