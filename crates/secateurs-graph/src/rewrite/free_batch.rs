//! A model that its exporter fixed to batches of one size, opened to batches of any.

use secateurs_onnx::{ElementType, Tensor};
use slotmap::SecondaryMap;

use crate::axes::{AxisMap, Role, Segment};
use crate::dim::{Bindings, Dim};
use crate::fact::{Fact, Shape};
use crate::graph::{Graph, Node, NodeId, Source, Value, ValueId};
use crate::infer::Facts;
use crate::op::{InputRole, Inputs, Op};
use crate::ops::{self, Concat, Expand, Gather, GatherND, Reshape};
use crate::patch::{Feed, NewValue, Patch};
use crate::samples::{SampleAxis, Samples, fed};

/// The graph for batches of any size, where its inputs fix one and what is computed of one sample is told by that sample alone; `None`
/// elsewhere. Its values and nodes are those of `graph`, and of batches of the fixed size it computes the same.
///
/// Exporters write the size into constants: targets of `Reshape`, sizes of `Resize`, a token that is joined to a single sample, a first
/// state of a single one. These are computed from the input instead. Where samples are mixed, or picked by their number, there is no such
/// graph.
pub fn free_batch(graph: &Graph) -> Option<Graph> {
    let size = fixed_batch(graph)?;
    let name = symbol(graph);
    let batch = Dim::symbol(name.as_str());
    let freed = opened(graph, &batch)?;
    let given = |(id, value): (ValueId, &Value)| match value.source {
        Source::Node(..) => None,
        Source::Input | Source::Tensor(_) => Some((id, value.fact.clone())),
    };
    let mut freeing = Freeing {
        graph,
        fed: fed(graph),
        samples: Samples::of(&freed),
        size,
        batch,
        fixed: Bindings::from([(name, size)]),
        facts: freed.values.iter().filter_map(given).collect(),
        places: graph.inputs.iter().map(|&input| (input, SampleAxis::whole(0))).collect(),
        freed,
        changes: Vec::new(),
    };
    for &id in &graph.order {
        freeing.node(id)?;
    }
    freeing.finish()
}

/// The first size of all inputs.
fn fixed_batch(graph: &Graph) -> Option<i64> {
    let mut sizes =
        graph.inputs.iter().map(|&input| graph.values[input].fact.shape.as_ref()?.first()?.known());
    let first = sizes.next()??;
    (first > 0 && sizes.all(|size| size == Some(first))).then_some(first)
}

/// A name that no other size has.
fn symbol(graph: &Graph) -> String {
    let shapes = graph.inputs.iter().filter_map(|&input| graph.values[input].fact.shape.as_ref());
    let taken: Vec<String> = shapes.flatten().flat_map(Dim::symbols).map(|name| name.to_string()).collect();
    let mut name = "batch".to_owned();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// The graph with inputs of this batch, and without what the file says of the sizes behind them.
fn opened(graph: &Graph, batch: &Dim) -> Option<Graph> {
    let mut opened = graph.clone();
    for value in opened.values.values_mut() {
        match value.source {
            Source::Input => {
                *value.fact.shape.as_mut()?.first_mut()? = batch.clone();
                value.declared = None;
            }
            Source::Node(..) => value.declared = None,
            Source::Tensor(_) => {}
        }
    }
    Some(opened)
}

struct Freeing<'g> {
    graph: &'g Graph,
    freed: Graph,
    fed: SecondaryMap<ValueId, ()>,
    samples: Samples,
    size: i64,
    batch: Dim,
    /// The batch as it was.
    fixed: Bindings,
    facts: Facts,
    places: SecondaryMap<ValueId, SampleAxis>,
    changes: Vec<(NodeId, Change)>,
}

/// What a node is to be so that it takes any batch.
#[derive(Default)]
struct Change {
    /// Another op.
    op: Option<Box<dyn Op>>,
    /// What it reads in place of constants that hold the size.
    inputs: Vec<Replaced>,
}

struct Replaced {
    input: usize,
    fact: Fact,
    by: By,
}

enum By {
    Constant(Tensor),
    /// A constant, repeated along an axis of one entry.
    Repeated(Feed, usize),
    /// The list of sizes, with the batch at this place.
    Sizes(usize, Vec<i64>),
}

/// What a node makes.
struct Made {
    facts: Vec<Fact>,
    places: Vec<(ValueId, SampleAxis)>,
}

impl Freeing<'_> {
    /// Follows samples through a node, with the first change that lets them stay apart.
    fn node(&mut self, id: NodeId) -> Option<()> {
        let ways: [fn(&Self, NodeId) -> Option<Change>; 6] = [
            Self::reshaped,
            |_, _| Some(Change::default()),
            Self::repeated,
            Self::repeated_first,
            Self::sized,
            Self::picked,
        ];
        let (change, made) = ways.iter().find_map(|way| {
            let change = way(self, id)?;
            let made = self.made(id, &change)?;
            Some((change, made))
        })?;
        for (value, fact) in self.graph.nodes[id].outputs.iter().zip(made.facts) {
            let Some(value) = *value else { continue };
            self.freed.values[value].fact = fact.clone();
            self.facts.insert(value, fact);
        }
        self.places.extend(made.places);
        if !change.inputs.is_empty() {
            self.changes.push((id, change));
        }
        Some(())
    }

    /// What a changed node makes, where that is as before for the fixed batch, and apart for each sample.
    fn made(&self, id: NodeId, change: &Change) -> Option<Made> {
        let node = &self.graph.nodes[id];
        let facts = match change.inputs[..] {
            [] => self.freed.infer_node(id, &self.facts),
            _ => {
                let read = self.read(node, change);
                self.freed.infer_alone(id, change.op(node), &Inputs::new(&read, node.outputs.len()))
            }
        };
        let facts = facts.ok()?;
        let agrees = |(value, fact): (&Option<ValueId>, &Fact)| {
            value.is_none_or(|value| agrees(&fact.bind(&self.fixed), &self.graph.values[value].fact))
        };
        if !node.outputs.iter().zip(&facts).all(agrees) {
            return None;
        }
        let is_fed = node.outputs.iter().flatten().any(|value| self.fed.contains_key(*value));
        let places = if is_fed { self.follow(node, change, &facts)? } else { Vec::new() };
        Some(Made { facts, places })
    }

    fn read<'a>(&'a self, node: &Node, change: &'a Change) -> Vec<Option<&'a Fact>> {
        let own = |value: &Option<ValueId>| value.and_then(|value| self.facts.get(value));
        let mut read: Vec<Option<&Fact>> = node.inputs.iter().map(own).collect();
        for replaced in &change.inputs {
            read[replaced.input] = Some(&replaced.fact);
        }
        read
    }

    /// Samples go where a single atom holds those of all that is read, and nothing is summed or compared along it.
    fn follow(&self, node: &Node, change: &Change, outputs: &[Fact]) -> Option<Vec<(ValueId, SampleAxis)>> {
        let read = self.read(node, change);
        let map = AxisMap::of(change.op(node), &read, outputs);
        let mut held = None;
        for (i, value) in self.fed_inputs(node) {
            let own = self.samples.atom(self.places.get(value)?, &map, i)?;
            if held.get_or_insert_with(|| own.clone()) != &own || map.atoms[own.atom.0].role != Role::Free {
                return None;
            }
        }
        let held = held?;
        // Whatever else has as many entries as the batch had samples.
        let fixed = read.iter().zip(&map.inputs).any(|(fact, axes)| {
            let (Some(shape), Some(axes)) = (fact.and_then(|fact| fact.shape.as_ref()), axes) else {
                return false;
            };
            let holds = |segment: &Segment| segment.atoms().contains(&held.atom);
            shape.iter().zip(axes).any(|(size, axis)| size.known().is_some() && axis.iter().any(holds))
        });
        if fixed {
            return None;
        }
        let place = |(i, value): (usize, &Option<ValueId>)| {
            let place = |value| Some((value, held.place(map.outputs.get(i)?.as_deref()?, &map)?));
            value.map(place)
        };
        node.outputs.iter().enumerate().filter_map(place).collect()
    }

    /// The inputs that depend on samples, other than sizes.
    fn fed_inputs<'n>(&self, node: &'n Node) -> impl Iterator<Item = (usize, ValueId)> + use<'_, 'n> {
        let inputs = node.inputs.iter().enumerate().filter_map(|(i, value)| Some((i, (*value)?)));
        inputs.filter(|(i, value)| self.fed.contains_key(*value) && node.op.role(*i) != InputRole::Sizes)
    }

    /// A `Reshape`, or what is one, that keeps samples along one axis: with another target where the old one holds the size.
    fn reshaped(&self, id: NodeId) -> Option<Change> {
        let node = &self.graph.nodes[id];
        let &[Some(data), Some(given)] = &node.inputs[..] else { return None };
        let from = self.fed.get(data).and(self.facts[data].shape.as_deref())?;
        let made = self.graph.values[node.outputs[0]?].fact.shape.as_deref()?;
        let wanted = self.wanted(data, made)?;
        let (op, reshape, old) = match node.op.downcast::<Reshape>() {
            Some(reshape) => {
                let facts = self.freed.infer_node(id, &self.facts).ok();
                if facts.is_some_and(|facts| facts[0].shape.as_ref() == Some(&wanted)) {
                    return Some(Change::default());
                }
                (None, reshape.clone(), self.graph.values[given].fact.ints()?)
            }
            None => {
                let gather = node.op.downcast::<Gather>()?;
                let indices = self.graph.tensor(given)?.to_i64_vec().ok()?;
                let all = gather.takes_all(self.graph.values[data].fact.shape.as_deref()?, &indices);
                all.then(|| (Some(Box::new(Reshape::COPYING) as Box<dyn Op>), Reshape::COPYING, made))?
            }
        };
        let target = reshape.retarget(from, &wanted, old);
        let target = target.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
        let tensor = Tensor::from_slice(vec![target.len()], &target).ok()?;
        let fact = Fact::from_tensor(&tensor);
        Some(Change { op, inputs: vec![Replaced { input: 1, fact, by: By::Constant(tensor) }] })
    }

    /// The old shape of a reshape's output, with the batch where as much lies before it as before the samples of the input.
    ///
    /// A single sample may lie in several axes then. It has one of its own if it can; else it goes with what lies before it rather than
    /// with the last axis, which is that of features.
    fn wanted(&self, data: ValueId, old: &[Dim]) -> Option<Shape> {
        let place = self.places.get(data)?;
        let product = |dims: &[Dim]| dims.iter().fold(Dim::from(1), |product, dim| product * dim.clone());
        let shape = self.graph.values[data].fact.shape.as_ref()?;
        let before = product(&shape[..place.axis]) * place.outer.bind(&self.fixed);
        let through = before.clone() * self.size.into();
        let held = |axis: &usize| {
            let (start, end) = (product(&old[..*axis]), product(&old[..=*axis]));
            before.divide_exactly(&start).is_some() && end.divide_exactly(&through).is_some()
        };
        let axis = (0..old.len()).filter(held).min_by_key(|&axis| match old[axis].is(self.size) {
            true => (0, axis.abs_diff(place.axis)),
            false => (1 + usize::from(axis + 1 == old.len()), old.len() - axis),
        })?;
        let mut shape = old.to_vec();
        shape[axis] = self.batch.clone() * old[axis].divide_exactly(&self.size.into())?;
        Some(shape)
    }

    /// Constants with a single entry along the axis of a single sample get one for each, where the op tells that axis from others of one
    /// entry.
    fn repeated(&self, id: NodeId) -> Option<Change> {
        let node = &self.graph.nodes[id];
        let unchanged = Change::default();
        let read = self.read(node, &unchanged);
        let outputs = self.graph.output_facts(node);
        self.repeated_along(node, &node.op.axes(&Inputs::new(&read, outputs.len()), &outputs))
    }

    /// The same by the axes of one sample, where the op takes no more of this constant.
    fn repeated_first(&self, id: NodeId) -> Option<Change> {
        let node = &self.graph.nodes[id];
        self.repeated_along(node, &self.graph.axis_map(node))
    }

    fn repeated_along(&self, node: &Node, map: &AxisMap) -> Option<Change> {
        let (i, value) = self.fed_inputs(node).next()?;
        let place = self.places.get(value).filter(|place| place.is_whole())?;
        let samples = map.inputs.get(i)?.as_ref()?.get(place.axis)?;
        let replaced = |(input, value): (usize, &Option<ValueId>)| {
            let fact = self.facts.get(value.filter(|value| !self.fed.contains_key(*value))?)?;
            let axes = map.inputs.get(input)?.as_ref()?;
            let axis = axes.iter().position(|axis| axis == samples)?;
            let mut shape = fact.shape.clone()?;
            if !shape.get(axis)?.is(1) {
                return None;
            }
            shape[axis] = self.batch.clone();
            let by = By::Repeated(Feed::Value(*value), axis);
            Some(Replaced { input, fact: Fact::of(fact.element_type, shape), by })
        };
        let inputs: Vec<Replaced> = node.inputs.iter().enumerate().filter_map(replaced).collect();
        (self.size == 1 && !inputs.is_empty()).then_some(Change { op: None, inputs })
    }

    /// Sizes of all axes get the batch where the samples are.
    fn sized(&self, id: NodeId) -> Option<Change> {
        let node = &self.graph.nodes[id];
        let (_, value) = self.fed_inputs(node).next()?;
        let place = self.places.get(value).filter(|place| place.is_whole())?;
        let rank = self.facts[value].rank()?;
        let is_list = |role| matches!(role, InputRole::Sizes | InputRole::Control);
        let replaced = |(input, value): (usize, &Option<ValueId>)| {
            let fact = self.facts.get(value.filter(|_| is_list(node.op.role(input)))?)?;
            let mut dims = fact.ints().filter(|dims| dims.len() == rank)?.to_vec();
            let sizes = dims.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
            if sizes[place.axis] != self.size {
                return None;
            }
            dims[place.axis] = self.batch.clone();
            let fact = Fact::of(fact.element_type, fact.shape.clone()?).with_content(Some(dims.into()));
            Some(Replaced { input, fact, by: By::Sizes(place.axis, sizes) })
        };
        let inputs: Vec<Replaced> = node.inputs.iter().enumerate().filter_map(replaced).collect();
        (!inputs.is_empty()).then_some(Change { op: None, inputs })
    }

    /// What `GatherND` takes of the one sample it takes of each.
    fn picked(&self, id: NodeId) -> Option<Change> {
        let node = &self.graph.nodes[id];
        let &[Some(data), Some(given)] = &node.inputs[..] else { return None };
        self.places.get(data).filter(|place| **place == SampleAxis::whole(0))?;
        let rows = node.op.downcast::<GatherND>()?.of_one(self.graph.tensor(given)?)?;
        let mut shape: Shape = rows.shape().iter().map(|&size| size.into()).collect();
        shape[0] = self.batch.clone();
        let by = By::Repeated(Feed::Constant(format!("{}_rows", self.graph.node_label(id)), rows), 0);
        let inputs = vec![Replaced { input: 1, fact: Fact::new(ElementType::Int64, shape), by }];
        (self.size == 1).then(|| Change { op: Some(Box::new(GatherND::OF_EACH)), inputs })
    }

    fn finish(self) -> Option<Graph> {
        let apart = |output: &ValueId| self.places.get(*output) == Some(&SampleAxis::whole(0));
        if !self.graph.outputs.iter().all(apart) {
            return None;
        }
        let mut freed = self.freed;
        let mut patch = Patch::new();
        let mut sizes = Sizes { input: *self.graph.inputs.first()?, batch: None };
        for (id, change) in self.changes {
            let node = &self.graph.nodes[id];
            let mut inputs: Vec<Feed> = node.inputs.iter().map(|&value| Feed::Value(value)).collect();
            for Replaced { input, fact, by } in change.inputs {
                let name = format!("{}_batch", self.graph.node_label(id));
                inputs[input] = match by {
                    By::Constant(tensor) => Feed::Constant(name, tensor),
                    By::Sizes(axis, list) => Feed::New(sizes.list(&mut patch, &name, axis, &list)?),
                    By::Repeated(constant, axis) => {
                        let list = sizes.list(&mut patch, &name, axis, &vec![1; fact.rank()?])?;
                        Feed::New(patch.make(name, Box::new(Expand), vec![constant, Feed::New(list)]))
                    }
                };
            }
            if let Some(op) = change.op {
                patch.set_op(id, op);
            }
            patch.set_inputs(id, inputs);
        }
        patch.apply(&mut freed).ok()?;
        Some(freed)
    }
}

impl Change {
    fn op<'a>(&'a self, node: &'a Node) -> &'a dyn Op {
        self.op.as_ref().unwrap_or(&node.op).as_ref()
    }
}

/// Lists of sizes that hold the batch.
struct Sizes {
    input: ValueId,
    batch: Option<NewValue>,
}

impl Sizes {
    fn list(&mut self, patch: &mut Patch, name: &str, axis: usize, sizes: &[i64]) -> Option<NewValue> {
        let batch = *self.batch.get_or_insert_with(|| {
            let shape = Box::new(ops::Shape::first());
            patch.make("batch", shape, vec![Feed::Value(Some(self.input))])
        });
        let constant = |part: &[i64]| {
            let tensor = Tensor::from_slice(vec![part.len()], part).ok()?;
            Some(Feed::Constant(format!("{name}_sizes"), tensor))
        };
        let parts = vec![constant(&sizes[..axis])?, Feed::New(batch), constant(&sizes[axis + 1..])?];
        Some(patch.make(format!("{name}_sizes"), Box::new(Concat::along(0)), parts))
    }
}

/// Whether a shape is what it was, as far as that can be told before a run.
fn agrees(new: &Fact, old: &Fact) -> bool {
    let (Some(new), Some(old)) = (&new.shape, &old.shape) else { return new.shape == old.shape };
    let same = |(new, old): (&Dim, &Dim)| new == old || !new.is_determined() && !old.is_determined();
    new.len() == old.len() && new.iter().zip(old).all(same)
}
