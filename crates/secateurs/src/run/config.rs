//! The settings of a run with every choice made, as `config.toml` keeps them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::CONFIG;
use super::error::{Difference, RunError};
use crate::compensate::CompensateSettings;
use crate::data::{DataError, DataOptions, Dataset, MAX_DEPTH};
use crate::recipe::{LatencySettings, MeasureSettings, PlanSettings};
use crate::search::Resource;
use crate::tune::{TuneOptions, WeightedOutput, none_one_or_many};

/// The version of the format that this program writes.
pub const FORMAT_VERSION: u64 = 1;

/// Everything that a run's result depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The version of secateurs.
    pub secateurs: String,
    /// `compress` or `tune`.
    pub command: String,
    /// The outputs that are looked at, the one that labels are for first; all of floats where none is named.
    #[serde(
        default,
        alias = "output",
        deserialize_with = "none_one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub outputs: Vec<WeightedOutput>,
    /// Where libtorch computes.
    pub device: String,
    /// Its threads.
    pub threads: usize,
    /// What symbolic sizes are bound to for counting MACs and measuring latency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, i64>,
    /// The model that is worked on.
    pub model: ModelIdentity,
    /// The model that it is tuned against, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<ModelIdentity>,
    /// The training data.
    pub data: DataIdentity,
    /// The data that choices are made on, where they are no part of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<DataIdentity>,
    /// The test data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<DataIdentity>,
    /// What units were found to be worth before the run, where that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<FileIdentity>,
    /// How data are read.
    pub reading: DataOptions,
    /// Which units go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSettings>,
    /// How units are measured; `None` for methods that need no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<MeasureSettings>,
    /// How what is left takes over from what goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<CompensateSettings>,
    /// How the model is tuned.
    pub tune: TuneOptions,
    /// How latency is measured.
    pub latency: LatencySettings,
}

/// A model, by what it computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Its file, for people.
    pub path: PathBuf,
    /// Its [`Graph::hash`](secateurs_graph::Graph::hash).
    pub hash: String,
}

/// A file, by its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Where it is, for people.
    pub path: PathBuf,
    /// [`fingerprint`].
    pub fingerprint: String,
}

impl FileIdentity {
    /// The identity of a file.
    pub fn of(path: &Path) -> Result<FileIdentity, RunError> {
        let fingerprint = fingerprint(path).map_err(RunError::open(path))?;
        Ok(FileIdentity { path: path.to_owned(), fingerprint })
    }
}

/// Data, by what is in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// The file or folder, for people.
    pub path: PathBuf,
    /// Number of samples.
    pub samples: usize,
    /// [`fingerprint`].
    pub fingerprint: String,
    /// [`Dataset::reading`].
    #[serde(default)]
    pub reading: String,
}

impl DataIdentity {
    /// The identity of open data.
    pub fn of(data: &Dataset) -> Result<DataIdentity, DataError> {
        let path = data.path().to_owned();
        let fingerprint = fingerprint(&path).map_err(DataError::io(&path))?;
        Ok(DataIdentity { samples: data.len(), fingerprint, reading: data.reading().to_owned(), path })
    }
}

/// What changes when data change: of a file the BLAKE3 hash of its bytes; of a folder that of its files' names, sizes and times
/// of change, as reading thousands of pictures would take minutes. Hidden files and folders are no data.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    match path.is_dir() {
        false => {
            hasher.update_reader(std::fs::File::open(path)?)?;
        }
        true => {
            let mut folders = vec![(path.to_owned(), 0)];
            let mut files = BTreeMap::new();
            while let Some((folder, depth)) = folders.pop() {
                for entry in std::fs::read_dir(folder)? {
                    let entry = entry?;
                    if entry.file_name().as_encoded_bytes().starts_with(b".") {
                        continue;
                    }
                    let path = entry.path();
                    let metadata = std::fs::metadata(&path)?;
                    match metadata.is_dir() {
                        // As far as pictures are looked for, below the folder of a class.
                        true if depth <= MAX_DEPTH => folders.push((path, depth + 1)),
                        true => {}
                        false => {
                            files.insert(path, metadata);
                        }
                    }
                }
            }
            for (file, metadata) in files {
                let name = file.strip_prefix(path).unwrap_or(&file);
                let time = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                let nanoseconds = time.map_or(0, |t| t.as_nanos());
                hasher.update(format!("{}\0{}\0{nanoseconds}\0", name.display(), metadata.len()).as_bytes());
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Refuses a place for results that is a folder of data or lies in it: the data's [`fingerprint`] would change with what is written, and
/// no run could be gone on with.
pub fn outside_data(result: &Path, data: &Path) -> Result<(), RunError> {
    match data.is_dir() && whole_path(result).starts_with(whole_path(data)) {
        true => Err(RunError::InData { path: result.to_owned(), data: data.to_owned() }),
        false => Ok(()),
    }
}

/// Refuses a file that the run would discard with what another run has left.
pub fn outside_run(folder: &Path, file: &Path) -> Result<(), RunError> {
    match whole_path(file).parent() == Some(&whole_path(folder)) {
        true => Err(RunError::InRun { path: folder.to_owned(), file: file.to_owned() }),
        false => Ok(()),
    }
}

/// A path without links, as far as it exists.
fn whole_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let whole = path.ancestors().find_map(|folder| {
        let rest = path.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    whole.unwrap_or(path)
}

/// Keys that say where something lies, or that this is a run at all. What lies there is told by hashes.
const FOR_PEOPLE: &[&str] =
    &["model.path", "teacher.path", "data.path", "validation.path", "test.path", "evidence.path"];

impl Config {
    /// Reads the config of a run's directory.
    pub fn read(folder: &Path) -> Result<Config, RunError> {
        let path = folder.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(RunError::open(&path))?;
        let damaged = |reason: String| RunError::Damaged { path: path.clone(), line: None, reason };
        // First, as a later version may have other keys.
        let table: Table = toml::from_str(&text).unwrap_or_default();
        match table.get("format_version").and_then(Value::as_integer) {
            Some(version) if version == FORMAT_VERSION as i64 => {}
            Some(version) => {
                return Err(damaged(format!(
                    "the run has format version {version}, this program reads {FORMAT_VERSION}"
                )));
            }
            None => return Err(RunError::NotARun { path: folder.to_owned(), found: CONFIG.into() }),
        }
        toml::from_str(&text).map_err(|e| damaged(e.message().replace('\n', "; ")))
    }

    /// As a file.
    pub fn to_text(&self) -> Result<String, RunError> {
        toml::to_string(self).map_err(|e| RunError::Damaged {
            path: CONFIG.into(),
            line: None,
            reason: format!("these settings cannot be written: {e}"),
        })
    }

    /// What this run has otherwise than `asked`.
    pub fn differences(&self, asked: &Config) -> Vec<Difference> {
        // Where no choice depends on it, latency is only measured in the end.
        let limits_latency = [self, asked].iter().any(|config| config.limits_latency());
        let (run, asked) = (self.flat(), asked.flat());
        let mut keys: Vec<&String> = run.keys().chain(asked.keys()).collect();
        keys.sort();
        keys.dedup();
        let tells = |key: &str| {
            let measured_only = key.starts_with("latency.") && !limits_latency;
            !FOR_PEOPLE.contains(&key) && !measured_only
        };
        let differs = |key: &&String| run.get(*key) != asked.get(*key) && tells(key);
        let difference = |key: &String| Difference {
            key: key.clone(),
            run: run.get(key).cloned(),
            asked: asked.get(key).cloned(),
        };
        keys.into_iter().filter(differs).map(difference).collect()
    }

    fn limits_latency(&self) -> bool {
        let limits = self.plan.iter().flat_map(|plan| &plan.keep);
        limits.into_iter().any(|limit| limit.resource == Resource::Latency)
    }

    /// Values by dotted key.
    fn flat(&self) -> BTreeMap<String, String> {
        fn add(flat: &mut BTreeMap<String, String>, key: String, value: &Value) {
            match value {
                Value::Table(table) => {
                    for (name, value) in table {
                        add(flat, if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value);
                    }
                }
                value => {
                    flat.insert(key, value.to_string());
                }
            }
        }
        let mut flat = BTreeMap::new();
        add(&mut flat, String::new(), &Value::Table(settings_table(self)));
        flat
    }
}

/// Settings as a table. Those of a run were written as TOML when it began.
pub fn settings_table(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("settings are tables of numbers that TOML has")
}
