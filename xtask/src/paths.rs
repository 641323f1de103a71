//! The folders of this repository.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repo() -> PathBuf {
    let here =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map(Path::to_owned).unwrap_or(here)
}

/// Data sets and fixtures; git ignores it.
pub fn data() -> PathBuf {
    repo().join("data")
}

/// Small files that are committed.
pub fn assets() -> PathBuf {
    repo().join("assets")
}

/// A script of `xtask/python`.
pub fn script(name: &str) -> PathBuf {
    repo().join("xtask").join("python").join(name)
}

/// A crate of this workspace, if it exists.
pub fn member(name: &str) -> Option<PathBuf> {
    Some(repo().join("crates").join(name)).filter(|folder| folder.join("Cargo.toml").is_file())
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repo().join("target"), PathBuf::from)
}
