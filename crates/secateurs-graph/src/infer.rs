//! Shape inference over the whole graph.

use slotmap::SecondaryMap;

use crate::dim::{Bindings, Dim};
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::op::{Inputs, Op, OpError};

/// What is known of every value.
pub type Facts = SecondaryMap<ValueId, Fact>;

impl Graph {
    /// Infers the facts of all values from given facts of the inputs, which default to the graph's own.
    pub fn infer(&self, inputs: &SecondaryMap<ValueId, Fact>) -> Result<Facts, GraphError> {
        let mut facts = Facts::with_capacity(self.values.len());
        for (id, value) in &self.values {
            match &value.source {
                Source::Input => {
                    facts.insert(id, inputs.get(id).unwrap_or(&value.fact).clone());
                }
                Source::Tensor(_) => {
                    facts.insert(id, value.fact.clone());
                }
                Source::Node(..) => {}
            }
        }
        for &id in &self.order {
            let outputs = self.infer_node(id, &facts)?;
            for (value, fact) in self.nodes[id].outputs.iter().zip(outputs) {
                if let Some(value) = value {
                    facts.insert(*value, fact);
                }
            }
        }
        Ok(facts)
    }

    /// The facts of a node's outputs, from those of what it reads.
    pub(crate) fn infer_node(&self, id: NodeId, facts: &Facts) -> Result<Vec<Fact>, GraphError> {
        let node = &self.nodes[id];
        let inputs: Vec<Option<&Fact>> = node.inputs.iter().map(|v| v.and_then(|v| facts.get(v))).collect();
        let captures: Vec<(&str, &Fact)> = node
            .captures
            .iter()
            .filter_map(|&v| Some((self.values[v].name.as_str(), facts.get(v)?)))
            .collect();
        self.infer_op(id, node.op.as_ref(), &Inputs { captures: &captures, ..node.op_inputs(&inputs) })
    }

    /// The facts of a node's outputs if it had this op and these inputs.
    pub(crate) fn infer_op(&self, id: NodeId, op: &dyn Op, inputs: &Inputs) -> Result<Vec<Fact>, GraphError> {
        let mut outputs = self.infer_alone(id, op, inputs)?;
        for (fact, value) in outputs.iter_mut().zip(&self.nodes[id].outputs) {
            if let Some(declared) = value.and_then(|v| self.values[v].declared.as_ref()) {
                fact.complete(declared);
            }
        }
        Ok(outputs)
    }

    /// What the inputs alone say of the outputs, whatever the file declares.
    pub(crate) fn infer_alone(
        &self,
        id: NodeId,
        op: &dyn Op,
        inputs: &Inputs,
    ) -> Result<Vec<Fact>, GraphError> {
        let mut outputs = match op.infer(inputs) {
            Ok(outputs) => outputs,
            Err(OpError::Undetermined) => Vec::new(),
            Err(source) => return Err(self.node_error(id, source)),
        };
        outputs.resize_with(self.nodes[id].outputs.len(), Fact::unknown);
        for fact in &outputs {
            if let Some(negative) = fact.shape.iter().flatten().find(|d| d.known().is_some_and(|n| n < 0)) {
                let text =
                    format!("the output would have a dimension of {negative}; its inputs are too small");
                return Err(self.node_error(id, OpError::Invalid(text)));
            }
        }
        Ok(outputs)
    }

    /// Infers the facts of all values anew and stores them.
    pub fn update_facts(&mut self) -> Result<(), GraphError> {
        let facts = self.infer(&SecondaryMap::new())?;
        for (id, fact) in facts {
            self.values[id].fact = fact;
        }
        Ok(())
    }

    /// Binds symbolic sizes of the inputs to numbers and infers the rest anew.
    pub fn bind(&mut self, bindings: &Bindings) -> Result<(), GraphError> {
        for input in self.inputs.clone() {
            let value = &mut self.values[input];
            value.fact = value.fact.bind(bindings);
        }
        for (_, value) in &mut self.values {
            value.declared = value.declared.as_ref().map(|d| d.bind(bindings));
        }
        self.update_facts()
    }

    /// Gives an input a shape and infers the rest anew. Symbols of the input take the sizes given, in every input.
    pub fn bind_shape(&mut self, input: &str, shape: &[i64]) -> Result<(), GraphError> {
        let fail = |reason: String| GraphError::Input { name: input.into(), reason };
        let names = || self.inputs.iter().map(|&v| format!("'{}'", self.values[v].name)).collect::<Vec<_>>();
        let id = self
            .inputs
            .iter()
            .copied()
            .find(|&v| self.values[v].name == input)
            .ok_or_else(|| fail(format!("the model has no such input; it has {}", names().join(", "))))?;
        let old = self.values[id].fact.shape.clone();
        if let Some(old) = &old {
            if old.len() != shape.len() {
                return Err(fail(format!("the model gives it {} axes, not {}", old.len(), shape.len())));
            }
            if let Some((a, b)) = old.iter().zip(shape).find(|(a, b)| a.known().is_some_and(|a| a != **b)) {
                return Err(fail(format!("the model fixes a size of {a} where {b} is given")));
            }
        }
        let mut bindings = Bindings::new();
        for (dim, &size) in old.iter().flatten().zip(shape) {
            if let [name] = &dim.symbols()[..]
                && *dim == Dim::symbol(name.clone())
            {
                bindings.insert(name.to_string(), size);
            }
        }
        self.values[id].fact.shape = Some(shape.iter().map(|&n| Dim::from(n)).collect());
        self.bind(&bindings)
    }
}

impl Fact {
    /// Fills what is unknown here with what the file declares.
    fn complete(&mut self, declared: &Fact) {
        self.element_type = self.element_type.or(declared.element_type);
        match (&mut self.shape, &declared.shape) {
            (None, Some(shape)) => self.shape = Some(shape.clone()),
            (Some(mine), Some(theirs)) if mine.len() == theirs.len() => {
                for (a, b) in mine.iter_mut().zip(theirs) {
                    if !a.is_determined() && b.is_determined() {
                        *a = b.clone();
                    }
                }
            }
            _ => {}
        }
    }
}
