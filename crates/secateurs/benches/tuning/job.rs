//! What a child process is told: in JSON, read by our side and by `pytorch.py`.

use std::fmt;
use std::path::{Path, PathBuf};

use secateurs::tune::TunePrecision;
use serde::{Deserialize, Serialize};

/// Samples a step.
pub const BATCH_SIZE: usize = 128;
/// Steps at the start of a turn that are not timed: more batches than either side keeps ready while it waits.
pub const LEAD_IN: usize = 5;
/// Steps whose losses are compared.
pub const LOSSES: usize = 20;

/// A training that runs in turns, or [`LOSSES`] steps of it without augmentation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Job {
    /// What the child does.
    pub task: Task,
    /// How it trains.
    pub training: Training,
    pub precision: TunePrecision,
    /// Threads that compute.
    pub threads: usize,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// After `warmup` steps the peak memory in bytes is told; then, for every line on stdin, the seconds of `steps` steps that
    /// follow [`LEAD_IN`] others.
    Turns { warmup: usize, lead_in: usize, steps: usize },
    /// The losses of the first steps, in one line.
    Losses,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// `secateurs::tune`; with a teacher half of the loss is the distance from its outputs.
    Secateurs { teacher: bool },
    /// PyTorch's usual loop, its `DataLoader` with this many processes.
    Pytorch { channels_last: bool, workers: usize },
    /// PyTorch's step on one batch that stays in memory: what its loop cannot beat.
    PytorchStep { channels_last: bool },
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = |channels_last| if channels_last { "channels-last" } else { "NCHW" };
        match *self {
            Training::Secateurs { teacher: false } => f.write_str("ours"),
            Training::Secateurs { teacher: true } => f.write_str("ours, distilled"),
            Training::Pytorch { channels_last, workers } => {
                write!(f, "PyTorch, {}, num_workers={workers}", layout(channels_last))
            }
            Training::PytorchStep { channels_last } => {
                write!(f, "PyTorch, {}, step alone", layout(channels_last))
            }
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The model that is trained.
pub fn model() -> PathBuf {
    repository().join("assets/cifar10-preresnet29.onnx")
}

/// The samples; not everyone has them.
pub fn data() -> PathBuf {
    repository().join("data/cifar10/train.npz")
}
