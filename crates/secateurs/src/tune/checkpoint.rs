//! The state of a training as a safetensors file, written whole.

use std::collections::HashMap;
use std::path::Path;

use secateurs_torch::tch::Tensor;
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::scores::Scores;
use super::stored;
use crate::whole;

/// Where a training stands, beside its tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// A hash of the model and the settings: a checkpoint goes on with these alone.
    pub fingerprint: String,
    /// Steps done.
    pub step: usize,
    /// What the learning rate is multiplied with since the last return to an earlier state.
    pub factor: f64,
    /// Returns to an earlier state so far.
    pub rollbacks: usize,
    /// Whether the training has returned to the last epoch's state already.
    #[serde(default)]
    pub returned: bool,
    /// The best epoch so far, counted from 1, with its scores; 0 is the model before its tuning.
    pub best: Option<(usize, Scores)>,
}

const KEY: &str = "secateurs";

/// Writes tensors under their names.
pub(super) fn write(path: &Path, progress: &Progress, tensors: &[(String, Tensor)]) -> Result<(), TuneError> {
    let fail = |message: String| TuneError::Checkpoint { path: path.to_owned(), message };
    let text = serde_json::to_string(progress).map_err(|e| fail(e.to_string()))?;
    let named = tensors.iter().map(|(name, tensor)| (&name[..], tensor));
    let bytes = stored::to_bytes(named, Some((KEY, text))).map_err(fail)?;
    whole::write(path, &bytes).map_err(|source| TuneError::Write { path: path.to_owned(), source })
}

/// A checkpoint that was read.
pub(super) struct Checkpoint {
    pub progress: Progress,
    tensors: HashMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads a file; `None` where there is none.
    pub fn read(path: &Path, fingerprint: &str) -> Result<Option<Checkpoint>, TuneError> {
        let fail = |message: String| TuneError::Checkpoint { path: path.to_owned(), message };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e.to_string())),
        };
        let tensors = stored::from_bytes(&bytes).map_err(fail)?;
        let text = stored::metadata(&bytes, KEY);
        let text = text.ok_or_else(|| fail("is no checkpoint of secateurs".into()))?;
        let progress: Progress = serde_json::from_str(&text)
            .map_err(|e| fail(format!("is no checkpoint of this version ({e})")))?;
        if progress.fingerprint != fingerprint {
            return Err(fail("belongs to a training of another model or with other settings".into()));
        }
        Ok(Some(Checkpoint { progress, tensors }))
    }

    /// Puts the stored tensors into those of these names, which must all be there.
    pub fn restore(&self, path: &Path, into: &mut [(String, Tensor)]) -> Result<(), TuneError> {
        let fail = |message: String| TuneError::Checkpoint { path: path.to_owned(), message };
        for (name, tensor) in into {
            let stored = self.tensors.get(name).ok_or_else(|| fail(format!("lacks '{name}'")))?;
            if stored.size() != tensor.size() {
                let (stored, wanted) = (stored.size(), tensor.size());
                return Err(fail(format!("'{name}' has the shape {stored:?}, not {wanted:?}")));
            }
            secateurs_torch::tch::no_grad(|| tensor.f_copy_(stored))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_foreign_files_are_refused() {
        secateurs_torch::load().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        assert!(Checkpoint::read(&path, "a").unwrap().is_none());
        let tensor = Tensor::f_from_slice(&[1.5f32, -2.0, 3.0, 4.0]).unwrap().f_view([2, 2]).unwrap();
        let double = Tensor::f_from_slice(&[0.1f64]).unwrap();
        let progress = Progress {
            fingerprint: "a".into(),
            step: 7,
            factor: 0.5,
            rollbacks: 1,
            returned: true,
            best: Some((2, Scores { samples: 3, accuracy: Some(0.5), ..Scores::default() })),
        };
        let tensors = [("w".to_owned(), tensor.shallow_clone()), ("d".to_owned(), double)];
        write(&path, &progress, &tensors).unwrap();
        let read = Checkpoint::read(&path, "a").unwrap().unwrap();
        assert_eq!(read.progress, progress);
        let mut into = [
            ("w".to_owned(), tensor.f_zeros_like().unwrap()),
            ("d".to_owned(), Tensor::f_from_slice(&[0f64]).unwrap()),
        ];
        read.restore(&path, &mut into).unwrap();
        assert_eq!(into[0].1, tensor);
        assert_eq!(into[1].1.f_double_value(&[0]).unwrap(), 0.1);

        let error = |result: Result<(), TuneError>| result.unwrap_err().to_string();
        let mut wrong = [("w".to_owned(), Tensor::f_from_slice(&[0f32]).unwrap())];
        assert!(error(read.restore(&path, &mut wrong)).contains("shape"));
        let mut missing = [("v".to_owned(), tensor)];
        assert!(error(read.restore(&path, &mut missing)).contains("lacks 'v'"));
        assert!(error(Checkpoint::read(&path, "b").map(|_| ())).contains("other settings"));
        std::fs::write(&path, b"12345678garbage").unwrap();
        assert!(error(Checkpoint::read(&path, "a").map(|_| ())).contains("checkpoint.safetensors"));
    }
}
