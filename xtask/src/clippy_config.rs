//! `cargo xtask clippy-config`: writes `clippy.toml`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::{cache, only_flags, paths, run};

const HEADER: &str = "\
# Written by `cargo xtask clippy-config`.

# tch's methods that panic where libtorch reports an error, each with a twin `f_<name>` that returns it.
disallowed-methods = [
";

pub fn command(arguments: &[String]) -> Result<()> {
    only_flags(arguments, &[])?;
    let source = run::package_folder("tch")?.join("src");
    let mut methods = BTreeSet::new();
    for file in [
        "tensor/mod.rs",
        "wrappers/tensor.rs",
        "wrappers/tensor_generated.rs",
        "wrappers/tensor_fallible_generated.rs",
    ] {
        let path = source.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        methods.extend(text.lines().filter_map(public_method).map(str::to_owned));
    }
    let mut text = HEADER.to_owned();
    for method in methods.iter().filter(|method| methods.contains(&format!("f_{method}"))) {
        text += &format!("  {{ path = \"tch::Tensor::{method}\", reason = \"panics: use f_{method}\" }},\n");
    }
    text += "]\n";
    cache::whole(&paths::repo().join("clippy.toml"), |temporary| Ok(fs::write(temporary, text)?))
}

/// The name in a line such as `    pub fn add<'a>(&self) -> Tensor {`; raw names without their `r#`.
fn public_method(line: &str) -> Option<&str> {
    let signature = line.strip_prefix("    pub fn ")?;
    let name = signature.strip_prefix("r#").unwrap_or(signature);
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}
