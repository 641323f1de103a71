//! Where libtorch and its C++ glue (the *shim*) are found.

use std::ffi::{OsString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

use crate::{TCH_VERSION, TORCH_VERSION, dl};

/// What the search depends on; taken from the process by [`Surroundings::of_process`].
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `SECATEURS_TORCH`: the one folder to look in.
    pub secateurs_torch: Option<PathBuf>,
    /// `LIBTORCH`: an unpacked libtorch, as other programs use it too.
    pub libtorch: Option<PathBuf>,
    /// The folders that hold the executable and, in a Python module, the module.
    pub program_folders: Vec<PathBuf>,
    /// The user's cache folder, the one that holds `secateurs/`.
    pub cache: Option<PathBuf>,
    /// The Python command that is asked where its torch is.
    pub python: Option<OsString>,
}

impl Surroundings {
    /// The environment of this process.
    pub fn of_process() -> Surroundings {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let module = dl::file_of(Surroundings::of_process as *const c_void)
            .filter(|file| file.extension().is_some_and(|extension| extension == "so"));
        let program_folders = [module, env::current_exe().ok()]
            .into_iter()
            .flatten()
            .filter_map(|file| Some(fs::canonicalize(file).ok()?.parent()?.to_owned()))
            .collect();
        Surroundings {
            secateurs_torch: variable("SECATEURS_TORCH").map(PathBuf::from),
            libtorch: variable("LIBTORCH").map(PathBuf::from),
            program_folders,
            cache: cache_folder(),
            python: Some("python3".into()),
        }
    }

    /// What `cargo xtask setup` fills: `<cache>/secateurs/torch-2.11.0`.
    fn set_up_folder(&self) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join("secateurs").join(format!("torch-{TORCH_VERSION}")))
    }

    /// The folders next to the program.
    fn bundled_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.program_folders.iter().flat_map(|folder| {
            [folder.join("libtorch"), folder.parent().unwrap_or(folder).join("lib").join("secateurs")]
        })
    }
}

/// The user's cache folder: `$XDG_CACHE_HOME`, or `~/.cache`.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// A place where something was looked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The place, e.g. `LIBTORCH=/opt/libtorch`.
    pub place: String,
    /// Why what is there does not do.
    pub reason: String,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// The folder that holds `libtorch_cpu.so`, in the order that the [crate] documentation states.
///
/// Fails with every place looked at. A place whose files tell no version is taken: [`crate::load`] asks
/// the library itself.
pub fn libtorch_folder(around: &Surroundings) -> Result<PathBuf, Vec<Looked>> {
    if let Some(root) = &around.secateurs_torch {
        return libtorch_in(root)
            .map_err(|reason| vec![Looked { place: format!("SECATEURS_TORCH={}", root.display()), reason }]);
    }
    let mut looked = Vec::new();
    let mut places = Vec::new();
    match &around.libtorch {
        Some(root) => places.push((format!("LIBTORCH={}", root.display()), root.clone())),
        None => looked.push(Looked { place: "SECATEURS_TORCH, LIBTORCH".into(), reason: "not set".into() }),
    }
    places.extend(around.bundled_folders().map(|root| (root.display().to_string(), root)));
    places.extend(around.set_up_folder().map(|root| (root.display().to_string(), root)));
    for (place, root) in places {
        match libtorch_in(&root) {
            Ok(folder) => return Ok(folder),
            Err(reason) => looked.push(Looked { place, reason }),
        }
    }
    if let Some(python) = &around.python {
        match python_torch(python).and_then(|root| libtorch_in(&root)) {
            Ok(folder) => return Ok(folder),
            Err(reason) => looked.push(Looked { place: python.display().to_string(), reason }),
        }
    }
    Err(looked)
}

/// The compiled C++ glue, `libtch-<tch version>.so`: in `SECATEURS_TORCH`, next to the program, or in the cache.
pub fn shim(around: &Surroundings) -> Result<PathBuf, Vec<Looked>> {
    let mut looked = Vec::new();
    let folders = around
        .secateurs_torch
        .clone()
        .into_iter()
        .chain(around.bundled_folders())
        .chain(around.set_up_folder());
    for folder in folders {
        let file = folder.join(shim_name());
        if file.is_file() {
            return Ok(file);
        }
        looked.push(Looked { place: file.display().to_string(), reason: "does not exist".into() });
    }
    Err(looked)
}

/// The file name of the shim.
pub fn shim_name() -> String {
    format!("libtch-{TCH_VERSION}.so")
}

/// The folder below `root` that holds `libtorch_cpu.so`: a wheel's layout, a libtorch archive's, or flat.
fn libtorch_in(root: &Path) -> Result<PathBuf, String> {
    if !root.is_dir() {
        return Err("does not exist".into());
    }
    let folder = [root.join("torch").join("lib"), root.join("lib"), root.to_owned()]
        .into_iter()
        .find(|folder| folder.join("libtorch_cpu.so").is_file())
        .ok_or("holds no libtorch_cpu.so, nor do its lib/ and torch/lib/")?;
    // The libraries find each other relative to where they really are.
    let folder = fs::canonicalize(&folder).map_err(|e| format!("cannot be read: {e}"))?;
    match folder.parent().and_then(stated_version) {
        Some(version) if version != TORCH_VERSION => {
            Err(format!("is libtorch {version}, not {TORCH_VERSION}"))
        }
        _ => Ok(folder),
    }
}

/// The version that a wheel's `version.py` or a libtorch archive's `build-version` states, without `+cpu`.
fn stated_version(torch: &Path) -> Option<String> {
    let text = fs::read_to_string(torch.join("version.py")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim().trim_matches(['\'', '"']).to_owned())
    });
    let text = text.or_else(|| fs::read_to_string(torch.join("build-version")).ok())?;
    Some(text.trim().split('+').next()?.to_owned())
}

/// The folder of Python's `torch` package, found without importing it.
fn python_torch(python: &OsString) -> Result<PathBuf, String> {
    const ASK: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')";
    let output =
        Command::new(python).args(["-c", ASK]).output().map_err(|e| format!("cannot be run: {e}"))?;
    if !output.status.success() {
        return Err(format!("fails: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let origin = String::from_utf8_lossy(&output.stdout);
    let origin = Path::new(origin.trim());
    origin.parent().filter(|torch| torch.is_dir()).map(Path::to_owned).ok_or("has no torch".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &Path, text: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn an_empty_secateurs_torch_is_named_and_nothing_else_is_tried() {
        let empty = tempfile::tempdir().unwrap();
        let full = tempfile::tempdir().unwrap();
        put(&full.path().join("lib/libtorch_cpu.so"), "");
        let around = Surroundings {
            secateurs_torch: Some(empty.path().into()),
            libtorch: Some(full.path().into()),
            ..Default::default()
        };
        let looked = libtorch_folder(&around).unwrap_err();
        assert_eq!(looked.len(), 1);
        let text = looked[0].to_string();
        assert!(text.starts_with(&format!("SECATEURS_TORCH={}: ", empty.path().display())), "{text}");
        assert!(text.ends_with("holds no libtorch_cpu.so, nor do its lib/ and torch/lib/"), "{text}");
    }

    #[test]
    fn another_version_is_passed_over_with_its_number() {
        let root = tempfile::tempdir().unwrap();
        let (old, cache) = (root.path().join("old"), root.path().join("cache"));
        put(&old.join("lib/libtorch_cpu.so"), "");
        put(&old.join("build-version"), "2.5.1+cpu\n");
        let mut around =
            Surroundings { libtorch: Some(old), cache: Some(cache.clone()), ..Default::default() };
        let looked = libtorch_folder(&around).unwrap_err();
        assert_eq!(looked[0].reason, "is libtorch 2.5.1, not 2.11.0");
        assert_eq!(looked[1].reason, "does not exist");

        let torch = cache.join("secateurs/torch-2.11.0/torch");
        put(&torch.join("lib/libtorch_cpu.so"), "");
        put(&torch.join("version.py"), "__version__ = '2.11.0+cu130'\n");
        assert_eq!(libtorch_folder(&around).unwrap(), fs::canonicalize(torch.join("lib")).unwrap());

        around.program_folders = vec![root.path().join("app/bin")];
        put(&root.path().join("app/lib/secateurs/libtorch_cpu.so"), "");
        assert!(
            libtorch_folder(&around).unwrap().ends_with("app/lib/secateurs"),
            "next to the program comes first"
        );
    }

    #[test]
    fn every_place_of_the_shim_is_listed() {
        let around = Surroundings {
            program_folders: vec!["/nowhere/bin".into()],
            cache: Some("/nowhere/cache".into()),
            ..Default::default()
        };
        let places: Vec<_> = shim(&around).unwrap_err().into_iter().map(|looked| looked.place).collect();
        assert_eq!(
            places,
            [
                "/nowhere/bin/libtorch/libtch-0.24.0.so",
                "/nowhere/lib/secateurs/libtch-0.24.0.so",
                "/nowhere/cache/secateurs/torch-2.11.0/libtch-0.24.0.so"
            ]
        );
    }

    #[test]
    fn a_python_without_torch_or_no_python_is_a_reason() {
        let around = Surroundings { python: Some("no-such-python".into()), ..Default::default() };
        let looked = libtorch_folder(&around).unwrap_err();
        assert!(looked[1].to_string().starts_with("no-such-python: cannot be run"), "{looked:?}");
    }
}
