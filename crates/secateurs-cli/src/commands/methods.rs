//! `secateurs methods`: what can be used, with its source.

use std::io::{self, Write};

use clap::Args;
use secateurs::methods::METHODS;
use serde::Serialize;

use crate::error::Result;

/// List the methods for --method, with their formulas and sources
#[derive(Args)]
pub struct Methods {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    summary: &'static str,
    formula: &'static str,
    source: &'static str,
}

impl Methods {
    pub fn run(self) -> Result {
        let mut out = io::stdout().lock();
        if self.json {
            let row = |m: &secateurs::methods::Method| Row {
                name: m.name,
                summary: m.summary,
                formula: m.formula,
                source: m.source,
            };
            let rows: Vec<Row> = METHODS.iter().map(row).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&rows).map_err(io::Error::from)?)?;
            return Ok(());
        }
        for method in METHODS {
            writeln!(out, "{:<10} {}", method.name, method.summary)?;
            writeln!(out, "{:<10} score: {}", "", method.formula)?;
            writeln!(out, "{:<10} source: {}", "", method.source)?;
        }
        Ok(())
    }
}
