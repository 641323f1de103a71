//! The graph: nodes, values, and where each value comes from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use secateurs_onnx::{Model, Tensor};
use slotmap::{SecondaryMap, SlotMap, new_key_type};

use crate::error::GraphError;
use crate::fact::Fact;
use crate::op::{InputRole, Inputs, Op, OpError};
use crate::patch::Patch;

new_key_type! {
    /// A node; stable while the graph changes.
    pub struct NodeId;
    /// A value; stable while the graph changes.
    pub struct ValueId;
}

/// An ONNX graph with its weights.
#[derive(Clone)]
pub struct Graph {
    /// The nodes.
    pub nodes: SlotMap<NodeId, Node>,
    /// The values.
    pub values: SlotMap<ValueId, Value>,
    /// The nodes in the order in which they can run.
    pub order: Vec<NodeId>,
    /// The inputs that a run must be given, in file order.
    pub inputs: Vec<ValueId>,
    /// The outputs, in file order.
    pub outputs: Vec<ValueId>,
    /// The opset version of each imported domain; the standard domain is the empty name.
    pub opsets: BTreeMap<String, i64>,
    /// The model that this graph was read from: what is not changed is written as it was.
    pub source: Arc<Model>,
    /// Whether any patch was applied since.
    pub changed: bool,
}

/// One call of an op.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name in the file; may be empty.
    pub name: String,
    /// What it does.
    pub op: Box<dyn Op>,
    /// The values it reads; `None` where an optional input is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// The values it makes; `None` where an output is not wanted.
    pub outputs: Vec<Option<ValueId>>,
    /// Outer values that its subgraphs read.
    pub captures: Vec<ValueId>,
    /// Where it stands in the file.
    pub origin: Origin,
}

/// Where a node stands in the file it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The node with this index, unchanged.
    File(usize),
    /// Inlined from a call of a model-local function, the node with this index, unchanged.
    Call(usize),
    /// Made or changed by a patch.
    Patched,
}

/// A tensor that flows, or a constant.
#[derive(Clone, Debug)]
pub struct Value {
    /// The unique name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What is known of it.
    pub fact: Fact,
    /// What the file says of it, used where inference cannot tell.
    pub declared: Option<Fact>,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Given by the caller of a run.
    Input,
    /// An initializer.
    Tensor(Tensor),
    /// An output of a node, by its index.
    Node(NodeId, usize),
}

/// A place where a value is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Use {
    /// The reading node.
    pub node: NodeId,
    /// Which of its inputs; `None` where a subgraph captures the value.
    pub input: Option<usize>,
}

impl Graph {
    /// Reads a model from a file.
    pub fn read(path: &Path) -> Result<Graph, GraphError> {
        Graph::from_model(Model::read(path)?).map_err(|e| e.in_file(Some(path)))
    }

    /// Reads a model without the nodes and constants that no output depends on. In a model that is measured or changed they would bar
    /// units, count as costs and be compared with what a run never computes.
    pub fn read_live(path: &Path) -> Result<Graph, GraphError> {
        let mut graph = Graph::read(path)?;
        let mut patch = Patch::new();
        patch.remove_dead();
        patch.apply(&mut graph).map_err(|e| e.in_file(Some(path)))?;
        Ok(graph)
    }

    /// The opset version of a domain that the model imports, or 1.
    pub fn opset(&self, domain: &str) -> i64 {
        self.opsets.get(domain).copied().unwrap_or(1)
    }

    /// The value of this name.
    pub fn value_named(&self, name: &str) -> Option<ValueId> {
        self.values.iter().find(|(_, v)| v.name == name).map(|(id, _)| id)
    }

    /// The constant behind a value: an initializer, or what a `Constant` node holds.
    pub fn tensor(&self, value: ValueId) -> Option<&Tensor> {
        match &self.values[value].source {
            Source::Tensor(tensor) => Some(tensor),
            Source::Node(node, _) => self.nodes[*node].op.constant(),
            Source::Input => None,
        }
    }

    /// Where each value is read.
    pub fn uses(&self) -> SecondaryMap<ValueId, Vec<Use>> {
        let mut uses = SecondaryMap::<ValueId, Vec<Use>>::new();
        for value in self.values.keys() {
            uses.insert(value, Vec::new());
        }
        for &id in &self.order {
            let node = &self.nodes[id];
            for (i, input) in node.inputs.iter().enumerate() {
                if let Some(value) = input {
                    uses[*value].push(Use { node: id, input: Some(i) });
                }
            }
            for value in &node.captures {
                uses[*value].push(Use { node: id, input: None });
            }
        }
        uses
    }

    /// The constant that a value is, maybe behind ops that only change its shape, layout or type.
    pub fn constant_behind(&self, mut value: ValueId) -> Option<ValueId> {
        loop {
            match &self.values[value].source {
                Source::Node(node, 0) if self.nodes[*node].op.is_view() => {
                    value = self.nodes[*node].inputs.first().copied().flatten()?;
                }
                _ => return self.tensor(value).is_some().then_some(value),
            }
        }
    }

    /// The facts of a node's inputs.
    pub fn input_facts(&self, node: &Node) -> Vec<Option<&Fact>> {
        node.inputs.iter().map(|v| v.map(|v| &self.values[v].fact)).collect()
    }

    /// The facts of a node's outputs, in order; an output that is not wanted has an unknown fact.
    pub fn output_facts(&self, node: &Node) -> Vec<Fact> {
        node.outputs.iter().map(|v| v.map_or_else(Fact::unknown, |v| self.values[v].fact.clone())).collect()
    }

    /// The constants that are parameters, and running statistics, each once in the order of first use.
    ///
    /// What a constant is used for is looked up behind ops that only change its shape, layout or type.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut purposes = SecondaryMap::<ValueId, Purpose>::new();
        for &id in self.order.iter().rev() {
            let node = &self.nodes[id];
            let behind = match node.op.is_view() {
                true => node.outputs.first().copied().flatten().and_then(|v| purposes.get(v).copied()),
                false => None,
            };
            for (i, value) in node.inputs.iter().enumerate() {
                let Some(value) = *value else { continue };
                let purpose = match node.op.role(i) {
                    _ if node.op.is_view() && i == 0 => behind,
                    InputRole::Control | InputRole::Sizes => None,
                    role => Some(Purpose { role, node: id }),
                };
                let Some(purpose) = purpose else { continue };
                let old = purposes.get(value).copied();
                purposes.insert(value, old.map_or(purpose, |old| purpose.with(old)));
            }
        }
        let mut seen = SecondaryMap::<ValueId, ()>::new();
        let mut found = Vec::new();
        for value in self.order.iter().flat_map(|&id| self.nodes[id].inputs.iter().flatten().copied()) {
            let (Some(purpose), Some(tensor)) = (purposes.get(value), self.tensor(value)) else { continue };
            let counts_alone = purpose.role != InputRole::Data;
            let counts = tensor.len() > 1 || counts_alone;
            if counts && tensor.element_type().is_float() && seen.insert(value, ()).is_none() {
                let statistic = purpose.role == InputRole::Statistic;
                let elements = tensor.len();
                found.push(Parameter { value, elements, statistic, node: purpose.node, counts_alone });
            }
        }
        found
    }

    /// How to name a node in a message: its name, or its first output.
    pub fn node_label(&self, id: NodeId) -> String {
        match self.nodes[id].name.is_empty() {
            true => self.node_name(id),
            false => format!("'{}'", self.nodes[id].name),
        }
    }

    /// The same in a list of nodes, without quotes around its own name.
    pub fn node_name(&self, id: NodeId) -> String {
        let node = &self.nodes[id];
        if !node.name.is_empty() {
            return node.name.clone();
        }
        match node.outputs.iter().flatten().next() {
            Some(&value) => format!("producing '{}'", self.values[value].name),
            None => "without a name".into(),
        }
    }

    /// An error about a node.
    pub fn node_error(&self, id: NodeId, source: OpError) -> GraphError {
        GraphError::Node { node: self.node_label(id), op: self.nodes[id].op.name().into(), source }
    }
}

/// A constant float tensor that training changes, or a running statistic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// The constant.
    pub value: ValueId,
    /// How many numbers it holds.
    pub elements: usize,
    /// Whether it is a running statistic: stored, but not trained and not counted as a parameter.
    pub statistic: bool,
    /// The first node that computes with it.
    pub node: NodeId,
    /// Whether it would be a parameter also if it were a single number.
    pub counts_alone: bool,
}

/// What a value is used for, and by which node first.
#[derive(Clone, Copy)]
struct Purpose {
    role: InputRole,
    node: NodeId,
}

impl Purpose {
    /// Both uses together: trained anywhere is trained; this use comes first.
    fn with(self, later: Purpose) -> Purpose {
        let rank = |role| match role {
            InputRole::Parameter => 3,
            InputRole::Data => 2,
            InputRole::Statistic => 1,
            InputRole::Control | InputRole::Sizes => 0,
        };
        let role = if rank(self.role) >= rank(later.role) { self.role } else { later.role };
        Purpose { role, node: self.node }
    }
}

impl Node {
    /// The arguments for the op's inference and axis maps.
    pub fn op_inputs<'a>(&self, facts: &'a [Option<&'a Fact>]) -> Inputs<'a> {
        Inputs::new(facts, self.outputs.len())
    }
}

impl std::fmt::Debug for Graph {
    /// A line a node: outputs, op, inputs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |v: &Option<ValueId>| v.map_or("_", |v| self.values[v].name.as_str());
        for &id in &self.order {
            let node = &self.nodes[id];
            let outputs: Vec<&str> = node.outputs.iter().map(name).collect();
            let inputs: Vec<&str> = node.inputs.iter().map(name).collect();
            writeln!(f, "{} = {:?}({})", outputs.join(", "), node.op, inputs.join(", "))?;
        }
        Ok(())
    }
}
