//! Changes of a graph, applied whole or not at all.

use std::collections::{HashMap, HashSet};

use secateurs_onnx::Tensor;
use slotmap::SecondaryMap;

use crate::error::GraphError;
use crate::fact::{Fact, Shape};
use crate::graph::{Graph, Node, NodeId, Origin, Source, Use, Value, ValueId};
use crate::op::Op;

/// A list of edits that belong together. Applying it edits a copy, infers all shapes anew and verifies; only then does the
/// copy take the graph's place.
#[derive(Default, Debug)]
pub struct Patch {
    edits: Vec<Edit>,
    /// How many values of nodes that it adds are to be read by others that it adds.
    made: usize,
}

/// What a node is to read.
#[derive(Clone, Debug)]
pub enum Feed {
    /// A value of the graph; `None` for an optional input left out.
    Value(Option<ValueId>),
    /// A new constant under this name, or this name with a number.
    Constant(String, Tensor),
    /// What a node makes that this patch adds.
    New(NewValue),
}

/// The output of a node that a patch adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewValue(usize);

/// The values that [`Patch::make`] made in a graph.
#[derive(Debug)]
pub struct NewValues(Vec<ValueId>);

impl NewValues {
    /// The value of a patch that was applied.
    pub fn value(&self, made: NewValue) -> Option<ValueId> {
        self.0.get(made.0).copied()
    }
}

#[derive(Debug)]
enum Edit {
    SetTensor(ValueId, Tensor),
    Resize(ValueId, Shape),
    SetOp(NodeId, Box<dyn Op>),
    SetInput(NodeId, usize, Option<ValueId>),
    SetInputs(NodeId, Vec<Feed>),
    SetInputConstant(Vec<(NodeId, usize)>, String, Tensor),
    InsertAfter { value: ValueId, name: String, op: Box<dyn Op>, feeds: After },
    Absorb(NodeId),
    Insert { before: Use, name: String, op: Box<dyn Op>, extra: Vec<(String, Tensor)> },
    AddNode { name: String, op: Box<dyn Op>, inputs: Vec<Feed>, replaces: Vec<ValueId> },
    Make { name: String, op: Box<dyn Op>, inputs: Vec<Feed> },
    Prune,
}

/// What a node reads that is inserted behind a value: what is made there stands between the two.
#[derive(Debug, Default)]
struct After {
    before: Vec<Feed>,
    behind: Vec<Feed>,
}

impl Patch {
    /// A patch that changes nothing yet.
    pub fn new() -> Patch {
        Patch::default()
    }

    /// Replaces the contents of a constant (an initializer or what a `Constant` node holds).
    pub fn set_tensor(&mut self, value: ValueId, tensor: Tensor) -> &mut Patch {
        self.edits.push(Edit::SetTensor(value, tensor));
        self
    }

    /// Replaces a node's op, and with it its attributes.
    pub fn set_op(&mut self, node: NodeId, op: Box<dyn Op>) -> &mut Patch {
        self.edits.push(Edit::SetOp(node, op));
        self
    }

    /// Makes a node read another value.
    pub fn set_input(&mut self, node: NodeId, input: usize, value: Option<ValueId>) -> &mut Patch {
        self.edits.push(Edit::SetInput(node, input, value));
        self
    }

    /// Gives an input or output of the model another shape. What a node makes must have it already.
    pub fn resize(&mut self, value: ValueId, shape: Shape) -> &mut Patch {
        self.edits.push(Edit::Resize(value, shape));
        self
    }

    /// Makes nodes read one new constant, under this name or this name with a number.
    pub fn set_input_constant(
        &mut self,
        uses: Vec<(NodeId, usize)>,
        name: impl Into<String>,
        tensor: Tensor,
    ) -> &mut Patch {
        self.edits.push(Edit::SetInputConstant(uses, name.into(), tensor));
        self
    }

    /// Replaces the whole list of what a node reads.
    pub fn set_inputs(&mut self, node: NodeId, inputs: Vec<Feed>) -> &mut Patch {
        self.edits.push(Edit::SetInputs(node, inputs));
        self
    }

    /// Inserts a node of one output behind the producer of `value`: it reads what the producer makes, then new constants
    /// `extra`, and makes `value` in its place, for all that read it.
    pub fn insert_after(
        &mut self,
        value: ValueId,
        name: impl Into<String>,
        op: Box<dyn Op>,
        extra: Vec<(String, Tensor)>,
    ) -> &mut Patch {
        let behind = extra.into_iter().map(|(name, tensor)| Feed::Constant(name, tensor)).collect();
        self.join_after(value, name, op, [Vec::new(), behind])
    }

    /// The same with anything else that the node is to read, before what the producer makes and behind it.
    pub fn join_after(
        &mut self,
        value: ValueId,
        name: impl Into<String>,
        op: Box<dyn Op>,
        [before, behind]: [Vec<Feed>; 2],
    ) -> &mut Patch {
        let feeds = After { before, behind };
        self.edits.push(Edit::InsertAfter { value, name: name.into(), op, feeds });
        self
    }

    /// Adds a node of one output, which nodes that this patch adds or changes later can read.
    pub fn make(&mut self, name: impl Into<String>, op: Box<dyn Op>, inputs: Vec<Feed>) -> NewValue {
        self.edits.push(Edit::Make { name: name.into(), op, inputs });
        self.made += 1;
        NewValue(self.made - 1)
    }

    /// Removes a node of one output that alone reads what its input 0 carries: the producer of that makes the node's output in its
    /// place. Undoes [`Patch::insert_after`].
    pub fn absorb(&mut self, node: NodeId) -> &mut Patch {
        self.edits.push(Edit::Absorb(node));
        self
    }

    /// Inserts a node of one output on the edge `before`: it reads what the edge carried, then new constants `extra`.
    pub fn insert_before(
        &mut self,
        before: Use,
        name: impl Into<String>,
        op: Box<dyn Op>,
        extra: Vec<(String, Tensor)>,
    ) -> &mut Patch {
        self.edits.push(Edit::Insert { before, name: name.into(), op, extra });
        self
    }

    /// Adds a node that makes the values `replaces` in place of their present producer, whose outputs become unused.
    pub fn replace_producer(
        &mut self,
        name: impl Into<String>,
        op: Box<dyn Op>,
        inputs: Vec<Feed>,
        replaces: Vec<ValueId>,
    ) -> &mut Patch {
        self.edits.push(Edit::AddNode { name: name.into(), op, inputs, replaces });
        self
    }

    /// Removes nodes and constants that no output depends on.
    pub fn remove_dead(&mut self) -> &mut Patch {
        self.edits.push(Edit::Prune);
        self
    }

    /// Applies all edits, and gives the values that were made. On an error the graph is as it was.
    pub fn apply(self, graph: &mut Graph) -> Result<NewValues, GraphError> {
        let mut next = graph.clone();
        next.changed |= self.edits.iter().any(|edit| !matches!(edit, Edit::Prune));
        let values = next.values.values().map(|v| v.name.clone());
        let names = values.chain(next.nodes.values().map(|n| n.name.clone())).collect();
        let mut editor = Editor { graph: &mut next, names, numbers: HashMap::new(), made: Vec::new() };
        for edit in self.edits {
            editor.edit(edit)?;
        }
        let made = NewValues(editor.made);
        next.sort()?;
        next.verify()?;
        next.update_facts()?;
        *graph = next;
        Ok(made)
    }
}

/// A graph under change, and the names of values and nodes that are taken.
struct Editor<'g> {
    graph: &'g mut Graph,
    names: HashSet<String>,
    /// The last number given to each name, so that thousands of copies of one constant are not counted anew each time.
    numbers: HashMap<String, usize>,
    /// What [`Patch::make`] made so far.
    made: Vec<ValueId>,
}

impl Editor<'_> {
    fn edit(&mut self, edit: Edit) -> Result<(), GraphError> {
        let gone =
            |what: &str| GraphError::Inconsistent(format!("the patch names a {what} that does not exist"));
        match edit {
            Edit::SetTensor(value, tensor) => {
                let target = self.graph.values.get_mut(value).ok_or_else(|| gone("value"))?;
                target.declared = None;
                match target.source {
                    Source::Tensor(ref mut old) => {
                        target.fact = Fact::from_tensor(&tensor);
                        *old = tensor;
                    }
                    Source::Node(node, _) if self.graph.nodes[node].op.constant().is_some() => {
                        self.graph.nodes[node].op = Box::new(crate::ops::Constant::new(tensor));
                        self.graph.nodes[node].origin = Origin::Patched;
                    }
                    _ => return Err(GraphError::Inconsistent(format!("'{}' is no constant", target.name))),
                }
            }
            Edit::Resize(value, shape) => {
                let target = self.graph.values.get_mut(value).ok_or_else(|| gone("value"))?;
                if let Some(declared) = &mut target.declared {
                    declared.shape = Some(shape.clone());
                }
                target.fact.shape = Some(shape);
            }
            Edit::SetOp(node, op) => {
                let target = self.graph.nodes.get_mut(node).ok_or_else(|| gone("node"))?;
                (target.op, target.origin) = (op, Origin::Patched);
            }
            Edit::SetInput(node, input, value) => {
                let target = self.graph.nodes.get_mut(node).ok_or_else(|| gone("node"))?;
                *target.inputs.get_mut(input).ok_or_else(|| gone("node input"))? = value;
                target.origin = Origin::Patched;
            }
            Edit::SetInputConstant(uses, name, tensor) => {
                let value = self.add_constant(&name, tensor);
                for (node, input) in uses {
                    self.edit(Edit::SetInput(node, input, Some(value)))?;
                }
            }
            Edit::SetInputs(node, feeds) => {
                let inputs = self.fed(feeds)?;
                let target = self.graph.nodes.get_mut(node).ok_or_else(|| gone("node"))?;
                (target.inputs, target.origin) = (inputs, Origin::Patched);
            }
            Edit::InsertAfter { value, name, op, feeds } => {
                let target = self.graph.values.get(value).ok_or_else(|| gone("value"))?;
                let Source::Node(producer, output) = target.source else {
                    return Err(GraphError::Inconsistent(format!("no node makes '{}'", target.name)));
                };
                let raw = self.unused_name(&format!("{}_raw", target.name));
                let source = Source::Node(producer, output);
                let raw = self.graph.values.insert(Value {
                    name: raw,
                    source,
                    fact: Fact::unknown(),
                    declared: None,
                });
                self.graph.nodes[producer].outputs[output] = Some(raw);
                self.graph.nodes[producer].origin = Origin::Patched;
                let mut inputs = self.fed(feeds.before)?;
                inputs.push(Some(raw));
                inputs.extend(self.fed(feeds.behind)?);
                let node = self.add_node(name, op, inputs);
                self.graph.nodes[node].outputs.push(Some(value));
                self.graph.values[value].source = Source::Node(node, 0);
            }
            Edit::Absorb(node) => {
                let target = self.graph.nodes.get(node).ok_or_else(|| gone("node"))?;
                let (Some(&Some(input)), &[Some(output)]) = (target.inputs.first(), &target.outputs[..])
                else {
                    return Err(gone("node input"));
                };
                let Source::Node(producer, index) = self.graph.values[input].source else {
                    let name = &self.graph.values[input].name;
                    return Err(GraphError::Inconsistent(format!("no node makes '{name}'")));
                };
                let reads =
                    |node: &Node| node.inputs.contains(&Some(input)) || node.captures.contains(&input);
                if self.graph.outputs.contains(&input)
                    || self.graph.nodes.values().filter(|n| reads(n)).count() > 1
                {
                    let name = &self.graph.values[input].name;
                    return Err(GraphError::Inconsistent(format!("others read '{name}' too")));
                }
                self.graph.nodes[producer].outputs[index] = Some(output);
                self.graph.nodes[producer].origin = Origin::Patched;
                self.graph.values[output].source = Source::Node(producer, index);
                self.graph.values.remove(input);
                self.graph.nodes.remove(node);
                self.graph.order.retain(|id| *id != node);
            }
            Edit::Insert { before, name, op, extra } => {
                let target = self.graph.nodes.get(before.node).ok_or_else(|| gone("node"))?;
                let input = before.input.ok_or_else(|| gone("node input"))?;
                let carried =
                    target.inputs.get(input).copied().flatten().ok_or_else(|| gone("node input"))?;
                let mut inputs = vec![Some(carried)];
                for (name, tensor) in extra {
                    inputs.push(Some(self.add_constant(&name, tensor)));
                }
                let node = self.add_node(name, op, inputs);
                let made = self.add_output(node, 0);
                self.graph.nodes[before.node].inputs[input] = Some(made);
                self.graph.nodes[before.node].origin = Origin::Patched;
            }
            Edit::Make { name, op, inputs } => {
                let inputs = self.fed(inputs)?;
                let node = self.add_node(name, op, inputs);
                let made = self.add_output(node, 0);
                self.made.push(made);
            }
            Edit::AddNode { name, op, inputs, replaces } => {
                let inputs = self.fed(inputs)?;
                let node = self.add_node(name, op, inputs);
                for (i, value) in replaces.into_iter().enumerate() {
                    let target = self.graph.values.get_mut(value).ok_or_else(|| gone("value"))?;
                    let old = std::mem::replace(&mut target.source, Source::Node(node, i));
                    if let Source::Node(old, output) = old {
                        self.graph.nodes[old].outputs[output] = None;
                        self.graph.nodes[old].origin = Origin::Patched;
                    }
                    self.graph.nodes[node].outputs.push(Some(value));
                }
            }
            Edit::Prune => self.graph.changed |= self.graph.remove_dead(),
        }
        Ok(())
    }

    /// The values that a node is to read.
    fn fed(&mut self, feeds: Vec<Feed>) -> Result<Vec<Option<ValueId>>, GraphError> {
        let value = |feed| match feed {
            Feed::Value(value) => Ok(value),
            Feed::Constant(name, tensor) => Ok(Some(self.add_constant(&name, tensor))),
            Feed::New(NewValue(index)) => match self.made.get(index) {
                Some(value) => Ok(Some(*value)),
                None => Err(GraphError::Inconsistent("the patch reads what it has not made yet".into())),
            },
        };
        feeds.into_iter().map(value).collect()
    }

    /// A constant under this name, or this name with a number if it is taken.
    fn add_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let name = self.unused_name(name);
        let fact = Fact::from_tensor(&tensor);
        self.graph.values.insert(Value { name, source: Source::Tensor(tensor), fact, declared: None })
    }

    fn add_node(&mut self, name: String, op: Box<dyn Op>, inputs: Vec<Option<ValueId>>) -> NodeId {
        let name = self.unused_name(&name);
        let node =
            Node { name, op, inputs, outputs: Vec::new(), captures: Vec::new(), origin: Origin::Patched };
        let id = self.graph.nodes.insert(node);
        self.graph.order.push(id);
        id
    }

    fn add_output(&mut self, node: NodeId, index: usize) -> ValueId {
        let name = self.unused_name(&format!("{}_output_{index}", self.graph.nodes[node].name));
        let value = Value { name, source: Source::Node(node, index), fact: Fact::unknown(), declared: None };
        let id = self.graph.values.insert(value);
        self.graph.nodes[node].outputs.push(Some(id));
        id
    }

    /// This name, or this name with a number if it is taken; taken from now on.
    fn unused_name(&mut self, wanted: &str) -> String {
        if self.names.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let number = self.numbers.entry(wanted.to_owned()).or_default();
        loop {
            *number += 1;
            let name = format!("{wanted}_{number}");
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

impl Graph {
    /// Whether there was anything to remove.
    fn remove_dead(&mut self) -> bool {
        let before = (self.nodes.len(), self.values.len());
        let mut live = SecondaryMap::<ValueId, ()>::new();
        let mut kept = SecondaryMap::<NodeId, ()>::new();
        // Nodes that this patch added stand anywhere in the order: follow the producers.
        let mut open: Vec<ValueId> = self.outputs.iter().chain(&self.inputs).copied().collect();
        while let Some(value) = open.pop() {
            if live.insert(value, ()).is_some() {
                continue;
            }
            if let Source::Node(id, _) = self.values[value].source
                && kept.insert(id, ()).is_none()
            {
                let node = &self.nodes[id];
                open.extend(node.inputs.iter().chain(&node.outputs).flatten().chain(&node.captures));
            }
        }
        self.order.retain(|&id| kept.contains_key(id));
        self.nodes.retain(|id, _| kept.contains_key(id));
        self.values.retain(|id, _| live.contains_key(id));
        before != (self.nodes.len(), self.values.len())
    }
}
