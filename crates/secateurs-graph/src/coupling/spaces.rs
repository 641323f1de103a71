//! Index spaces: axes that are mapped to each other one to one.

use std::collections::HashMap;
use std::sync::Arc;

use slotmap::SecondaryMap;

use super::CouplingOptions;
use super::disjoint::DisjointSets;
use super::frames::Frames;
use super::reason::Reason;
use crate::axes::{AtomId, Axis, AxisMap, Role, Segment};
use crate::dim::Dim;
use crate::fact::Content;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::op::InputRole;

/// All index spaces of a graph, and where they occur.
pub(crate) struct Spaces {
    pub spaces: Vec<Space>,
    pub composites: Vec<Composite>,
    pub maps: SecondaryMap<NodeId, AxisMap>,
    /// The space of each variable: an axis of a value, or an atom of a node.
    space_of: Vec<u32>,
    first_atom: SecondaryMap<NodeId, u32>,
    values: SecondaryMap<ValueId, u32>,
    /// Vectors have axes of their own at every use: exporters share them by accident.
    uses: HashMap<(NodeId, usize), u32>,
}

pub(crate) struct Space {
    /// How many indices can be told apart; for a symbolic size such as `12·batch` those of the known factor.
    pub cells: usize,
    pub barred: Option<Reason>,
    /// Why removing indices changes the others.
    pub inexact: Option<Reason>,
    /// A value axis in the space, to name it by.
    pub example: Option<(ValueId, usize)>,
}

/// Axes are followed index by index up to this length, and beyond it up to so many times the longest axis of a constant: a few bytes of
/// a file can declare any size.
const MAX_CELLS: usize = 1 << 16;
const PRODUCTS: usize = 16;

/// A space whose indices are a direct sum of products or picks of others.
pub(crate) struct Composite {
    pub node: NodeId,
    pub total: u32,
    pub parts: Vec<Part>,
}

pub(crate) enum Part {
    /// Row-major, outermost first: the space of each factor.
    Product(Vec<u32>),
    Pick(u32, Arc<[usize]>),
}

impl Spaces {
    pub fn new(graph: &Graph, options: &CouplingOptions) -> Spaces {
        let mut builder = Builder::new(graph);
        for &node in &graph.order {
            builder.node(node);
        }
        if !options.open {
            for &value in &graph.inputs {
                builder.bar_port(value, &Reason::Input(value), &options.resizable);
            }
            for &value in &graph.outputs {
                builder.bar_port(value, &Reason::Output(value), &options.resizable);
            }
        }
        builder.finish()
    }

    /// The space of an axis of a node's input; `None` for a value of unknown rank.
    pub fn axis(&self, graph: &Graph, node: NodeId, input: usize, axis: usize) -> Option<u32> {
        let first = match self.uses.get(&(node, input)) {
            Some(&first) => first,
            None => *self.values.get(graph.nodes[node].inputs[input]?)?,
        };
        Some(self.space_of[first as usize + axis])
    }

    /// The space of an axis of a value that is not split by use.
    pub fn value_axis(&self, value: ValueId, axis: usize) -> Option<u32> {
        self.values.get(value).map(|&first| self.space_of[first as usize + axis])
    }

    /// The space of an atom.
    pub fn atom(&self, node: NodeId, atom: usize) -> u32 {
        self.space_of[self.first_atom[node] as usize + atom]
    }
}

struct Builder<'g> {
    graph: &'g Graph,
    sizes: Vec<Dim>,
    sets: DisjointSets,
    barred: Vec<(u32, Reason)>,
    inexact: Vec<(u32, Reason)>,
    examples: Vec<(u32, ValueId, usize)>,
    composites: Vec<(NodeId, u32, Axis, u32)>,
    maps: SecondaryMap<NodeId, AxisMap>,
    first_atom: SecondaryMap<NodeId, u32>,
    values: SecondaryMap<ValueId, u32>,
    uses: HashMap<(NodeId, usize), u32>,
}

impl<'g> Builder<'g> {
    fn new(graph: &'g Graph) -> Builder<'g> {
        let mut builder = Builder {
            graph,
            sizes: Vec::new(),
            sets: DisjointSets::new(0),
            barred: Vec::new(),
            inexact: Vec::new(),
            examples: Vec::new(),
            composites: Vec::new(),
            maps: SecondaryMap::with_capacity(graph.nodes.len()),
            first_atom: SecondaryMap::with_capacity(graph.nodes.len()),
            values: SecondaryMap::with_capacity(graph.values.len()),
            uses: HashMap::new(),
        };
        for id in graph.values.keys() {
            if let Some(first) = builder.axes_of(id) {
                builder.values.insert(id, first);
            }
        }
        builder
    }

    /// New variables for the axes of a value.
    fn axes_of(&mut self, id: ValueId) -> Option<u32> {
        let shape = self.graph.values[id].fact.shape.as_ref()?;
        let first = self.sets.len() as u32;
        for (axis, dim) in shape.iter().enumerate() {
            let var = self.variable(dim.clone());
            self.examples.push((var, id, axis));
        }
        Some(first)
    }

    fn variable(&mut self, size: Dim) -> u32 {
        let var = self.sets.push();
        self.sizes.push(size);
        var
    }

    fn bar_value(&mut self, id: ValueId, reason: &Reason) {
        let rank = self.graph.values[id].fact.rank().unwrap_or(0) as u32;
        if let Some(&first) = self.values.get(id) {
            self.barred.extend((first..first + rank).map(|var| (var, reason.clone())));
        }
    }

    /// An input or output of the model keeps its shape; of one that is resizable only what is not known before the model runs.
    fn bar_port(&mut self, id: ValueId, reason: &Reason, resizable: &[ValueId]) {
        if !resizable.contains(&id) {
            return self.bar_value(id, reason);
        }
        let shape = self.graph.values[id].fact.shape.as_deref().unwrap_or_default();
        let Some(&first) = self.values.get(id) else { return };
        let open = (0..shape.len()).filter(|&axis| shape[axis].known().is_none());
        self.barred.extend(open.map(|axis| (first + axis as u32, reason.clone())));
    }

    fn node(&mut self, id: NodeId) {
        let node = &self.graph.nodes[id];
        let facts = self.graph.input_facts(node);
        let outputs = self.graph.output_facts(node);
        let map = self.graph.axis_map(node);
        let first = self.sets.len() as u32;
        for atom in &map.atoms {
            let var = self.variable(atom.size.clone());
            match atom.role {
                Role::Blocked(why) => self.barred.push((var, Reason::Op(id, why))),
                Role::Mixed(why) => self.inexact.push((var, Reason::Op(id, why))),
                _ => {}
            }
            // What is consumed is masked index by index, and what is dropped is counted.
            if !matches!(atom.role, Role::Free | Role::Made) && atom.size.known().is_none() {
                self.barred.push((var, Reason::Size(atom.size.clone())));
            }
        }
        for (a, b) in &map.ties {
            self.sets.union(first + a.0 as u32, first + b.0 as u32);
        }
        for &value in &node.captures {
            self.bar_value(value, &Reason::Captured(id));
        }
        let mut unclear = false;
        for (i, input) in node.inputs.iter().enumerate() {
            let Some(value) = *input else { continue };
            match map.inputs.get(i) {
                Some(Some(axes)) if facts[i].is_some_and(|f| f.rank() == Some(axes.len())) => {
                    let first_axis = match self.is_vector(value) {
                        true => {
                            let own = self.axes_of(value).unwrap_or(0);
                            self.uses.insert((id, i), own);
                            own
                        }
                        false => self.values[value],
                    };
                    self.port(id, first_axis, axes, first);
                }
                _ => match node.op.role(i) {
                    InputRole::Sizes => {}
                    // Known contents are compared after surgery; others may not change.
                    InputRole::Control
                        if facts[i]
                            .is_some_and(|f| f.content.as_ref().is_some_and(Content::is_determined)) => {}
                    InputRole::Control => self.bar_value(value, &Reason::Op(id, "an input read as it is")),
                    InputRole::Data | InputRole::Parameter | InputRole::Statistic => {
                        self.bar_value(
                            value,
                            &Reason::Op(id, "how its axes depend on each other is not known"),
                        );
                        unclear = true;
                    }
                },
            }
        }
        for (i, output) in node.outputs.iter().enumerate() {
            let Some(value) = *output else { continue };
            match map.outputs.get(i) {
                Some(Some(axes)) if outputs[i].rank() == Some(axes.len()) => {
                    self.port(id, self.values[value], axes, first);
                }
                _ => self.bar_value(value, &Reason::Op(id, "how its axes depend on each other is not known")),
            }
        }
        if unclear {
            let why = Reason::Op(id, "how its axes depend on each other is not known");
            self.barred.extend((0..map.atoms.len() as u32).map(|a| (first + a, why.clone())));
        }
        self.first_atom.insert(id, first);
        self.maps.insert(id, map);
    }

    /// Whether a constant has at most one axis of more than one index.
    fn is_vector(&self, value: ValueId) -> bool {
        self.graph.tensor(value).is_some_and(|t| t.shape().iter().filter(|n| **n > 1).count() <= 1)
    }

    fn port(&mut self, id: NodeId, first_axis: u32, axes: &[Axis], first_atom: u32) {
        for (k, axis) in axes.iter().enumerate() {
            let var = first_axis + k as u32;
            match &axis[..] {
                [Segment::Product(atoms)] if atoms.len() == 1 => {
                    self.sets.union(var, first_atom + atoms[0].0 as u32)
                }
                _ if self.sizes[var as usize].is(1) => {}
                _ => self.composites.push((id, var, axis.clone(), first_atom)),
            }
        }
    }

    fn finish(mut self) -> Spaces {
        let variables = self.sets.len();
        let roots: Vec<u32> = (0..variables as u32).map(|var| self.sets.find(var)).collect();
        let mut number = vec![u32::MAX; variables];
        let mut count = 0u32;
        for &root in &roots {
            if number[root as usize] == u32::MAX {
                number[root as usize] = count;
                count += 1;
            }
        }
        let space_of: Vec<u32> = roots.iter().map(|&root| number[root as usize]).collect();
        let mut sizes: Vec<Option<Dim>> = vec![None; count as usize];
        let mut spaces: Vec<Space> =
            (0..count).map(|_| Space { cells: 0, barred: None, inexact: None, example: None }).collect();
        for (var, &space) in space_of.iter().enumerate() {
            let own = &self.sizes[var];
            match &sizes[space as usize] {
                None => sizes[space as usize] = Some(own.clone()),
                Some(size) if size == own => {}
                Some(size) => {
                    let open = if size.known().is_some() { own } else { size };
                    spaces[space as usize].barred.get_or_insert_with(|| Reason::Size(open.clone()));
                }
            }
        }
        for (var, value, axis) in &self.examples {
            spaces[space_of[*var as usize] as usize].example.get_or_insert((*value, *axis));
        }
        for (var, reason) in std::mem::take(&mut self.barred) {
            spaces[space_of[var as usize] as usize].barred.get_or_insert(reason);
        }
        for (var, reason) in std::mem::take(&mut self.inexact) {
            spaces[space_of[var as usize] as usize].inexact.get_or_insert(reason);
        }
        let sizes: Vec<Dim> = sizes.into_iter().map(|s| s.unwrap_or_else(|| 1.into())).collect();
        let composites: Vec<Composite> = std::mem::take(&mut self.composites)
            .into_iter()
            .map(|(node, var, axis, first_atom)| {
                let space = |atom: &AtomId| space_of[first_atom as usize + atom.0];
                let part = |segment: &Segment| match segment {
                    Segment::Pick { atom, indices } => Part::Pick(space(atom), indices.clone()),
                    Segment::Product(atoms) => Part::Product(atoms.iter().map(space).collect()),
                };
                Composite { node, total: space_of[var as usize], parts: axis.iter().map(part).collect() }
            })
            .collect();
        // What can be pruned belongs to a parameter, or is a product of few such axes.
        let longest = self.graph.values.values().filter_map(|value| match &value.source {
            Source::Tensor(tensor) if !tensor.is_empty() => tensor.shape().iter().copied().max(),
            _ => None,
        });
        let most = longest.max().unwrap_or(0usize).saturating_mul(PRODUCTS).max(MAX_CELLS);
        let frames = Frames::new(&sizes, &composites);
        for (i, space) in spaces.iter_mut().enumerate() {
            match (sizes[i].known(), frames.of(i as u32)) {
                (Some(n), _) if n as u64 > most as u64 => {
                    space.barred.get_or_insert_with(|| Reason::Large(sizes[i].clone()));
                }
                (_, Some(cells)) if cells > most => {
                    space.barred.get_or_insert_with(|| Reason::Large(sizes[i].clone()));
                }
                // The only index of an axis stays; one that is merely dropped or made can go.
                (Some(n), _) if n > 1 || (n == 1 && space.example.is_none()) => space.cells = n as usize,
                (None, Some(cells)) => space.cells = cells,
                _ => {
                    space.barred.get_or_insert_with(|| Reason::Size(sizes[i].clone()));
                }
            }
        }
        bar_uncounted(&mut spaces, &composites, &sizes);
        spread(&mut spaces, &composites);
        Spaces {
            spaces,
            composites,
            maps: self.maps,
            space_of,
            first_atom: self.first_atom,
            values: self.values,
            uses: self.uses,
        }
    }
}

/// A whole whose indices are not those of its parts stays: where the size of a part is a number before the model runs in one place and is not
/// in another, its indices are not told apart.
fn bar_uncounted(spaces: &mut [Space], composites: &[Composite], sizes: &[Dim]) {
    for composite in composites {
        let cells = |space: &u32| spaces[*space as usize].cells.max(1);
        let part_cells = |part: &Part| match part {
            Part::Product(factors) => factors.iter().map(cells).product(),
            Part::Pick(_, indices) => indices.len(),
        };
        let counted: usize = composite.parts.iter().map(part_cells).sum();
        let total = &mut spaces[composite.total as usize];
        if total.barred.is_none() && total.cells != counted {
            let factors = composite.parts.iter().filter_map(|part| match part {
                Part::Product(factors) => Some(factors),
                Part::Pick(..) => None,
            });
            let open = factors.flatten().find(|space| sizes[**space as usize].known().is_none());
            let size = &sizes[open.copied().unwrap_or(composite.total) as usize];
            total.barred = Some(Reason::Size(size.clone()));
        }
    }
}

/// What cannot go in a whole cannot go in its parts.
fn spread(spaces: &mut [Space], composites: &[Composite]) {
    let mut by_total: HashMap<u32, Vec<usize>> = HashMap::new();
    for (i, composite) in composites.iter().enumerate() {
        by_total.entry(composite.total).or_default().push(i);
    }
    let mut open: Vec<u32> =
        (0..spaces.len() as u32).filter(|&s| spaces[s as usize].barred.is_some()).collect();
    while let Some(total) = open.pop() {
        let reason = spaces[total as usize].barred.clone();
        for &i in by_total.get(&total).into_iter().flatten() {
            for part in &composites[i].parts {
                let parts = match part {
                    Part::Product(factors) => factors,
                    // Indices that are not picked are free to go.
                    Part::Pick(..) => continue,
                };
                for &part in parts {
                    if spaces[part as usize].barred.is_none() {
                        spaces[part as usize].barred = reason.clone();
                        open.push(part);
                    }
                }
            }
        }
    }
}
