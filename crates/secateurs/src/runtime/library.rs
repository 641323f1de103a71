//! Finds the shared library of ONNX Runtime and loads it once per process.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::error::{Result, RuntimeError};

/// The environment variable that names the library; the crate `ort` has the same one.
pub(super) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Prints the folder of the library in a Python that has onnxruntime, without importing it.
const PYTHON: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                      print((s.submodule_search_locations[0] + '/capi') if s else '')";

/// Finds the library: `ORT_DYLIB_PATH`, beside the executable, in `../lib/secateurs` from there, in the newest
/// `secateurs/onnxruntime-*` of the user's cache, in the active Python.
///
/// A path in `ORT_DYLIB_PATH` is taken or is an error: no other place is tried.
pub fn find_library() -> Result<PathBuf> {
    let cache = cache_folder();
    let active =
        env::var_os("VIRTUAL_ENV").map(|environment| Path::new(&environment).join("bin/python").into());
    Places {
        variable: env::var_os(VARIABLE),
        executable: env::current_exe().ok(),
        cache,
        pythons: active.into_iter().chain(["python3".into(), "python".into()]).collect(),
    }
    .find()
}

/// The user's cache folder, the one that holds `secateurs/`: `$XDG_CACHE_HOME`, or `~/.cache`.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// Loads the library, once; later calls give the first call's result.
pub fn ensure_loaded() -> Result<()> {
    environment().map(|_| ())
}

/// The process's environment of ONNX Runtime, with the library loaded.
pub(super) fn environment() -> Result<&'static Environment> {
    static ENVIRONMENT: OnceLock<Result<Environment>> = OnceLock::new();
    ENVIRONMENT.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Environment> {
    let library = find_library()?;
    let error = |message: String| RuntimeError::Load { library: library.display().to_string(), message };
    let environment = ort::init_from(&library)
        .map_err(|e| error(e.to_string()))?
        .with_name("secateurs")
        .with_telemetry(false)
        .build()
        .map_err(|e| error(e.to_string()))?;
    // Every failure is returned as well; `ort` has this variable for those who want to read more.
    if env::var_os("ORT_LOG").is_none() {
        environment.set_log_level(LogLevel::Fatal);
    }
    Ok(environment)
}

/// Where to look, apart from the process so that it can be tested.
struct Places {
    variable: Option<OsString>,
    executable: Option<PathBuf>,
    cache: Option<PathBuf>,
    pythons: Vec<OsString>,
}

impl Places {
    fn find(&self) -> Result<PathBuf> {
        let mut places = Vec::new();
        match self.variable.as_ref().filter(|path| !path.is_empty()) {
            Some(path) => {
                let path = PathBuf::from(path);
                if path.is_file() {
                    // `ort` looks relative paths up beside the executable.
                    return Ok(std::path::absolute(&path).unwrap_or(path));
                }
                let place = format!("{VARIABLE}: {} is no file", path.display());
                return Err(RuntimeError::NotFound { places: vec![place] });
            }
            None => places.push(format!("{VARIABLE}: not set")),
        }
        let beside = self.executable.as_deref().and_then(Path::parent);
        let installed = beside.map(|folder| folder.join("../lib/secateurs"));
        for folder in beside.iter().copied().chain(installed.as_deref()) {
            match library_in(folder) {
                Some(library) => return Ok(library),
                None => places.push(format!("{}: no {}", folder.display(), name_pattern())),
            }
        }
        if let Some(cache) = &self.cache {
            let cache = cache.join("secateurs");
            match newest_in_cache(&cache) {
                Some(library) => return Ok(library),
                None => places.push(format!("{}/onnxruntime-*: no {}", cache.display(), name_pattern())),
            }
        }
        for python in &self.pythons {
            match library_of_python(python) {
                Ok(library) => return Ok(library),
                Err(why) => places.push(format!("{}: {why}", python.display())),
            }
        }
        Err(RuntimeError::NotFound { places })
    }
}

fn name_pattern() -> &'static str {
    match env::consts::OS {
        "macos" => "libonnxruntime*.dylib",
        "windows" => "onnxruntime.dll",
        _ => "libonnxruntime.so*",
    }
}

/// Whether a file's name is that of the library, not of one of its parts like `libonnxruntime_providers_shared.so`.
fn is_library(name: &str) -> bool {
    match name_pattern().split_once('*') {
        None => name == name_pattern(),
        Some((start, end)) => name.starts_with(start) && name.ends_with(end) && !name.contains("_providers"),
    }
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(is_library) && path.is_file()
        })
        .collect();
    // The name without a version comes first: it is the one that was put there on purpose.
    found.sort();
    found.into_iter().next()
}

fn newest_in_cache(cache: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(cache).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version = path.file_name()?.to_str()?.strip_prefix("onnxruntime-")?;
        let version: Vec<u64> = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        Some((version, library_in(&path)?))
    });
    folders.max().map(|(_, library)| library)
}

fn library_of_python(python: &OsString) -> Result<PathBuf, String> {
    let output = Command::new(python)
        .args(["-c", PYTHON])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot be run ({e})"))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || folder.is_empty() {
        return Err("has no package onnxruntime".to_owned());
    }
    library_in(Path::new(&folder)).ok_or_else(|| format!("no {} in {folder}", name_pattern()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn touch(path: PathBuf) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"").unwrap();
        path
    }

    fn places(root: &Path) -> Places {
        Places {
            variable: None,
            executable: Some(root.join("bin/secateurs")),
            cache: Some(root.join("cache")),
            pythons: Vec::new(),
        }
    }

    #[test]
    fn places_are_tried_in_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let mut places = places(root);
        let found = |places: &Places| places.find().unwrap().canonicalize().unwrap();

        touch(root.join("cache/secateurs/onnxruntime-1.9.2/libonnxruntime.so"));
        touch(root.join("cache/secateurs/onnxruntime-1.40.0/readme"));
        let newest = touch(root.join("cache/secateurs/onnxruntime-1.32.0/libonnxruntime.so.1.32.0"));
        assert_eq!(found(&places), newest.canonicalize().unwrap());
        let installed = touch(root.join("lib/secateurs/libonnxruntime.so"));
        assert_eq!(found(&places), installed.canonicalize().unwrap());
        touch(root.join("bin/libonnxruntime_providers_shared.so"));
        assert_eq!(found(&places), installed.canonicalize().unwrap());
        let beside = touch(root.join("bin/libonnxruntime.so.1"));
        assert_eq!(found(&places), beside.canonicalize().unwrap());
        let given = touch(root.join("mine.so"));
        places.variable = Some(given.clone().into());
        assert_eq!(found(&places), given.canonicalize().unwrap());
    }

    #[test]
    fn a_python_with_the_package_is_the_last_place() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let library = touch(root.path().join("site/onnxruntime/capi/libonnxruntime.so.1.32.0"));
        let python = root.path().join("python");
        let folder = library.parent().unwrap().display().to_string();
        std::fs::write(&python, format!("#!/bin/sh\necho {folder}\n")).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut places = places(root.path());
        places.pythons = vec!["no-such-python".into(), python.into()];
        assert_eq!(places.find().unwrap(), library);
    }

    #[test]
    fn an_error_lists_the_places_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let mut places = places(root.path());
        places.pythons = vec!["no-such-python".into()];
        let message = places.find().unwrap_err().to_string();
        for part in
            ["cargo xtask setup", "pip install", "ORT_DYLIB_PATH: not set", "lib/secateurs", "no-such-python"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        // A wrong variable is not passed over.
        touch(root.path().join("bin/libonnxruntime.so"));
        places.variable = Some("no/such.so".into());
        assert!(places.find().unwrap_err().to_string().contains("no/such.so is no file"));
    }
}
