//! `cargo xtask lint`: formatting, clippy, documentation.

use anyhow::Result;

use crate::{only_flags, paths, run};

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    let clippy = |selection: &[&str]| {
        run::run(run::cargo().arg("clippy").args(selection).args(["--", "--deny", "warnings"]))
    };
    run::step("formatting", || run::run(run::cargo().args(["fmt", "--all", "--check"])))?;
    run::step("clippy", || clippy(&["--workspace", "--all-targets"]))?;
    if paths::member("secateurs-graph").is_some() {
        run::step("clippy of the graph without torch", || {
            clippy(&["--package", "secateurs-graph", "--no-default-features"])
        })?;
    }
    run::step("documentation", || {
        let mut doc = run::cargo();
        run::run(doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
    })
}
