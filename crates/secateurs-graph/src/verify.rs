//! The invariants of a graph, and the order in which its nodes can run.

use std::collections::HashMap;

use slotmap::SecondaryMap;

use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, ValueId};

impl Graph {
    /// Checks every invariant: ids point to what exists, each value has the one producer it names, names are unique,
    /// the order is complete and runs producers before consumers.
    pub fn verify(&self) -> Result<(), GraphError> {
        let fail = |text: String| Err(GraphError::Inconsistent(text));
        if self.order.len() != self.nodes.len() {
            return fail(format!("{} nodes, {} in the order", self.nodes.len(), self.order.len()));
        }
        let mut names = HashMap::new();
        for (id, value) in &self.values {
            if let Some(other) = names.insert(value.name.as_str(), id) {
                return fail(format!("two values are named '{}' ({other:?}, {id:?})", value.name));
            }
            if let Source::Node(node, i) = value.source {
                let made = self.nodes.get(node).and_then(|n| n.outputs.get(i).copied().flatten());
                if made != Some(id) {
                    return fail(format!("'{}' names a producer that does not make it", value.name));
                }
            }
        }
        let mut ready = SecondaryMap::<ValueId, ()>::new();
        for (id, value) in &self.values {
            if !matches!(value.source, Source::Node(..)) {
                ready.insert(id, ());
            }
        }
        for &id in &self.order {
            let Some(node) = self.nodes.get(id) else { return fail("the order names a missing node".into()) };
            for &value in node.inputs.iter().flatten().chain(&node.captures) {
                if !ready.contains_key(value) {
                    return fail(format!("node {} reads a value before it is made", self.node_label(id)));
                }
            }
            for (i, value) in node.outputs.iter().enumerate() {
                let Some(value) = *value else { continue };
                match self.values.get(value).map(|v| &v.source) {
                    Some(Source::Node(producer, index)) if (*producer, *index) == (id, i) => {}
                    _ => {
                        return fail(format!(
                            "node {} makes a value that does not name it",
                            self.node_label(id)
                        ));
                    }
                }
                ready.insert(value, ());
            }
        }
        for &value in &self.outputs {
            if !ready.contains_key(value) {
                return fail("an output of the graph is not made".into());
            }
        }
        match self
            .inputs
            .iter()
            .find(|v| !matches!(self.values.get(**v).map(|v| &v.source), Some(Source::Input)))
        {
            Some(_) => fail("an input of the graph is not an input value".into()),
            None => Ok(()),
        }
    }

    /// Puts the nodes into an order in which they can run, keeping the present order where it can.
    pub(crate) fn sort(&mut self) -> Result<(), GraphError> {
        let producer = |value: &ValueId| match self.values[*value].source {
            Source::Node(node, _) => Some(node),
            _ => None,
        };
        let mut state = SecondaryMap::<NodeId, State>::new();
        let mut sorted = Vec::with_capacity(self.order.len());
        for &root in &self.order {
            // Depth first with an explicit stack: hostile graphs are deep.
            let mut stack = vec![(root, 0)];
            while let Some((id, next)) = stack.pop() {
                if next == 0 {
                    match state.get(id) {
                        Some(State::Done) => continue,
                        Some(State::Open) => return Err(self.cycle(&stack, id)),
                        None => state.insert(id, State::Open),
                    };
                }
                let node = &self.nodes[id];
                let reads = node.inputs.iter().flatten().chain(&node.captures);
                match reads.skip(next).position(|v| producer(v).is_some()) {
                    Some(step) => {
                        let at = next + step;
                        let value = node.inputs.iter().flatten().chain(&node.captures).nth(at);
                        stack.push((id, at + 1));
                        let needed = value.and_then(producer);
                        match needed.map(|n| (n, state.get(n))) {
                            Some((_, Some(State::Done))) | None => {}
                            Some((n, Some(State::Open))) => return Err(self.cycle(&stack, n)),
                            Some((n, None)) => stack.push((n, 0)),
                        }
                    }
                    None => {
                        state.insert(id, State::Done);
                        sorted.push(id);
                    }
                }
            }
        }
        self.order = sorted;
        Ok(())
    }

    fn cycle(&self, stack: &[(NodeId, usize)], again: NodeId) -> GraphError {
        let start = stack.iter().position(|(id, _)| *id == again).unwrap_or(0);
        let mut nodes: Vec<String> = stack[start..].iter().map(|(id, _)| self.node_label(*id)).collect();
        nodes.dedup();
        nodes.push(self.node_label(again));
        const SHOWN: usize = 12;
        if nodes.len() > SHOWN {
            let left_out = nodes.len() - SHOWN;
            nodes.splice(SHOWN / 2..SHOWN / 2 + left_out, [format!("({left_out} more)")]);
        }
        GraphError::Cycle { nodes }
    }
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Done,
}
