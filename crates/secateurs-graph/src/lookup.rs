//! What becomes of an input that holds indices: which tables it looks up, and whether anything else is computed with it.

use crate::graph::{Graph, ValueId};
use crate::op::InputRole;

/// What reads an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lookups {
    /// The length of the shortest axis that it is an index of.
    pub rows: Option<usize>,
    /// Whether it, and not only its size or what tables hold at it, reaches an output.
    pub computed_with: bool,
}

impl Graph {
    /// What reads a value that holds integers, behind views of it.
    pub fn lookups(&self, value: ValueId) -> Lookups {
        let uses = self.uses();
        let mut found = Lookups { computed_with: self.outputs.contains(&value), ..Lookups::default() };
        let mut left = vec![value];
        while let Some(value) = left.pop() {
            for at in &uses[value] {
                let node = &self.nodes[at.node];
                // Captured by a subgraph: anything may be done with it there.
                let Some(input) = at.input else {
                    found.computed_with = true;
                    continue;
                };
                let facts = self.input_facts(node);
                let table = node.op.table(&node.op_inputs(&facts)).filter(|table| table.indices == input);
                if let Some(table) = table {
                    let rows = table.rows.map_or(usize::MAX, |rows| rows as usize);
                    found.rows = Some(found.rows.map_or(rows, |known| known.min(rows)));
                } else if node.op.is_view() && input == 0 {
                    let views = node.outputs.iter().flatten();
                    found.computed_with |= views.clone().any(|view| self.outputs.contains(view));
                    left.extend(views);
                } else if node.op.role(input) != InputRole::Sizes {
                    found.computed_with = true;
                }
            }
        }
        found.rows = found.rows.filter(|rows| *rows < usize::MAX);
        found
    }
}
