//! `cargo xtask bench`: all benchmarks, or that of a name. Those that compare with PyTorch find it by `SECATEURS_PYTHON_TORCH`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, fixtures, paths, run, setup};

pub fn command(arguments: &[String]) -> Result<()> {
    setup::command(&[])?;
    let python = {
        let _lock = cache::lock()?;
        python_with_torch()?
    };
    let mut bench = run::cargo();
    bench.arg("bench").env("SECATEURS_PYTHON_TORCH", python);
    if !run::names_a_package(arguments) {
        bench.arg("--workspace");
    }
    match arguments.split_first() {
        Some((name, rest)) if !name.starts_with('-') => run::show(bench.arg("--bench").arg(name).args(rest)),
        _ => run::show(bench.args(arguments)),
    }
}

/// A Python that has torch 2.11.0 for the CPU. The lock of the cache is held.
pub fn python_with_torch() -> Result<PathBuf> {
    let requirements = paths::repo().join("xtask").join("requirements-torch.txt");
    fixtures::environment("python-torch", &requirements, |python, folder| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--requirement"]);
        run::run(pip.arg(&requirements))?;
        stand_ins(&fixtures::packages(python)?, folder)?;
        run::run(Command::new(python).args(["-c", "import torch; torch.ones(2, 2) @ torch.ones(2, 2)"]))
            .context("PyTorch does not start without its GPU libraries")
    })
}

/// What PyTorch's GPU part links to; on the CPU it calls nothing of it.
const GPU_LIBRARIES: [&str; 11] = [
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libcufft.so.12",
    "libcufile.so.0",
    "libcurand.so.10",
    "libcusolver.so.12",
    "libcusparse.so.12",
    "libcusparseLt.so.0",
    "libnccl.so.2",
    "libnvshmem_host.so.3",
];

/// Empty libraries in place of NVIDIA's, which are 2 GB. Python must then bind functions at their first call.
fn stand_ins(packages: &Path, folder: &Path) -> Result<()> {
    let source = folder.join("empty.c");
    fs::write(&source, "")?;
    for name in GPU_LIBRARIES {
        let library = packages.join("nvidia").join("cu13").join("lib").join(name);
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
        compiler.args(["-shared", &format!("-Wl,-soname,{name}"), "-o"]).arg(library).arg(&source);
        run::run(&mut compiler)?;
    }
    fs::write(packages.join("bind_lazily.pth"), "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n")?;
    Ok(())
}
