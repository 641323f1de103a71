//! `secateurs merge`: shards of evidence added up.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use secateurs::evidence::{Evidence, merge};

use super::show;
use crate::arguments::check_results;
use crate::error::Result;

/// Add up evidence that was measured in parts
///
/// The parts are of the same model, measured with the same settings on different samples: `secateurs measure --shard 1/2` and
/// `--shard 2/2`, on one machine or on many.
#[derive(Args)]
pub struct Merge {
    /// The files to add up
    #[arg(required = true, num_args = 2..)]
    parts: Vec<PathBuf>,
    /// Where to write the sum
    #[arg(short, long, value_name = "EVIDENCE")]
    output: PathBuf,
}

impl Merge {
    pub fn run(self) -> Result {
        check_results(&[Some(&self.output)])?;
        let mut parts = Vec::with_capacity(self.parts.len());
        for path in &self.parts {
            parts.push(Evidence::read(path)?);
        }
        let whole = merge(parts)?;
        whole.write(&self.output)?;
        let mut out = io::stdout().lock();
        show::print(&whole, &mut out)?;
        writeln!(out, "evidence  {}", self.output.display())?;
        Ok(())
    }
}
