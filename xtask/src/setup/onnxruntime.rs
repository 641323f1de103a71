//! ONNX Runtime's library, out of its wheel.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::pypi::{self, Wheel};
use crate::{cache, run};

const VERSION: &str = "1.32.0";

const WHEEL: Wheel = Wheel {
    requirement: "onnxruntime==1.32.0",
    sha256_x86_64: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    sha256_aarch64: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
};

/// Puts `libonnxruntime.so` into `<cache>/onnxruntime-<version>`.
pub fn install(again: bool) -> Result<()> {
    let folder = cache::folder()?.join(format!("onnxruntime-{VERSION}"));
    let library = folder.join("libonnxruntime.so");
    if again || !library.is_file() {
        run::step("fetching ONNX Runtime from PyPI", || cache::whole(&folder, fetch))?;
    }
    eprintln!("ONNX Runtime {VERSION}: {}", library.display());
    Ok(())
}

fn fetch(folder: &Path) -> Result<()> {
    pypi::fetch_and_unpack(&WHEEL, folder, &["onnxruntime/capi/libonnxruntime.so.*"])?;
    let package = folder.join("onnxruntime");
    let library = fs::read_dir(package.join("capi"))?.next().context("the wheel holds the library")??.path();
    fs::rename(library, folder.join("libonnxruntime.so"))?;
    cache::remove(&package)
}
