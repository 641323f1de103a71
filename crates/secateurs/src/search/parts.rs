//! Names of parts of a model: `encoder.*` is whatever has a component `encoder` in its name, and more behind it.

use std::collections::BTreeSet;

use secateurs_graph::Graph;
use secateurs_graph::coupling::{Coupling, Group};
use serde::{Deserialize, Serialize};

use crate::glob::matches;

/// Patterns of which a name must match one. Names are components between dots, slashes and colons; a pattern matches from the start of any
/// component to the end of the name, with `*` for anything and `?` for any one character. Space around it does not count.
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
        self.is_all() || self.0.iter().any(|pattern| matches_from_any(pattern.trim(), name))
    }

    /// A pattern that no constant and no node of a graph has as its name.
    pub fn unknown(&self, graph: &Graph) -> Option<&str> {
        let constants = graph.values.iter().filter(|(id, _)| graph.tensor(*id).is_some());
        let nodes = graph.nodes.values().map(|node| &node.name);
        let names: Vec<&String> = constants.map(|(_, value)| &value.name).chain(nodes).collect();
        let known = |pattern: &str| names.iter().any(|name| matches_from_any(pattern, name));
        self.0.iter().map(|pattern| pattern.trim()).find(|pattern| !known(pattern))
    }
}

/// Why names of groups are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupNameError {
    /// What every name has.
    #[error("a name is empty; leave out the comma beside it")]
    Empty,
    /// No group of units has a name.
    #[error(
        "no group of units has '{name}' in a name; its units are {kinds}{barred}. `secateurs inspect --groups` lists all, with what blocks \
         others"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The kinds of units that the model has.
        kinds: String,
        /// What cannot be pruned, and why.
        barred: String,
    },
}

/// The groups of which a kind of unit (`head`, `neuron`, `channel`) or a parameter has one of these in its own name; `None`, which is all,
/// where there are no names. Each must be that of a group; space around it does not count.
pub fn groups_named(
    graph: &Graph,
    coupling: &Coupling,
    names: &[String],
) -> Result<Option<Vec<usize>>, GroupNameError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut found = BTreeSet::new();
    for name in names.iter().map(|name| name.trim()) {
        if name.is_empty() {
            return Err(GroupNameError::Empty);
        }
        let named = |group: &Group| {
            let parameters = group.parameters.iter().map(|p| graph.values[p.value].name.as_str());
            parameters.chain([group.kind.name()]).any(|text| text.contains(name))
        };
        let mut own = (0..coupling.groups.len()).filter(|g| named(&coupling.groups[*g])).peekable();
        if own.peek().is_none() {
            return Err(unknown(graph, coupling, name));
        }
        found.extend(own);
    }
    Ok(Some(found.into_iter().collect()))
}

fn unknown(graph: &Graph, coupling: &Coupling, name: &str) -> GroupNameError {
    let kinds: BTreeSet<&str> = coupling.groups.iter().map(|group| group.kind.name()).collect();
    let barred: BTreeSet<String> = coupling.barred.iter().map(|b| b.reason.describe(graph)).collect();
    let listed = |texts: Vec<&str>, between: &str| (!texts.is_empty()).then(|| texts.join(between));
    GroupNameError::Unknown {
        name: name.into(),
        kinds: listed(kinds.into_iter().collect(), ", ").unwrap_or_else(|| "none".into()),
        barred: listed(barred.iter().take(3).map(String::as_str).collect(), "; ")
            .map_or_else(String::new, |why| format!("; what cannot be pruned: {why}")),
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
            (" encoder.* ", "bert.encoder.layer"),
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
