//! `cargo xtask build`: the release binary.

use anyhow::Result;

use crate::{only_flags, paths, run};

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    if paths::member("secateurs-cli").is_none() {
        eprintln!("there is no secateurs-cli yet: no binary to build");
        return Ok(());
    }
    run::run(run::cargo().args(["build", "--release", "--package", "secateurs-cli"]))
}
