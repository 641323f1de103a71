//! `cargo xtask test`: everything that the tests need, then all tests.

use anyhow::{Context, Result};

use crate::{data, fixtures, run, setup};

pub fn command(arguments: &[String]) -> Result<()> {
    setup::libraries(false)?;
    data::command(&[])?;
    let python = fixtures::make()?;
    nextest()?;
    let with_fixtures = |command: &[&str]| {
        let mut cargo = run::cargo();
        cargo.args(command).env("SECATEURS_PYTHON", &python);
        cargo
    };
    let mut nextest = with_fixtures(&["nextest", "run"]);
    if !run::names_a_package(arguments) {
        nextest.arg("--workspace");
    }
    run::show(nextest.args(arguments))?;
    if !arguments.is_empty() {
        // A selection was asked for.
        return Ok(());
    }
    run::show(&mut with_fixtures(&["test", "--doc", "--workspace"]))
}

/// Installs cargo-nextest where it is missing.
pub fn nextest() -> Result<()> {
    if run::output(run::cargo().args(["nextest", "--version"])).is_err() {
        run::step("installing cargo-nextest", || {
            run::run(run::cargo().args(["install", "--locked", "cargo-nextest"]))
        })
        .context("install cargo-nextest by hand: https://nexte.st")?;
    }
    Ok(())
}
