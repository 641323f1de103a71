//! `secateurs completions`: completion scripts for shells.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::error::Result;

/// Print a shell's completion script
///
/// For bash: secateurs completions bash > ~/.local/share/bash-completion/completions/secateurs
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn run<C: CommandFactory>(self) -> Result {
        // Where it cannot write, it panics.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "secateurs", &mut script);
        Ok(io::stdout().write_all(&script)?)
    }
}
