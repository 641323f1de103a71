//! Why a training fails.

use std::path::PathBuf;

use secateurs_graph::GraphError;
use secateurs_torch::tch::TchError;

use crate::data::DataError;

/// Why a training fails.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The model.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting makes no sense.
    #[error("{0}")]
    Options(String),
    /// There is no such output.
    #[error("the model has no output '{wanted}'; it has {known}")]
    NoOutput {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Labels do not fit the output.
    #[error("{data}: {message}")]
    Labels {
        /// The data.
        data: PathBuf,
        /// What does not fit, and what to do.
        message: String,
    },
    /// A sample holds an infinite number or none.
    #[error(
        "{data}: sample {sample} (counted from 0) gives input '{input}' numbers that are infinite or NaN; correct it or leave it out"
    )]
    Sample {
        /// The data.
        data: PathBuf,
        /// The sample.
        sample: usize,
        /// The input.
        input: String,
    },
    /// The original or teacher computes an infinite number or none.
    #[error(
        "{model}: output '{output}' has numbers that are infinite or NaN for sample {sample} (counted from 0) of {data}, so there \
         is nothing to learn from it"
    )]
    Teacher {
        /// The model's file.
        model: PathBuf,
        /// The output.
        output: String,
        /// The data.
        data: PathBuf,
        /// The sample.
        sample: usize,
    },
    /// There is nothing to learn from.
    #[error(
        "{data}: the data have no labels for the output and there is no teacher, so there is nothing to learn from; give --teacher, or labels"
    )]
    NoTarget {
        /// The data.
        data: PathBuf,
    },
    /// A checkpoint cannot be read, or belongs to another training.
    #[error("{path}: {message}; give another folder, or delete the file to begin anew")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The loss stayed infinite or no number, however small the steps.
    #[error(
        "the training diverges: {reason} at step {step}, after {rollbacks} returns to an earlier state with smaller steps; lower \
         learning_rate, or set clip_norm"
    )]
    Diverged {
        /// What was seen last.
        reason: String,
        /// Where.
        step: usize,
        /// How often it went back.
        rollbacks: usize,
    },
    /// The observer asked to stop; a checkpoint was written.
    #[error("interrupted at step {step}")]
    Interrupted {
        /// Where.
        step: usize,
    },
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}
