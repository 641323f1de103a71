//! The interpreter: a graph and its weights on a device, run op by op on libtorch, with autograd.
//!
//! A [`Session`] holds the constants as torch tensors. For every set of input shapes it makes a plan once: shapes and
//! sizes computed inside the graph are known then and cost nothing at run time, what depends on constants only is folded,
//! and every value is freed after its last use.

mod bodies;
#[cfg(test)]
mod bodies_test;
mod convert;
#[cfg(test)]
mod fold_test;
mod fuse;
#[cfg(test)]
mod fuse_test;
#[cfg(test)]
mod layout_test;
mod plan;
#[cfg(test)]
mod plan_test;
mod tap;
mod walk;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use secateurs_onnx::{ElementType, Tensor as HostTensor};
use secateurs_torch::tch::{self, Device, Kind, Tensor};
use slotmap::SecondaryMap;

use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::op::{InputRole, Inputs, TrainingMode};
use crate::patch::Patch;
use crate::rewrite::free_batch;

pub use bodies::Bodies;
pub(crate) use convert::rounded;
pub use convert::{Floats, is_widened, kind_of, to_device, to_host};
use plan::Plan;
pub use tap::{Mask, Tap};
pub use walk::Walk;

/// How a session computes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SessionOptions {
    /// Where tensors live.
    pub device: Device,
    /// What 32-bit floats are computed in.
    pub precision: Precision,
    /// Whether the graph's parameters require gradients. 16-bit floats are computed in 32 bits then.
    pub train_parameters: bool,
    /// Whether 16-bit floats are computed in 32 bits in any case, as sums over positions and small gradients need.
    pub wide: bool,
    /// Whether patterns that exporters decompose (linear layers, GELU, attention) run as one kernel. Never in 64 bits, where a
    /// run is an oracle: a file's √2 is rounded to 32 bits, a kernel's is not.
    pub fuse: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            device: Device::Cpu,
            precision: Precision::Single,
            train_parameters: false,
            wide: false,
            fuse: true,
        }
    }
}

/// What 32-bit floats are computed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// Matrix products and convolutions in bfloat16, and what follows them as each op's [`Mixed`](crate::op::Mixed) says;
    /// parameters stay in 32 bits.
    Bf16,
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
}

/// A graph that can run.
pub struct Session {
    graph: Arc<Graph>,
    options: SessionOptions,
    training: TrainingMode,
    /// Constants, and what was folded from constants alone.
    constants: SecondaryMap<ValueId, Tensor>,
    /// Parameters that require gradients; also in `constants`.
    parameters: Vec<ValueId>,
    /// Running statistics, where parameters are trained; also in `constants`.
    statistics: Vec<ValueId>,
    plans: RefCell<HashMap<PlanKey, Rc<Plan>>>,
    bodies: Bodies,
}

/// Whether patterns are fused, and the shapes of the inputs.
type PlanKey = (bool, Vec<Vec<i64>>);

/// What a run gives.
pub struct Run {
    /// The graph's outputs, in file order.
    pub outputs: Vec<Tensor>,
    /// What the taps caught, in the order asked for.
    pub taps: Vec<Tensor>,
}

/// Plans kept for different input shapes; text batches come in many lengths.
const MAX_PLANS: usize = 64;

impl Session {
    /// Puts the constants of a graph on a device. Where the graph fixes its batch, the session computes batches of any size if the graph
    /// [can](free_batch), and its graph is that one.
    pub fn new(graph: Arc<Graph>, options: SessionOptions) -> Result<Session, GraphError> {
        let freed = free_batch(&graph).map(Arc::new);
        Session::as_it_is(freed.unwrap_or(graph), options)
    }

    /// A session of this very graph, of batches of the sizes that it declares.
    pub fn as_it_is(graph: Arc<Graph>, options: SessionOptions) -> Result<Session, GraphError> {
        secateurs_torch::load()?;
        let mut session = Session {
            options,
            training: TrainingMode::default(),
            constants: SecondaryMap::new(),
            parameters: Vec::new(),
            statistics: Vec::new(),
            plans: RefCell::default(),
            bodies: Bodies::new(options),
            graph,
        };
        session.load_constants()?;
        session.fold()?;
        Ok(session)
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The options.
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// The parameters that require gradients, with their tensors, in the order of first use.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.parameters.iter().map(|&id| (id, &self.constants[id]))
    }

    /// Sets what runs do differently while the model is trained; at first nothing.
    pub fn set_training(&mut self, training: TrainingMode) {
        self.training = training;
        self.bodies.set_training(training);
    }

    /// Takes parameters out of those that are trained.
    pub fn freeze(&mut self, frozen: &HashSet<ValueId>) -> Result<(), GraphError> {
        for &id in &self.parameters {
            if frozen.contains(&id) {
                let tensor = self.constants[id].f_set_requires_grad(false);
                self.constants.insert(id, tensor.map_err(|e| GraphError::Run(e.to_string()))?);
            }
        }
        self.parameters.retain(|id| !frozen.contains(id));
        Ok(())
    }

    /// The running statistics (such as a batch norm's), with their tensors, in the order of first use.
    pub fn statistics(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.statistics.iter().map(|&id| (id, &self.constants[id]))
    }

    /// The kinds that floats are computed in.
    pub fn floats(&self) -> Floats {
        let single = match self.options.precision {
            Precision::Double => Kind::Double,
            Precision::Single | Precision::Bf16 => Kind::Float,
        };
        Floats {
            single,
            half: (self.options.train_parameters || self.options.wide).then_some(single),
            mixed: self.options.precision == Precision::Bf16,
        }
    }

    /// A patch that gives the graph the present parameters and statistics, in the element types of the file.
    pub fn trained(&self) -> Result<Patch, GraphError> {
        let mut patch = Patch::new();
        for (id, tensor) in self.parameters().chain(self.statistics()) {
            let value = &self.graph.values[id];
            let fail = |e: crate::op::OpError| GraphError::Run(format!("parameter '{}': {e}", value.name));
            let element_type = value.fact.element_type.unwrap_or(ElementType::Float32);
            let kind = kind_of(element_type).unwrap_or(Kind::Float);
            let narrowed = tensor.f_detach().and_then(|t| t.f_to_kind(kind)).map_err(|e| fail(e.into()))?;
            patch.set_tensor(id, to_host(&narrowed, Some(element_type)).map_err(fail)?);
        }
        Ok(patch)
    }

    /// Runs the graph on host tensors, given in the order of the graph's inputs, without gradients.
    pub fn run(&self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, GraphError> {
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|t| to_device(t, self.options.device, self.floats()))
            .collect::<Result<_, _>>()
            .map_err(|e| GraphError::Run(e.to_string()))?;
        let run = tch::no_grad(|| self.forward(&inputs, &[]))?;
        let types = self.graph.outputs.iter().map(|&v| self.graph.values[v].fact.element_type);
        let host = run.outputs.iter().zip(types).map(|(tensor, element_type)| to_host(tensor, element_type));
        host.collect::<Result<_, _>>().map_err(|e| GraphError::Run(e.to_string()))
    }

    /// Runs the graph on tensors of the session's device, given in the order of the graph's inputs; where precisions are mixed, those
    /// of 32 bits may come in bfloat16. Gradients flow to parameters (where asked for), to taps, and to inputs that require them,
    /// unless the caller runs it under `no_grad`.
    pub fn forward(&self, inputs: &[Tensor], taps: &[Tap]) -> Result<Run, GraphError> {
        self.pass(inputs, taps, &[])
    }

    /// The same with some edges zeroed, none of them into a folded node ([`Session::unfold`]).
    pub fn forward_masked(&self, inputs: &[Tensor], masks: &[Mask]) -> Result<Run, GraphError> {
        let folded = |id: NodeId| {
            self.graph.nodes[id].outputs.iter().flatten().any(|value| self.constants.contains_key(*value))
        };
        if let Some(mask) = masks.iter().find(|mask| folded(mask.node)) {
            let node = self.graph.node_label(mask.node);
            return Err(GraphError::Run(format!(
                "input {} of node {node} cannot be masked: it is folded",
                mask.input
            )));
        }
        self.pass(inputs, &[], masks)
    }

    fn pass(&self, inputs: &[Tensor], taps: &[Tap], masks: &[Mask]) -> Result<Run, GraphError> {
        self.check_inputs(inputs)?;
        let whole = taps.is_empty() && masks.is_empty();
        let fused = self.options.fuse && self.options.precision != Precision::Double && whole;
        self.plan(inputs, fused)?.run(self, inputs, taps, masks)
    }

    /// A constant of the graph, or what was folded from constants alone.
    pub fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.constants.get(value)
    }

    /// Runs one node on inputs of any sizes that its op takes, without those that are `None`.
    pub fn evaluate(&self, node: NodeId, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, GraphError> {
        let graph = self.graph.as_ref();
        let own = &graph.nodes[node];
        let fact = |(value, tensor): (&Option<ValueId>, &Option<&Tensor>)| {
            let (own, sizes) = (&graph.values[(*value)?].fact, (*tensor)?.size());
            match own.admits(&sizes) && own.content.is_some() {
                true => Some(own.clone()),
                false => Some(Fact::of(own.element_type, sizes.into_iter().map(Dim::from).collect())),
            }
        };
        let facts: Vec<Option<Fact>> = own.inputs.iter().zip(inputs).map(fact).collect();
        let given: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let outputs = own.op.infer(&Inputs::new(&given, own.outputs.len()));
        let outputs = outputs.map_err(|e| graph.node_error(node, e))?;
        plan::eval(self, node, inputs, &facts, &outputs, false)
    }

    /// What inference predicts of all values at these input shapes.
    fn infer(&self, shapes: &[Vec<i64>]) -> Result<crate::infer::Facts, GraphError> {
        let mut given = SecondaryMap::new();
        for (&id, shape) in self.graph.inputs.iter().zip(shapes) {
            let dims = shape.iter().map(|&n| Dim::from(n)).collect();
            given.insert(id, Fact::of(self.graph.values[id].fact.element_type, dims));
        }
        self.graph.infer(&given)
    }

    fn plan(&self, inputs: &[Tensor], fused: bool) -> Result<Rc<Plan>, GraphError> {
        let key = (fused, inputs.iter().map(Tensor::size).collect::<Vec<_>>());
        if let Some(plan) = self.plans.borrow().get(&key) {
            return Ok(plan.clone());
        }
        let plan = Rc::new(Plan::new(self, &self.infer(&key.1)?, fused)?);
        let mut plans = self.plans.borrow_mut();
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        plans.insert(key, plan.clone());
        Ok(plan)
    }

    fn check_inputs(&self, inputs: &[Tensor]) -> Result<(), GraphError> {
        let wanted = &self.graph.inputs;
        if inputs.len() != wanted.len() {
            let names: Vec<&str> = wanted.iter().map(|&v| self.graph.values[v].name.as_str()).collect();
            let text = format!(
                "{} inputs given; the model has {}: {}",
                inputs.len(),
                wanted.len(),
                names.join(", ")
            );
            return Err(GraphError::Run(text));
        }
        for (tensor, &id) in inputs.iter().zip(wanted) {
            let value = &self.graph.values[id];
            let kind = value.fact.element_type.and_then(kind_of).map(|kind| self.floats().kind(kind));
            let given = tensor.f_kind().map_err(|e| GraphError::Run(e.to_string()))?;
            let size = tensor.size();
            let low = self.floats().mixed && kind == Some(Kind::Float) && given == Kind::BFloat16;
            if !value.fact.admits(&size) || (kind.is_some_and(|k| k != given) && !low) {
                let (name, fact) = (&value.name, &value.fact);
                let text = format!("input '{name}' is {fact}; given was {given:?}{size:?}");
                return Err(GraphError::Run(text));
            }
        }
        Ok(())
    }

    fn load_constants(&mut self) -> Result<(), GraphError> {
        let graph = self.graph.clone();
        let channels_last = convolution_weights(&graph);
        for (id, value) in &graph.values {
            let tensor = match &value.source {
                Source::Tensor(tensor) => tensor,
                Source::Node(node, 0) => match graph.nodes[*node].op.constant() {
                    Some(tensor) => tensor,
                    None => continue,
                },
                _ => continue,
            };
            // What libtorch has no kind for stays with the host; an op that needs it says so.
            if kind_of(tensor.element_type()).is_none() {
                continue;
            }
            let fail = |e: crate::op::OpError| GraphError::Run(format!("constant '{}': {e}", value.name));
            let mut tensor = to_device(tensor, self.options.device, self.floats()).map_err(fail)?;
            if channels_last.contains_key(id) {
                tensor = convert::channels_last(&tensor).map_err(fail)?;
            }
            self.constants.insert(id, tensor);
        }
        if self.options.train_parameters {
            for parameter in graph.parameters() {
                if parameter.statistic {
                    self.statistics.push(parameter.value);
                    continue;
                }
                let tensor = self.constants[parameter.value].f_set_requires_grad(true);
                let tensor = tensor.map_err(|e| GraphError::Run(e.to_string()))?;
                self.constants.insert(parameter.value, tensor);
                self.parameters.push(parameter.value);
            }
        }
        Ok(())
    }

    /// Has nodes run that were folded, and what depends on them: taps and masks see only what runs.
    pub fn unfold(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        let nodes: HashSet<NodeId> = nodes.into_iter().collect();
        let mut run: HashSet<ValueId> = HashSet::new();
        for id in &self.graph.order {
            let node = &self.graph.nodes[*id];
            let depends = nodes.contains(id) || node.inputs.iter().flatten().any(|value| run.contains(value));
            if depends && node.op.constant().is_none() {
                run.extend(
                    node.outputs.iter().flatten().filter(|value| self.constants.remove(**value).is_some()),
                );
            }
        }
        self.plans.borrow_mut().clear();
    }

    /// Evaluates, once, what depends on constants alone and not on parameters that are trained.
    fn fold(&mut self) -> Result<(), GraphError> {
        let graph = self.graph.clone();
        for &id in &graph.order {
            let node = &graph.nodes[id];
            let moves = |v: ValueId| self.statistics.contains(&v);
            let constant =
                |v: &ValueId| self.constants.get(*v).is_some_and(|t| !t.requires_grad() && !moves(*v));
            if node.op.constant().is_some()
                || node.inputs.is_empty()
                || !node.inputs.iter().flatten().all(constant)
                || !node.captures.is_empty()
            {
                continue;
            }
            let facts: Vec<Option<Fact>> =
                node.inputs.iter().map(|v| v.map(|v| graph.values[v].fact.clone())).collect();
            let inputs: Vec<Option<&Tensor>> =
                node.inputs.iter().map(|v| v.map(|v| &self.constants[v])).collect();
            let outputs =
                tch::no_grad(|| plan::eval(self, id, &inputs, &facts, &graph.output_facts(node), false))?;
            for (value, tensor) in node.outputs.iter().zip(outputs) {
                if let Some(value) = value {
                    self.constants.insert(*value, tensor);
                }
            }
        }
        Ok(())
    }
}

/// Constants that serve as the weights of 2-d convolutions, which run faster in channels-last layout; the activations
/// take the layout over from them.
fn convolution_weights(graph: &Graph) -> SecondaryMap<ValueId, ()> {
    let mut found = SecondaryMap::new();
    for node in graph.nodes.values() {
        if !node.op.prefers_channels_last() {
            continue;
        }
        for (i, value) in node.inputs.iter().enumerate() {
            if let Some(value) = value
                && node.op.role(i) == InputRole::Parameter
                && graph.values[*value].fact.rank() == Some(4)
            {
                found.insert(*value, ());
            }
        }
    }
    found
}
