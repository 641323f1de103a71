//! Running other programs.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::paths;

/// Runs `command`, what it prints going to stderr; fails with the command line if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    finish(command.stdout(Stdio::from(io::stderr())))
}

/// Like [`run`], with the command's stdout as ours.
pub fn show(command: &mut Command) -> Result<()> {
    finish(command)
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// What `command` prints on stdout; fails with what it prints on stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", line(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}

/// The cargo that runs us, in the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(paths::repo());
    command
}

/// Whether arguments for cargo select packages; `--workspace` would override them.
pub fn names_a_package(arguments: &[String]) -> bool {
    let selects = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    arguments.iter().take_while(|argument| *argument != "--").any(selects)
}

/// Python 3.
pub fn python() -> Command {
    Command::new("python3")
}

/// Says on stderr what is done, and afterwards how long it took.
pub fn step<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{what} …");
    let start = Instant::now();
    let done = act().with_context(|| format!("{what}: failed"))?;
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(done)
}

/// The source folder of a package that the workspace depends on.
pub fn package_folder(name: &str) -> Result<PathBuf> {
    // Without a platform, cargo downloads the crates of all.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = output(cargo().args(["metadata", "--format-version=1", "--filter-platform", &platform]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == name)
        .and_then(|package| package["manifest_path"].as_str())
        .with_context(|| format!("the workspace does not depend on {name}"))?;
    Ok(PathBuf::from(manifest).parent().context("a manifest lies in a folder")?.to_owned())
}
