//! What can be wrong with data, always with the file it is about and what to do.

use std::path::{Path, PathBuf};

/// An error in data or in the options that say how to read it. All of them are bad input (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason the system gives.
        source: std::io::Error,
    },
    /// The path is not of a kind that we read.
    #[error("{}: {what}; {remedy}", path.display())]
    Unsupported {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// There are no samples.
    #[error("{}: no samples: {what}", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// An image cannot be decoded.
    #[error("{}: cannot decode the image: {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// The decoder's reason.
        source: Box<image::ImageError>,
    },
    /// An `.npz` or `.npy` file is damaged or holds something that we do not read.
    #[error("{}: {}{message}", path.display(), array.as_ref().map(|a| format!("array '{a}': ")).unwrap_or_default())]
    Array {
        /// The file.
        path: PathBuf,
        /// The array in it, if it is about one.
        array: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// An `.npz` file has no array for one of the model's inputs.
    #[error("{}: no array for the model's input '{input}' (the file has {present}); \
             name the arrays as the model's inputs, or 'x' for a model with one input", path.display())]
    MissingArray {
        /// The file.
        path: PathBuf,
        /// The model's input.
        input: String,
        /// The arrays that the file has.
        present: String,
    },
    /// Two arrays disagree about the number of samples.
    #[error("{}: '{first}' has {first_len} samples and '{second}' has {second_len}; \
             the first axis of every array counts samples", path.display())]
    LengthMismatch {
        /// The file.
        path: PathBuf,
        /// One array.
        first: String,
        /// Its samples.
        first_len: usize,
        /// The other array.
        second: String,
        /// Its samples.
        second_len: usize,
    },
    /// A text file lacks a column.
    #[error("{}: no column '{column}' (the columns are {present}); name it with {flag}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The columns that the file has.
        present: String,
        /// The option that names the column.
        flag: &'static str,
    },
    /// A record of a text file cannot be read.
    #[error("{}, line {line}: {message}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A Parquet file cannot be read, or a row of it.
    #[error("{}: {message}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A label is not one of the model's classes.
    #[error("{}, {place}: label {label} {message}", path.display())]
    Label {
        /// The file or folder.
        path: PathBuf,
        /// Where in it: a row, line or folder.
        place: String,
        /// The label.
        label: String,
        /// Why it is wrong.
        message: String,
    },
    /// A sample does not fit the model's input.
    #[error("{}: the model's input '{input}' takes {expected}, but the data give {got}; {remedy}", path.display())]
    Signature {
        /// Where the sample comes from.
        path: PathBuf,
        /// The model's input.
        input: String,
        /// Its element type and shape.
        expected: String,
        /// The sample's element type and shape.
        got: String,
        /// What to do.
        remedy: String,
    },
    /// The tokenizer cannot be found, read or used.
    #[error("{}: {message}", path.display())]
    Tokenizer {
        /// The `tokenizer.json`, or where it was looked for.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An option is wrong or contradicts another one.
    #[error("{0}")]
    Options(String),
}

impl DataError {
    /// An [`DataError::Io`] about `path`, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataError + '_ {
        move |source| DataError::Io { path: path.to_owned(), source }
    }
}

/// The result of reading data.
pub type Result<T, E = DataError> = std::result::Result<T, E>;
