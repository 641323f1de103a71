//! Times of layers, kept for each machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::{Result, find_library};
use crate::whole;

/// What times depend on besides the layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's model, as the system names it.
    pub cpu: String,
    /// The file of ONNX Runtime, whose name has its version, and its length.
    pub onnxruntime: String,
    /// Its threads.
    pub threads: usize,
}

impl Machine {
    /// This machine with ONNX Runtime as it would be loaded.
    pub fn this(threads: usize) -> Result<Machine> {
        let library = find_library()?;
        let library = library.canonicalize().unwrap_or(library);
        let length = library.metadata().map_or(0, |m| m.len());
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        Ok(Machine { cpu: cpu_model(), onnxruntime: format!("{name}, {length} bytes"), threads })
    }

    /// The file of its times in a cache folder.
    fn file(&self, cache: &Path) -> PathBuf {
        let hash = blake3::hash(format!("{self:?}").as_bytes());
        cache.join("secateurs/latency").join(format!("{}.json", &hash.to_hex()[..16]))
    }
}

/// Linux names the model; elsewhere the architecture must do.
fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    named.map_or_else(|| std::env::consts::ARCH.into(), |(_, model)| model.trim().into())
}

/// Milliseconds of layers by what they compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    machine: Machine,
    milliseconds: BTreeMap<String, f64>,
    /// The file that they are kept in, if there is a place for one.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Times {
    /// What is known of a machine: what `cache` (the folder that holds `secateurs/`) has of it. A file that cannot be read is begun
    /// anew.
    pub fn open(machine: Machine, cache: Option<&Path>) -> Times {
        let file = cache.map(|cache| machine.file(cache));
        let kept = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let kept = kept.and_then(|text| serde_json::from_slice::<Times>(&text).ok());
        let kept = kept.filter(|kept| kept.machine == machine);
        let milliseconds = kept.map(|kept| kept.milliseconds).unwrap_or_default();
        let sensible = |ms: &f64| ms.is_finite() && *ms > 0.0;
        Times {
            machine,
            milliseconds: milliseconds.into_iter().filter(|(_, ms)| sensible(ms)).collect(),
            file,
        }
    }

    /// The time of a layer.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.milliseconds.get(key).copied()
    }

    /// Adds times.
    pub fn extend(&mut self, times: impl IntoIterator<Item = (String, f64)>) {
        self.milliseconds.extend(times);
    }

    /// Keeps them. That a cache cannot be written costs only time.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let Ok(text) = serde_json::to_vec(self) else { return };
        let _ = file.parent().map(std::fs::create_dir_all);
        let _ = whole::write(file, &text);
    }
}
