//! The plan of a run at given input shapes.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use secateurs_torch::tch::{Kind, Tensor};
use slotmap::SecondaryMap;

use super::{Mask, Run, Session, Tap, convert, fuse};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::{Content, Fact};
use crate::graph::{Graph, NodeId, ValueId};
use crate::infer::Facts;
use crate::op::{Args, Inputs, Mixed, OpError};
use secateurs_onnx::{ElementType, Tensor as HostTensor};

/// Which values are computed by which steps, in which slots, and when they are freed.
pub(super) struct Plan {
    pub steps: Vec<Step>,
    slots: SecondaryMap<ValueId, usize>,
    slot_count: usize,
    /// Constants of these shapes: sizes computed inside the graph that an op reads as a tensor.
    constants: Vec<(usize, Tensor)>,
    /// Constants of the session, by slot.
    shared: Vec<(usize, ValueId)>,
}

pub(super) struct Step {
    /// The node that runs, or the last of those that run as one kernel.
    pub node: NodeId,
    fused: Option<fuse::Kernel>,
    /// With what the node's subgraphs read behind them.
    pub inputs: Vec<Option<usize>>,
    pub outputs: Vec<Option<usize>>,
    pub input_facts: Vec<Option<Fact>>,
    pub output_facts: Vec<Fact>,
    /// Slots that nothing reads after this step.
    pub free: Vec<usize>,
}

impl Plan {
    /// `fused` runs known patterns as one kernel; values inside them cannot be tapped.
    pub fn new(session: &Session, facts: &Facts, fused: bool) -> Result<Plan, GraphError> {
        let graph = session.graph.as_ref();
        let mut plan = Plan {
            steps: Vec::new(),
            slots: SecondaryMap::new(),
            slot_count: 0,
            constants: Vec::new(),
            shared: Vec::new(),
        };
        for &input in &graph.inputs {
            plan.slot(input);
        }
        let live = live_nodes(session, graph, facts);
        let fusions = if fused { fuse::find(graph, &live, facts) } else { Vec::new() };
        let absorbed: HashSet<NodeId> = fusions.iter().flat_map(|f| f.absorbed.iter().copied()).collect();
        let fusions: HashMap<NodeId, fuse::Fusion> = fusions.into_iter().map(|f| (f.last, f)).collect();
        for &id in &graph.order {
            if !live.contains_key(id) || absorbed.contains(&id) {
                continue;
            }
            let node = &graph.nodes[id];
            let fusion = fusions.get(&id);
            let inputs: Vec<Option<ValueId>> = match fusion {
                Some(fusion) => fusion.inputs.iter().map(|&v| Some(v)).collect(),
                None => node.inputs.iter().copied().chain(node.captures.iter().copied().map(Some)).collect(),
            };
            for value in inputs.iter().flatten() {
                plan.provide(session, *value, facts)?;
            }
            let step = Step {
                node: id,
                fused: fusion.map(|f| f.kernel),
                inputs: inputs.iter().map(|v| v.map(|v| plan.slot(v))).collect(),
                outputs: node.outputs.iter().map(|v| v.map(|v| plan.slot(v))).collect(),
                input_facts: inputs.iter().map(|v| v.and_then(|v| facts.get(v).cloned())).collect(),
                output_facts: node
                    .outputs
                    .iter()
                    .map(|v| v.and_then(|v| facts.get(v).cloned()).unwrap_or_else(Fact::unknown))
                    .collect(),
                free: Vec::new(),
            };
            plan.steps.push(step);
        }
        for &output in &graph.outputs {
            plan.provide(session, output, facts)?;
        }
        plan.schedule_frees(graph);
        Ok(plan)
    }

    /// How many kernels a run calls.
    #[cfg(test)]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    fn slot(&mut self, value: ValueId) -> usize {
        if let Some(&slot) = self.slots.get(value) {
            return slot;
        }
        self.slots.insert(value, self.slot_count);
        self.slot_count += 1;
        self.slot_count - 1
    }

    /// Makes sure that a value no step computes has a tensor in its slot.
    fn provide(&mut self, session: &Session, value: ValueId, facts: &Facts) -> Result<(), GraphError> {
        if self.slots.contains_key(value) {
            return Ok(());
        }
        let slot = self.slot(value);
        if session.constants.contains_key(value) {
            self.shared.push((slot, value));
        } else if let Some(host) = facts.get(value).and_then(known_tensor) {
            let tensor = convert::to_device(&host, session.options.device, session.floats())
                .map_err(|e| GraphError::Run(e.to_string()))?;
            self.constants.push((slot, tensor));
        } else {
            let value = &session.graph.values[value];
            return Err(GraphError::Run(format!("'{}' cannot be computed: {}", value.name, value.fact)));
        }
        Ok(())
    }

    fn schedule_frees(&mut self, graph: &Graph) {
        let mut kept = vec![false; self.slot_count];
        for output in &graph.outputs {
            kept[self.slots[*output]] = true;
        }
        for step in self.steps.iter_mut().rev() {
            for slot in step.inputs.iter().chain(&step.outputs).flatten() {
                if !std::mem::replace(&mut kept[*slot], true) {
                    step.free.push(*slot);
                }
            }
        }
    }

    /// The slots at the beginning of a run, before the inputs are in theirs: constants.
    pub fn given(&self, session: &Session) -> Vec<Option<Tensor>> {
        let mut values: Vec<Option<Tensor>> = (0..self.slot_count).map(|_| None).collect();
        for &(slot, value) in &self.shared {
            values[slot] = Some(session.constants[value].shallow_clone());
        }
        for (slot, tensor) in &self.constants {
            values[*slot] = Some(tensor.shallow_clone());
        }
        values
    }

    /// The slot of an input of the graph.
    pub fn slot_of(&self, input: ValueId) -> usize {
        self.slots[input]
    }

    pub fn run(
        &self,
        session: &Session,
        inputs: &[Tensor],
        taps: &[Tap],
        masks: &[Mask],
    ) -> Result<Run, GraphError> {
        let graph = session.graph.as_ref();
        let mut values = self.given(session);
        let mut caught = Caught::new(taps);
        for (&id, tensor) in graph.inputs.iter().zip(inputs) {
            values[self.slots[id]] = Some(caught.value(id, tensor.shallow_clone())?);
        }
        for step in &self.steps {
            let mut edges = caught.edges(step, &values)?;
            for mask in masks.iter().filter(|mask| mask.node == step.node) {
                let masked =
                    masked(step, &values, &edges, mask).map_err(|e| graph.node_error(step.node, e))?;
                edges.retain(|(input, _)| *input != mask.input);
                edges.push((mask.input, masked));
            }
            let arguments: Vec<Option<&Tensor>> = step
                .inputs
                .iter()
                .enumerate()
                .map(|(i, slot)| {
                    let edge = edges.iter().find(|(input, _)| *input == i).map(|(_, tensor)| tensor);
                    edge.or_else(|| slot.and_then(|slot| values[slot].as_ref()))
                })
                .collect();
            let outputs = match step.fused {
                Some(fuse::Kernel::Rectified(node)) => {
                    eval(session, node, &arguments, &step.input_facts, &step.output_facts, true)?
                }
                Some(kernel) => {
                    let fail = |e| graph.node_error(step.node, e);
                    let cast = casts(session, kernel.mixed(), &arguments).map_err(fail)?;
                    let arguments: Vec<&Tensor> = read(&arguments, &cast).iter().copied().flatten().collect();
                    vec![kernel.run(&arguments).map_err(fail)?]
                }
                None => eval(session, step.node, &arguments, &step.input_facts, &step.output_facts, false)?,
            };
            let node = &graph.nodes[step.node];
            for ((slot, tensor), id) in step.outputs.iter().zip(outputs).zip(&node.outputs) {
                if let (Some(slot), Some(id)) = (slot, id) {
                    values[*slot] = Some(caught.value(*id, tensor)?);
                }
            }
            for &slot in &step.free {
                values[slot] = None;
            }
        }
        let outputs = graph.outputs.iter().map(|&id| {
            let value = &graph.values[id];
            let failed = |why: String| GraphError::Run(format!("output '{}' {why}", value.name));
            let tensor = values[self.slots[id]].as_ref().ok_or_else(|| failed("was not computed".into()))?;
            // What flowed in bfloat16 comes out as the model says.
            match session.floats().mixed && value.fact.element_type == Some(ElementType::Float32) {
                true => tensor.f_to_kind(session.floats().single).map_err(|e| failed(e.to_string())),
                false => Ok(tensor.shallow_clone()),
            }
        });
        Ok(Run { outputs: outputs.collect::<Result<_, _>>()?, taps: caught.finish(graph)? })
    }
}

/// What a step reads behind a mask.
fn masked(
    step: &Step,
    values: &[Option<Tensor>],
    edges: &[(usize, Tensor)],
    mask: &Mask,
) -> Result<Tensor, OpError> {
    let edge = edges.iter().find(|(input, _)| *input == mask.input).map(|(_, tensor)| tensor);
    let value = || values[step.inputs.get(mask.input).copied().flatten()?].as_ref();
    let tensor = edge.or_else(value).ok_or_else(|| OpError::invalid("there is no such input to mask"))?;
    let indices = Tensor::f_from_slice(&mask.indices)?.f_to_device(tensor.device())?;
    Ok(tensor.f_index_fill(mask.axis as i64, &indices, 0)?)
}

/// Runs one op, and a ReLU behind it if its outputs are to be `rectified`, and names its node if that fails. Behind its inputs come the values
/// that its subgraphs read.
pub(super) fn eval(
    session: &Session,
    node: NodeId,
    tensors: &[Option<&Tensor>],
    input_facts: &[Option<Fact>],
    output_facts: &[Fact],
    rectified: bool,
) -> Result<Vec<Tensor>, GraphError> {
    let graph = session.graph.as_ref();
    let cast =
        casts(session, graph.nodes[node].op.mixed(), tensors).map_err(|e| graph.node_error(node, e))?;
    let tensors = &*read(tensors, &cast);
    let observed =
        observed(graph, node, tensors, input_facts, output_facts).map_err(|e| graph.node_error(node, e))?;
    let (input_facts, output_facts) = match &observed {
        Some((inputs, outputs)) => (inputs.as_slice(), outputs.as_slice()),
        None => (input_facts, output_facts),
    };
    let facts: Vec<Option<&Fact>> = input_facts.iter().map(Option::as_ref).collect();
    let own = graph.nodes[node].inputs.len();
    let captured = captures(graph, node, &facts);
    let names = graph.nodes[node].captures.iter().map(|&v| graph.values[v].name.as_str());
    let captures: Vec<(&str, &Tensor)> =
        names.zip(tensors.iter().skip(own)).filter_map(|(name, tensor)| Some((name, (*tensor)?))).collect();
    let args = Args {
        tensors: &tensors[..own.min(tensors.len())],
        inputs: Inputs {
            facts: &facts[..own.min(facts.len())],
            outputs: output_facts.len(),
            captures: &captured,
        },
        outputs: output_facts,
        device: session.options.device,
        floats: session.floats(),
        training: session.training,
        rectified,
        captures: &captures,
        bodies: &session.bodies,
    };
    // Where libtorch refuses a call that takes a scalar, `tch` 0.24 panics: the scalar's `Drop` finds the error first.
    let outputs: Vec<Tensor> = catch_unwind(AssertUnwindSafe(|| graph.nodes[node].op.eval(&args)))
        .unwrap_or_else(|panic| Err(OpError::Invalid(panic_text(&*panic))))
        .and_then(|outputs| {
            let types = output_facts.iter().map(|fact| fact.element_type).chain(std::iter::repeat(None));
            outputs.into_iter().zip(types).map(|(tensor, own)| convert::wrapped(tensor, own)).collect()
        })
        .map_err(|e| graph.node_error(node, e))?;
    if cfg!(debug_assertions) {
        check_inference(graph, node, output_facts, &outputs)?;
    }
    Ok(outputs)
}

/// What the subgraphs of a node read, by name, from facts that follow those of the inputs.
fn captures<'a>(graph: &'a Graph, node: NodeId, facts: &[Option<&'a Fact>]) -> Vec<(&'a str, &'a Fact)> {
    let node = &graph.nodes[node];
    let names = node.captures.iter().map(|&v| graph.values[v].name.as_str());
    names
        .zip(facts.iter().skip(node.inputs.len()))
        .filter_map(|(name, fact)| Some((name, (*fact)?)))
        .collect()
}

/// The inputs that a session of mixed precision casts for an op, to bfloat16 where it is cheaper or back to 32 bits, each in its place;
/// none where nothing is to be cast.
fn casts(
    session: &Session,
    mixed: Mixed,
    tensors: &[Option<&Tensor>],
) -> Result<Vec<Option<Tensor>>, OpError> {
    let floats = session.floats();
    if !floats.mixed {
        return Ok(Vec::new());
    }
    let of_single_numbers =
        || tensors.first().copied().flatten().is_some_and(|x| x.size().last() == Some(&1));
    let (from, to) = match mixed {
        Mixed::Product if of_single_numbers() => (Kind::BFloat16, floats.single),
        Mixed::Low | Mixed::Product => (floats.single, Kind::BFloat16),
        Mixed::Full => (Kind::BFloat16, floats.single),
        Mixed::Follow => return Ok(Vec::new()),
    };
    let cast = |tensor: &Option<&Tensor>| match tensor {
        Some(tensor) if tensor.f_kind()? == from => Ok(Some(tensor.f_to_kind(to)?)),
        _ => Ok(None),
    };
    tensors.iter().map(cast).collect()
}

/// What an op reads: what was cast, and the rest as it is.
fn read<'t>(tensors: &'t [Option<&'t Tensor>], cast: &'t [Option<Tensor>]) -> Cow<'t, [Option<&'t Tensor>]> {
    if cast.is_empty() {
        return Cow::Borrowed(tensors);
    }
    Cow::Owned(tensors.iter().zip(cast).map(|(own, cast)| cast.as_ref().or(*own)).collect())
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the op failed");
    text.lines().next().unwrap_or_default().to_owned()
}

/// Shape inference must equal evaluation; checked on every op of every run of a debug build.
fn check_inference(
    graph: &Graph,
    node: NodeId,
    facts: &[Fact],
    outputs: &[Tensor],
) -> Result<(), GraphError> {
    for (i, (fact, tensor)) in facts.iter().zip(outputs).enumerate() {
        let sizes = tensor.size();
        if !fact.admits(&sizes) && graph.nodes[node].outputs[i].is_some() {
            let text = format!("output {i} was inferred as {fact} and is {sizes:?}");
            return Err(graph.node_error(node, OpError::Invalid(text)));
        }
    }
    Ok(())
}

/// Facts of inputs and outputs.
type Observed = (Vec<Option<Fact>>, Vec<Fact>);

/// The facts of an op some of whose input sizes only the run tells; inference checks there what it could not before.
fn observed(
    graph: &Graph,
    node: NodeId,
    tensors: &[Option<&Tensor>],
    input_facts: &[Option<Fact>],
    output_facts: &[Fact],
) -> Result<Option<Observed>, OpError> {
    let known = |fact: &Option<Fact>| fact.as_ref().is_some_and(Fact::has_known_shape);
    if tensors.iter().zip(input_facts).all(|(tensor, fact)| tensor.is_none() || known(fact)) {
        return Ok(None);
    }
    let inputs = tensors.iter().zip(input_facts).map(|(tensor, fact)| match (tensor, fact) {
        (Some(tensor), fact) if !known(fact) => {
            let element_type = fact.as_ref().and_then(|fact| fact.element_type);
            Some(Fact::of(element_type, tensor.size().into_iter().map(Dim::from).collect()))
        }
        _ => fact.clone(),
    });
    let inputs: Vec<Option<Fact>> = inputs.collect();
    let facts: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
    let captured = captures(graph, node, &facts);
    let own = graph.nodes[node].inputs.len().min(facts.len());
    let given = Inputs { facts: &facts[..own], outputs: output_facts.len(), captures: &captured };
    match graph.nodes[node].op.infer(&given) {
        Ok(mut outputs) if outputs.len() == output_facts.len() => {
            let values = outputs.iter_mut().zip(&graph.nodes[node].outputs);
            values.filter(|(_, value)| value.is_none()).for_each(|(fact, _)| *fact = Fact::unknown());
            Ok(Some((inputs, outputs)))
        }
        Ok(_) | Err(OpError::Undetermined) => Ok(Some((inputs, output_facts.to_vec()))),
        Err(error) => Err(error),
    }
}

/// The nodes that some output needs and that are not known or folded already.
fn live_nodes(session: &Session, graph: &Graph, facts: &Facts) -> SecondaryMap<NodeId, ()> {
    let given = |v: ValueId| {
        session.constants.contains_key(v) || facts.get(v).is_some_and(|f| known_tensor(f).is_some())
    };
    let mut wanted = SecondaryMap::<ValueId, ()>::new();
    for &output in &graph.outputs {
        wanted.insert(output, ());
    }
    let mut live = SecondaryMap::new();
    for &id in graph.order.iter().rev() {
        let node = &graph.nodes[id];
        if node.outputs.iter().flatten().any(|v| wanted.contains_key(*v) && !given(*v)) {
            live.insert(id, ());
            // An op that reads its sizes from inference needs no tensor, but cheap ones are provided all the same.
            for &value in node.inputs.iter().flatten().chain(&node.captures) {
                wanted.insert(value, ());
            }
        }
    }
    live
}

/// A value whose contents inference knows, as a tensor. Floats are left to libtorch, which rounds as the model would.
fn known_tensor(fact: &Fact) -> Option<HostTensor> {
    let element_type = fact.element_type?;
    let shape = fact.known_shape()?.into_iter().map(|n| n as usize).collect::<Vec<_>>();
    let Some(Content::Ints(ints)) = &fact.content else { return None };
    let ints: Vec<i64> = ints.iter().map(Dim::known).collect::<Option<_>>()?;
    match element_type {
        ElementType::Int64 => HostTensor::from_slice(shape, &ints).ok(),
        ElementType::Int32 => {
            let ints = ints.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>().ok()?;
            HostTensor::from_slice(shape, &ints).ok()
        }
        ElementType::Bool => {
            let flags: Vec<bool> = ints.into_iter().map(|n| n != 0).collect();
            HostTensor::from_slice(shape, &flags).ok()
        }
        _ => None,
    }
}

/// The taps of a run and what they have caught so far.
struct Caught<'t> {
    taps: &'t [Tap],
    tensors: Vec<Option<Tensor>>,
}

impl<'t> Caught<'t> {
    fn new(taps: &'t [Tap]) -> Caught<'t> {
        Caught { taps, tensors: taps.iter().map(|_| None).collect() }
    }

    /// Catches a value and gives what its readers are to see.
    fn value(&mut self, id: ValueId, tensor: Tensor) -> Result<Tensor, GraphError> {
        for (tap, caught) in self.taps.iter().zip(&mut self.tensors) {
            if *tap == Tap::Value(id) {
                let tensor = differentiable(tensor)?;
                *caught = Some(tensor.shallow_clone());
                return Ok(tensor);
            }
        }
        Ok(tensor)
    }

    /// Catches the edges into a step and gives what it is to read there.
    fn edges(&mut self, step: &Step, values: &[Option<Tensor>]) -> Result<Vec<(usize, Tensor)>, GraphError> {
        let mut edges = Vec::new();
        for (tap, caught) in self.taps.iter().zip(&mut self.tensors) {
            let Tap::Edge { node, input } = *tap else { continue };
            if node != step.node {
                continue;
            }
            let tensor = step.inputs.get(input).copied().flatten().and_then(|slot| values[slot].as_ref());
            let tensor =
                tensor.ok_or_else(|| GraphError::Run(format!("the node has no input {input} to tap")))?;
            // An alias is a node of its own in the autograd graph, so that other readers do not count.
            let alias = tensor.f_alias().map_err(|e| GraphError::Run(e.to_string()))?;
            let alias = differentiable(alias)?;
            *caught = Some(alias.shallow_clone());
            edges.push((input, alias));
        }
        Ok(edges)
    }

    fn finish(self, graph: &Graph) -> Result<Vec<Tensor>, GraphError> {
        let missing = |tap: &Tap| match *tap {
            Tap::Value(id) => format!("the value '{}'", graph.values[id].name),
            Tap::Edge { node, input } => format!("input {input} of node {}", graph.node_label(node)),
        };
        let found = self.taps.iter().zip(self.tensors);
        found
            .map(|(tap, tensor)| {
                let text = || {
                    format!("{} cannot be tapped: no output depends on it, or it is constant", missing(tap))
                };
                tensor.ok_or_else(|| GraphError::Run(text()))
            })
            .collect()
    }
}

/// A tensor that gradients can be taken with respect to.
fn differentiable(tensor: Tensor) -> Result<Tensor, GraphError> {
    let float = matches!(tensor.f_kind(), Ok(Kind::Float | Kind::Double | Kind::BFloat16 | Kind::Half));
    if tensor.requires_grad() || !float {
        return Ok(tensor);
    }
    let leaf = tensor.f_detach().and_then(|t| t.f_set_requires_grad(true));
    leaf.map_err(|e| GraphError::Run(e.to_string()))
}
