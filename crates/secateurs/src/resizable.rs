//! Inputs and outputs of a model that are named to shrink with the units that they carry: cached keys and values, states of recurrent
//! layers.

use secateurs_graph::coupling::{Coupling, CouplingOptions};
use secateurs_graph::{Graph, ValueId};

use crate::glob;
use crate::plan::PlannedSplit;

/// Why inputs and outputs cannot shrink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResizableError {
    /// Names of nothing.
    #[error("--resizable: the model has no input or output {wanted}; it has {known}")]
    Unknown {
        /// The names.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Integers and truth values have no units.
    #[error("--resizable: {0} holds no floating-point numbers, and so no units; leave it out")]
    NotFloats(String),
    /// No unit reaches them, or what a unit reaches besides keeps its shape.
    #[error(
        "--resizable: no unit reaches {0}; name all inputs and outputs that shrink together, and no others"
    )]
    Fixed(String),
}

/// The inputs and outputs that these names stand for, in the model's order. `*` in a name stands for any characters.
pub fn resizable(graph: &Graph, names: &[String]) -> Result<Vec<ValueId>, ResizableError> {
    let ports: Vec<ValueId> = graph.inputs.iter().chain(&graph.outputs).copied().collect();
    let name = |port: ValueId| graph.values[port].name.as_str();
    let named = |wanted: &str, port: ValueId| {
        let exact = ports.iter().any(|&port| name(port) == wanted);
        if exact { name(port) == wanted } else { matches(wanted, name(port)) }
    };
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|wanted| !ports.iter().any(|&port| named(wanted, port)))
        .collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = ports.iter().map(|&port| name(port)).collect();
        return Err(ResizableError::Unknown { wanted: quoted(&unknown), known: quoted(&known) });
    }
    let mut found: Vec<ValueId> = Vec::new();
    for &port in &ports {
        if !found.contains(&port) && names.iter().any(|wanted| named(wanted, port)) {
            found.push(port);
        }
    }
    let is_float = |port: &ValueId| graph.values[*port].fact.element_type.is_none_or(|t| t.is_float());
    let others: Vec<&str> = found.iter().filter(|port| !is_float(port)).map(|&port| name(port)).collect();
    match others.is_empty() {
        true => Ok(found),
        false => Err(ResizableError::NotFloats(quoted(&others))),
    }
}

/// The names of inputs and outputs, as plans and evidence have them.
pub(crate) fn names(graph: &Graph, ports: &[ValueId]) -> Vec<String> {
    ports.iter().map(|&port| graph.values[port].name.clone()).collect()
}

/// The groups of a graph whose products are split in this way, and of which the inputs and outputs with these names shrink. Every one of
/// them must lose indices with some unit.
pub fn coupling(graph: &Graph, split: PlannedSplit, names: &[String]) -> Result<Coupling, ResizableError> {
    let ports = resizable(graph, names)?;
    let coupling = unchecked(graph, split, &ports);
    let fixed = ports.into_iter().filter(|&port| !coupling.resizes(graph, port));
    let told = |port: ValueId| {
        let reasons: Vec<String> = coupling
            .why_fixed(graph, port)
            .into_iter()
            .map(|(axis, reason)| format!("axis {axis}: {reason}"))
            .collect();
        match reasons.is_empty() {
            true => format!("'{}'", graph.values[port].name),
            false => format!("'{}' ({})", graph.values[port].name, reasons.join("; ")),
        }
    };
    let fixed: Vec<String> = fixed.map(told).collect();
    match fixed.is_empty() {
        true => Ok(coupling),
        false => Err(ResizableError::Fixed(fixed.join(", "))),
    }
}

/// The same where what no unit reaches any more is no mistake, as in a model that was pruned.
pub(crate) fn unchecked(graph: &Graph, split: PlannedSplit, resizable: &[ValueId]) -> Coupling {
    let options =
        CouplingOptions { split: split.into(), resizable: resizable.to_vec(), ..CouplingOptions::default() };
    graph.coupling(&options)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Whether a name is of a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    glob::matches(pattern.as_bytes(), name.as_bytes(), |p, t| p == t)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

    use super::*;

    /// A step of a recurrent net without ties: `state = tanh(x·w + past·u)`, `y = state·v`.
    fn cell() -> Graph {
        let weights = |shape: [usize; 2]| {
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32).sin()).collect();
            Tensor::from_slice(shape.to_vec(), &values).unwrap()
        };
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3"])
            .input("past", ElementType::Float32, &["batch", "5"])
            .input("length", ElementType::Int64, &["batch"])
            .constant("w", &weights([3, 5]))
            .constant("u", &weights([5, 5]))
            .constant("v", &weights([5, 2]))
            .node("MatMul", &["x", "w"], &["a"])
            .node("MatMul", &["past", "u"], &["b"])
            .node("Add", &["a", "b"], &["c"])
            .node("Tanh", &["c"], &["state"])
            .node("MatMul", &["state", "v"], &["y"])
            .node("Identity", &["length"], &["same"]);
        let model = model.output("y").output("state").output("same").build().unwrap();
        Graph::from_model(model).unwrap()
    }

    fn refused(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        coupling(&cell(), PlannedSplit::Outer, &names).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_shrink_is_named_with_the_reason() {
        let text = refused(&["past", "presnet", "state"]);
        assert!(text.contains("no input or output 'presnet'; it has 'x', 'past'"), "{text}");
        let text = refused(&["length", "past", "same"]);
        assert!(text.contains("'length', 'same' holds no floating-point numbers"), "{text}");
        let text = refused(&["y*", "z*"]);
        assert!(text.contains("'z*'") && !text.contains("'y*'"), "{text}");
    }

    #[test]
    fn units_reach_what_is_named_and_nothing_else() {
        let graph = cell();
        let kinds = |names: &[&str]| -> Vec<usize> {
            let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
            let coupling = coupling(&graph, PlannedSplit::Outer, &names).unwrap();
            coupling.groups.iter().map(|group| group.units.len()).collect()
        };
        assert_eq!(kinds(&[]), [0; 0]);
        assert_eq!(kinds(&["past"]), [5]);
        assert_eq!(kinds(&["past", "state"]), [5, 5]);
        assert_eq!(kinds(&["*st*te", "past*"]), [5, 5]);
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in
            [("a*", "a"), ("*", ""), ("past.*.key", "past.0.key"), ("*a*b", "xaab"), ("a*b*", "acbd")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*a", "a"), ("past.*.key", "past.0.value"), ("a", "ab"), ("*a*b", "ba")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_was_made_of(parts in prop::collection::vec("[ab]{0,3}", 1..4), fill in "[ab]{0,3}") {
            prop_assert!(matches(&parts.join("*"), &parts.join(&fill)));
        }
    }
}
