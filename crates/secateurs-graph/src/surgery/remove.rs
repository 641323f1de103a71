//! The smaller model.
//!
//! Constants are sliced along the spaces of their axes; ops change their attributes ([`Op::shrink`](crate::op::Op::shrink));
//! then the nodes are gone through in order, what they read is inferred anew, and sizes that would be wrong are put right.
//! Numbers that were computed from sizes (a divisor √head_dim) keep their old value.

use std::collections::HashMap;
use std::sync::Arc;

use secateurs_onnx::ElementType;
use slotmap::SecondaryMap;

use super::constants::{KeptAxes, floats, slice, sliced};
use super::controls;
use crate::coupling::{Coupling, Selection};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::{Content, DisplayShape, Fact, Shape};
use crate::graph::{Graph, Node, NodeId, Use, Value, ValueId};
use crate::infer::Facts;
use crate::op::{InputRole, Inputs, Op};
use crate::ops;
use crate::patch::{Feed, Patch};
use crate::shrink::{Kept, Scale, Shrunk, ShrunkInput, Subset, Target};

impl Coupling {
    /// The change that leaves only `selection`. `graph` must be the one that the coupling was found in.
    pub fn surgery(&self, graph: &Graph, selection: &Selection) -> Result<Patch, GraphError> {
        let spaces = self.kept(selection);
        let mut surgeon = Surgeon {
            graph,
            coupling: self,
            spaces: &spaces,
            uses: graph.uses(),
            facts: Facts::with_capacity(graph.values.len()),
            own: HashMap::new(),
            patch: Patch::new(),
        };
        surgeon.constants()?;
        surgeon.ports();
        for &id in &graph.order {
            if graph.nodes[id].op.constant().is_none() {
                surgeon.node(id)?;
            }
        }
        let mut patch = surgeon.patch;
        patch.remove_dead();
        Ok(patch)
    }
}

struct Surgeon<'g> {
    graph: &'g Graph,
    coupling: &'g Coupling,
    /// The kept indices of each space.
    spaces: &'g [Option<Subset>],
    uses: SecondaryMap<ValueId, Vec<Use>>,
    /// What is known of values after surgery.
    facts: Facts,
    /// What is known where a use gets a constant of its own.
    own: HashMap<(NodeId, usize), Fact>,
    patch: Patch,
}

impl<'g> Surgeon<'g> {
    fn constants(&mut self) -> Result<(), GraphError> {
        let constants = self.graph.values.iter().filter(|(id, _)| self.graph.tensor(*id).is_some());
        self.facts.extend(constants.map(|(id, value)| (id, value.fact.clone())));
        for small in sliced(self.graph, &self.uses, |node, input, axis| self.kept(node, input, axis))? {
            let fact = Fact::from_tensor(&small.tensor);
            match &small.copied {
                None => drop(self.facts.insert(small.value, fact)),
                Some(uses) => self.own.extend(uses.iter().map(|at| (*at, fact.clone()))),
            }
            small.put(self.graph, &mut self.patch);
        }
        Ok(())
    }

    fn kept(&self, node: NodeId, input: usize, axis: usize) -> Option<Arc<[usize]>> {
        let space = self.coupling.spaces.axis(self.graph, node, input, axis)?;
        self.spaces[space as usize].as_ref().map(|subset| subset.indices.clone())
    }

    /// The model's inputs and outputs. They shrink only where the coupling was found with resizable or open ones.
    fn ports(&mut self) {
        for &port in self.graph.inputs.iter().chain(&self.graph.outputs) {
            let fact = self.resized(port);
            if fact.shape != self.graph.values[port].fact.shape
                && let Some(shape) = &fact.shape
            {
                self.patch.resize(port, shape.clone());
            }
            if self.graph.inputs.contains(&port) {
                self.facts.insert(port, fact);
            }
        }
    }

    fn resized(&self, value: ValueId) -> Fact {
        let mut fact = self.graph.values[value].fact.clone();
        for (axis, dim) in fact.shape.iter_mut().flatten().enumerate() {
            let space = self.coupling.spaces.value_axis(value, axis);
            if let Some(kept) = space.and_then(|s| self.spaces[s as usize].as_ref())
                && dim.known().is_some()
            {
                *dim = kept.indices.len().into();
            }
        }
        fact
    }

    /// What is known of an input after surgery, before it is put right.
    fn input(&self, id: NodeId, i: usize) -> Option<Fact> {
        let value = self.graph.nodes[id].inputs[i]?;
        self.own.get(&(id, i)).or_else(|| self.facts.get(value)).cloned()
    }

    fn node(&mut self, id: NodeId) -> Result<(), GraphError> {
        let node = &self.graph.nodes[id];
        let old: Vec<Option<&Fact>> = self.graph.input_facts(node);
        let old_outputs = self.graph.output_facts(node);
        let map = &self.coupling.spaces.maps[id];
        let atoms = self.coupling.atoms_kept(self.spaces, id);
        let cut = atoms.iter().any(Option::is_some);
        let mut inputs: Vec<Option<Fact>> = (0..node.inputs.len()).map(|i| self.input(id, i)).collect();
        let same = inputs.iter().zip(&old).all(|(new, old)| new.as_ref() == *old);
        if !cut && same {
            return self.insert(node, old_outputs);
        }
        let given = node.op_inputs(&old);
        let kept = Kept::new(map, given, &old_outputs, &atoms);
        let shrunk = match cut {
            true => node.op.shrink(&kept).map_err(|e| self.graph.node_error(id, e))?,
            false => Shrunk::default(),
        };
        // What becomes a floating-point number is frozen as the integer that it was.
        let computes_sizes = old_outputs.iter().any(|f| f.ints().is_some());
        // Where the graph computes the right shape by itself, it is left to.
        let served = || {
            let facts: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
            let outputs = node.op.infer(&Inputs::new(&facts, node.outputs.len()));
            outputs.is_ok_and(|outputs| outputs[0].shape == kept.output_shape(0))
        };
        let served = shrunk.target.filter(|_| served()).map(|target| target.input);
        for i in (0..inputs.len()).filter(|i| Some(*i) != served) {
            let wanted = match shrunk.controls.iter().find(|(at, _)| *at == i) {
                Some((_, fact)) => fact.clone(),
                None if computes_sizes || node.op.role(i) == InputRole::Sizes => continue,
                None => match self.frozen(&kept, old[i], i) {
                    Some(fact) => fact,
                    None => continue,
                },
            };
            let target = shrunk.target.filter(|target| target.input == i);
            let shape = target.and_then(|_| kept.output_shape(0));
            self.provide(id, i, &mut inputs[i], wanted, target.zip(shape))?;
        }
        let facts = self.replace(id, &shrunk, inputs)?;
        let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let op = shrunk.op.as_ref().unwrap_or(&node.op);
        let mut outputs =
            self.graph.infer_alone(id, op.as_ref(), &Inputs::new(&facts, node.outputs.len()))?;
        let rounds = |facts: &[Fact]| facts.iter().filter_map(Fact::ints).flatten().any(Dim::rounds);
        if computes_sizes && rounds(&outputs) && !rounds(&old_outputs) {
            return self.keep_whole(id, &old, old_outputs);
        }
        for (i, (fact, old)) in outputs.iter_mut().zip(&old_outputs).enumerate() {
            complete(fact, old.element_type, kept.output_shape(i));
        }
        if !computes_sizes {
            self.check(id, &kept, &outputs)?;
        }
        if let Some(scale) = shrunk.output_scale {
            self.rescale(id, &scale)?;
        }
        if let Some(op) = shrunk.op {
            self.patch.set_op(id, op);
        }
        self.insert(node, outputs)
    }

    /// Leaves a quotient of sizes what it was: one that is no longer whole cannot be put right by those who read it.
    fn keep_whole(
        &mut self,
        id: NodeId,
        old: &[Option<&Fact>],
        outputs: Vec<Fact>,
    ) -> Result<(), GraphError> {
        for (i, wanted) in old.iter().enumerate() {
            if let Some(wanted) = wanted.filter(|wanted| wanted.ints().is_some()) {
                self.provide(id, i, &mut self.input(id, i), wanted.clone(), None)?;
            }
        }
        self.insert(&self.graph.nodes[id], outputs)
    }

    /// Multiplies what a node makes, or a constant that it multiplies by.
    fn rescale(&mut self, id: NodeId, scale: &Scale) -> Result<(), GraphError> {
        let node = &self.graph.nodes[id];
        if let Some((i, value)) = scale.into.and_then(|i| Some((i, node.inputs[i]?)))
            && let Some(tensor) = self.graph.tensor(value)
        {
            let kept: KeptAxes = (0..tensor.shape().len()).map(|k| self.kept(id, i, k)).collect();
            let small = slice(tensor, &kept)?;
            let values = small.to_f64_vec().map_err(|e| GraphError::Inconsistent(e.to_string()))?;
            let values: Vec<f64> = values.into_iter().map(|x| x * scale.factor()).collect();
            let tensor = floats(small.element_type(), small.shape().to_vec(), &values)?;
            match self.is_only_use(value) {
                true => self.patch.set_tensor(value, tensor),
                false => self.patch.set_input_constant(
                    vec![(id, i)],
                    self.graph.values[value].name.clone(),
                    tensor,
                ),
            };
            return Ok(());
        }
        let Some(Some(value)) = node.outputs.first().copied() else { return Ok(()) };
        let Value { name, fact, .. } = &self.graph.values[value];
        let element_type = fact.element_type.unwrap_or(ElementType::Float32);
        let steps: [(&str, Box<dyn Op>, f64); 2] =
            [("of", Box::new(ops::Div), scale.over), ("kept", Box::new(ops::Mul), scale.times)];
        for (suffix, op, number) in steps.into_iter().filter(|(_, _, number)| *number != 1.0) {
            let name = format!("{name}_{suffix}");
            let constant = floats(element_type, Vec::new(), &[number])?;
            self.patch.insert_after(value, name.clone(), op, vec![(format!("{name}_value"), constant)]);
        }
        Ok(())
    }

    fn is_only_use(&self, value: ValueId) -> bool {
        self.uses[value].len() == 1 && !self.graph.outputs.contains(&value)
    }

    /// Whether a value leaves the graph, or a subgraph reads it: what it counts there is not known to shrink.
    fn is_shown(&self, value: ValueId) -> bool {
        self.graph.outputs.contains(&value) || self.uses[value].iter().any(|at| at.input.is_none())
    }

    fn insert(&mut self, node: &Node, outputs: Vec<Fact>) -> Result<(), GraphError> {
        for (value, mut fact) in node.outputs.iter().zip(outputs) {
            let Some(value) = *value else { continue };
            let old = &self.graph.values[value];
            if old.fact.ints().is_some() && fact.ints() != old.fact.ints() && self.is_shown(value) {
                controls::restore(self.graph, &mut self.patch, value, &fact, &old.fact)?;
                fact = old.fact.clone();
            }
            if let (Some(shape), Some(_)) = (&fact.shape, &old.declared)
                && fact.shape != old.fact.shape
            {
                self.patch.resize(value, shape.clone());
            }
            self.facts.insert(value, fact);
        }
        Ok(())
    }

    /// What an input with known contents must hold after surgery: its old contents, less what goes.
    fn frozen(&self, kept: &Kept, old: Option<&Fact>, i: usize) -> Option<Fact> {
        let old = old?;
        let content = old.content.as_ref()?;
        let Some(Some(axes)) = kept.map.inputs.get(i) else { return Some(old.clone()) };
        let sizes = old.known_shape()?;
        let mut picked = vec![0usize];
        for (axis, size) in axes.iter().zip(&sizes) {
            let own = kept.axis_indices(axis)?;
            picked = picked.iter().flat_map(|at| own.iter().map(move |j| at * *size as usize + j)).collect();
        }
        let fact = Fact::of(old.element_type, kept.input_shape(i)?);
        Some(fact.with_content(Some(Content::pick(content, picked.into_iter()))))
    }

    /// Makes an input hold what it must; of a target, something that gives the shape.
    fn provide(
        &mut self,
        id: NodeId,
        i: usize,
        got: &mut Option<Fact>,
        wanted: Fact,
        target: Option<(Target, Shape)>,
    ) -> Result<(), GraphError> {
        let Some(value) = self.graph.nodes[id].inputs[i] else { return Ok(()) };
        let Some(found) = got.as_ref().filter(|got| !controls::serves(got, &wanted)) else { return Ok(()) };
        *got = Some(match controls::constant(&wanted) {
            Some(tensor) => {
                let tensor = tensor?;
                match self.graph.tensor(value) {
                    Some(_) if self.is_only_use(value) => self.patch.set_tensor(value, tensor),
                    _ => {
                        let name = self.graph.values[value].name.clone();
                        self.patch.set_input_constant(vec![(id, i)], name, tensor)
                    }
                };
                wanted
            }
            None => {
                let at = Use { node: id, input: Some(i) };
                let (target, sizes) = match target {
                    Some((target, shape)) => (Some(target), shape),
                    None => (None, wanted.ints().unwrap_or_default().to_vec()),
                };
                controls::correct(self.graph, &mut self.patch, at, found, &sizes, target)?
            }
        });
        Ok(())
    }

    /// The facts of the inputs of the op that takes the node's place.
    fn replace(
        &mut self,
        id: NodeId,
        shrunk: &Shrunk,
        inputs: Vec<Option<Fact>>,
    ) -> Result<Vec<Option<Fact>>, GraphError> {
        let Some(list) = &shrunk.inputs else { return Ok(inputs) };
        let node = &self.graph.nodes[id];
        let feeds = list.iter().map(|input| match input {
            ShrunkInput::Old(i) => Feed::Value(node.inputs[*i]),
            ShrunkInput::New(tensor) => Feed::Constant(format!("{}_indices", node.name), tensor.clone()),
        });
        self.patch.set_inputs(id, feeds.collect());
        let facts = list.iter().map(|input| match input {
            ShrunkInput::Old(i) => inputs[*i].clone(),
            ShrunkInput::New(tensor) => Some(Fact::from_tensor(tensor)),
        });
        Ok(facts.collect())
    }

    /// Holds what is inferred against what the kept indices say.
    fn check(&self, id: NodeId, kept: &Kept, outputs: &[Fact]) -> Result<(), GraphError> {
        for (i, (fact, value)) in outputs.iter().zip(&self.graph.nodes[id].outputs).enumerate() {
            let (Some(expected), Some(found), Some(value)) = (kept.output_shape(i), &fact.shape, value)
            else {
                continue;
            };
            // A size that only a run can tell is not compared.
            let differs = |(a, b): (&Dim, &Dim)| a != b && a.is_determined() && b.is_determined();
            if expected.len() != found.len() || expected.iter().zip(found).any(differs) {
                return Err(GraphError::Inconsistent(format!(
                    "surgery gives '{}' the shape {}, and {} was to be left (node {}, {})",
                    self.graph.values[*value].name,
                    DisplayShape(found),
                    DisplayShape(&expected),
                    self.graph.node_label(id),
                    self.graph.nodes[id].op.name(),
                )));
            }
        }
        Ok(())
    }
}

/// Sizes that only the file tells, and those that only a run can tell, are as before, less what goes.
fn complete(fact: &mut Fact, element_type: Option<ElementType>, expected: Option<Shape>) {
    fact.element_type = fact.element_type.or(element_type);
    match (&mut fact.shape, expected) {
        (None, expected) => fact.shape = expected,
        (Some(mine), Some(expected)) if mine.len() == expected.len() => {
            for (mine, expected) in mine.iter_mut().zip(expected).filter(|(mine, _)| !mine.is_determined()) {
                *mine = expected;
            }
        }
        _ => {}
    }
}
