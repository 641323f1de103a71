//! `cargo xtask fixtures`: what tests compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::{cache, only_flags, paths, run};

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    println!("SECATEURS_PYTHON={}", make()?.display());
    Ok(())
}

/// Makes what is missing; returns the Python that has ONNX and ONNX Runtime.
pub fn make() -> Result<PathBuf> {
    let _lock = cache::lock()?;
    let python = python_with_onnx()?;
    node_tests(&python)?;
    zoo(&python)?;
    Ok(python)
}

/// A Python that has ONNX and ONNX Runtime. The lock of the cache is held.
pub fn python_with_onnx() -> Result<PathBuf> {
    let requirements = paths::repo().join("xtask").join("requirements.txt");
    environment("python", &requirements, |python, folder| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--only-binary=:all:"]);
        run::run(pip.arg("--requirement").arg(&requirements).current_dir(folder))
    })
}

/// The folder of a Python's packages.
pub fn packages(python: &Path) -> Result<PathBuf> {
    let ask = ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"];
    Ok(run::output(Command::new(python).args(ask))?.trim().into())
}

/// A virtual environment in the cache, one per content of `requirements`; `fill` installs into it. Returns its Python.
pub fn environment(
    name: &str,
    requirements: &Path,
    fill: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let version = run::output(run::python().args(["-c", "import sys; print(sys.version)"]))?;
    let key = cache::sha256(&(fs::read_to_string(requirements)? + &version));
    let folder = cache::folder()?.join(format!("{name}-{}", &key[..12]));
    if !folder.is_dir() {
        run::step("making a Python environment", || {
            cache::whole(&folder, |temporary| {
                run::run(run::python().args(["-m", "venv"]).arg(temporary))
                    .context("Python needs its module venv (on Debian: apt install python3-venv)")?;
                fill(&temporary.join("bin").join("python"), temporary)
            })
        })?;
    }
    Ok(folder.join("bin").join("python"))
}

/// ONNX's operator tests: `data/onnx-node-tests/<case>/{model.onnx,test_data_set_0/*.pb}`.
fn node_tests(python: &Path) -> Result<()> {
    let folder = paths::data().join("onnx-node-tests");
    if folder.is_dir() {
        return Ok(());
    }
    run::step("writing ONNX's operator tests", || {
        cache::whole(&folder, |temporary| {
            run::run(Command::new(python).arg(paths::script("node_tests.py")).arg(temporary))
        })
    })
}

/// The zoo next to the repository, if there is one: `data/zoo/<name>.onnx`.
fn zoo(python: &Path) -> Result<()> {
    let source = paths::repo().join("..").join("shared").join("zoo");
    if !source.is_dir() {
        eprintln!("there is no ../shared/zoo: its models are not tested");
        return Ok(());
    }
    let target = paths::data().join("zoo");
    let mut missing: Vec<String> = fs::read_dir(&source)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".onnx.xz").map(str::to_owned))
        .filter(|name| !target.join(format!("{name}.onnx")).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort();
    run::step(&format!("unpacking {} models of the zoo", missing.len()), || {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
        let chunk = missing.len().div_ceil(workers);
        thread::scope(|scope| {
            let threads: Vec<_> = missing
                .chunks(chunk)
                .map(|names| {
                    let (source, target) = (&source, &target);
                    scope
                        .spawn(move || names.iter().try_for_each(|name| unpack(python, source, target, name)))
                })
                .collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread panicked"),
            })
        })
    })
}

fn unpack(python: &Path, source: &Path, target: &Path, name: &str) -> Result<()> {
    cache::whole(&target.join(format!("{name}.onnx")), |temporary| {
        let script = source.join("zoo_unpack.py");
        run::run(Command::new(python).arg(script).arg(source.join(name)).arg(temporary))
    })
}
