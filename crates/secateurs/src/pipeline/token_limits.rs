//! What a model can take of texts: how many tokens, and which.

use std::collections::BTreeMap;

use secateurs_graph::{Bindings, Graph};

use crate::data::TokenLimits;

/// More tokens than any text is cut to; where that many fit, there is no limit worth knowing.
const MANY: i64 = 1 << 16;

/// The limits of a graph. Takes several inferences of shapes where a symbolic length is limited.
pub(super) fn token_limits(graph: &Graph, wished: Option<usize>) -> TokenLimits {
    let name = |id| graph.values[id].name.clone();
    let mut rows = BTreeMap::new();
    let mut computed_with = Vec::new();
    for &input in &graph.inputs {
        let lookups = graph.lookups(input);
        rows.extend(lookups.rows.map(|rows| (name(input), rows)));
        if lookups.computed_with {
            computed_with.push(name(input));
        }
    }
    TokenLimits { positions: positions(graph, wished), rows, computed_with: Some(computed_with) }
}

/// The largest size of the symbol that is every input's length for which the shapes fit together; `None` where there is no such symbol
/// or no limit, as far as is `wished` at least.
fn positions(graph: &Graph, wished: Option<usize>) -> Option<usize> {
    let length = |id: &secateurs_graph::ValueId| match graph.values[*id].fact.shape.as_deref() {
        Some([_, length]) => length.symbols().first().map(ToString::to_string),
        _ => None,
    };
    let symbols: Vec<String> = graph.inputs.iter().filter_map(length).collect();
    let fits = |size: i64| {
        let mut bound = graph.clone();
        bound.bind(&symbols.iter().map(|symbol| (symbol.clone(), size)).collect::<Bindings>()).is_ok()
    };
    let most = wished.map_or(MANY, |n| (n as i64).clamp(1, MANY));
    if symbols.is_empty() || fits(most) || !fits(1) {
        return None;
    }
    let (mut fit, mut fails) = (1, most);
    while fails - fit > 1 {
        let middle = fit + (fails - fit) / 2;
        match fits(middle) {
            true => fit = middle,
            false => fails = middle,
        }
    }
    Some(fit as usize)
}
