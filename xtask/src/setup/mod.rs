//! `cargo xtask setup`: the libraries that the program loads, and the program.

mod libtorch;
mod onnxruntime;
mod shim;

use anyhow::Result;

use crate::{build, cache, only_flags};

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &["--again"])?;
    libraries(!arguments.is_empty())?;
    build::command(&[])
}

/// libtorch, the glue to it and ONNX Runtime, in the cache; `again` looks anew.
pub fn libraries(again: bool) -> Result<()> {
    let _lock = cache::lock()?;
    let torch = libtorch::install(again)?;
    shim::install(&torch)?;
    onnxruntime::install(again)
}
