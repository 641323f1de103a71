//! What can be wrong with a recipe.

use std::path::PathBuf;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error(
        "{}: {source}; --recipe takes a TOML file or one of the shipped recipes ({})", path.display(), shipped()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key that there is not, or a value of the wrong kind.
    #[error("{name}, line {line}: {reason}")]
    Format {
        /// The recipe.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{}{reason}", if name.is_empty() { String::new() } else { format!("{name}: ") })]
    Value {
        /// The recipe; empty without one.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

fn shipped() -> String {
    super::SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl RecipeError {
    /// What the parser says, with the line and, for an unknown key, the nearest known one.
    pub(super) fn format(name: &str, text: &str, error: &toml::de::Error) -> RecipeError {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count() + 1;
        RecipeError::Format { name: name.into(), line, reason: reason(error.message()) }
    }
}

/// Makes of serde's "unknown field `epoch`, expected one of `epochs`, `seed`" what to do about it.
fn reason(message: &str) -> String {
    if !message.starts_with("unknown field") {
        return message.replace('\n', "; ");
    }
    // Serde's texts have no structured form; names stand between backticks, the unknown one first.
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let nearest = known.iter().map(|name| (distance(unknown, name), *name)).min();
    let advice = match nearest {
        Some((distance, name)) if distance <= 2.max(unknown.len() / 3) => format!("did you mean '{name}'?"),
        _ => format!("the keys here are {}", known.join(", ")),
    };
    format!("unknown key '{unknown}'; {advice}")
}

/// Insertions, deletions and exchanges of a letter that make one name of the other (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
