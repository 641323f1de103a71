//! Names of parts of a model: `encoder.*` is whatever has a component `encoder` in its name, and more behind it.

use serde::{Deserialize, Serialize};

use crate::glob::matches;

/// Patterns of which a name must match one. Names are components between dots, slashes and colons; a pattern matches from the start of any
/// component to the end of the name, with `*` for anything and `?` for any one character.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parts(pub Vec<String>);

impl Parts {
    /// Whether there is no pattern, so that everything is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name is meant.
    pub fn has(&self, name: &str) -> bool {
        self.is_all() || self.0.iter().any(|pattern| matches_from_any(pattern, name))
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'/' | b':')
}

fn matches_from_any(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let starts = |&at: &usize| at == 0 || is_separator(name[at - 1]);
    let same = |p: u8, t: u8| p == b'?' || p == t || is_separator(p) && is_separator(t);
    (0..name.len()).filter(starts).any(|at| matches(pattern, &name[at..], same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_from_any_component_to_the_end() {
        let has = |pattern: &str, name: &str| Parts(vec![pattern.into()]).has(name);
        for (pattern, name) in [
            ("encoder.*", "bert.encoder.layer.0.output.dense.weight"),
            ("encoder.*", "/bert/encoder/layer.0/output/dense/MatMul"),
            ("*", "anything"),
            ("layer.?.*", "model.layer.3.weight"),
            ("*.weight", "a.b.weight"),
            ("head", "model/head"),
            ("fc*bias", "net.fc1.b.bias"),
        ] {
            assert!(has(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("encoder.*", "bert.my_encoder.layer"),
            ("encoder.*", "bert.encoder"),
            ("encoder", "bert.encoder.layer"),
            ("layer.?.*", "model.layer.13.weight"),
            ("", "a"),
        ] {
            assert!(!has(pattern, name), "{pattern} {name}");
        }
        assert!(Parts::default().has("anything"));
    }
}
