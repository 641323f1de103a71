//! Axis maps: how the indices of an op's inputs and outputs depend on each other.
//!
//! An op names the index ranges that it works with, its *atoms*, and writes every axis of every input and output as a
//! direct sum of row-major products of atoms, as einops does. `Conv` with groups is
//! `x: [n, (g c), …], w: [(g o), c, …] → y: [n, (g o), …]`; `Concat` is `a, b → a ⊕ b`; merging two axes by `Reshape` is
//! `a, b → (a b)`. What can be removed together follows from these maps alone, with no knowledge of ops.
//!
//! The meaning is exact and testable: permuting the indices of one atom wherever it occurs in the inputs permutes the
//! outputs in the same way ([`Role::Free`]) or leaves them as they are (the other roles that can be permuted).

use std::sync::Arc;

use crate::dim::Dim;
use crate::fact::Fact;
use crate::graph::{Graph, Node};
use crate::op::{Inputs, Op};

/// The index of an atom in [`AxisMap::atoms`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AtomId(pub usize);

/// An index range that an op treats as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Atom {
    /// How many indices there are.
    pub size: Dim,
    /// What the op does with them.
    pub role: Role,
}

/// What an op does with the indices of an atom.
#[derive(Clone, PartialEq, Debug)]
pub enum Role {
    /// Indices do not mix: removing one from the inputs removes it from the outputs and changes nothing else.
    Free,
    /// Summed over, as the inner axis of a matrix product: an index whose contribution is zero can go. May also be an axis
    /// of the output, as that of a vector divided by its norm.
    Summed,
    /// Averaged over: as summed, but the divisor changes when an index goes.
    Averaged,
    /// Enters a statistic of the outputs (the axis of a softmax or layer norm): removing an index changes the others.
    Mixed(&'static str),
    /// Present in an input and in no output (sliced away): removing an index changes nothing.
    Dropped,
    /// Present in an output and in no input (padding, expansion): the op makes as many as its attributes or shape
    /// inputs say, all alike.
    Made,
    /// Indices cannot be removed, for this reason.
    Blocked(&'static str),
}

impl Role {
    /// Whether indices end here: what the masked twin zeroes.
    pub(crate) fn consumes(&self) -> bool {
        matches!(self, Role::Summed | Role::Averaged | Role::Mixed(_))
    }
}

/// One part of an axis.
#[derive(Clone, PartialEq, Debug)]
pub enum Segment {
    /// A row-major product of atoms, outermost first. The empty product has one index.
    Product(Vec<AtomId>),
    /// The indices `indices` of an atom, in this order.
    Pick {
        /// The atom picked from.
        atom: AtomId,
        /// Which of its indices, each in `0..size`.
        indices: Arc<[usize]>,
    },
}

impl Segment {
    /// The atoms that it is made of, outermost first.
    pub(crate) fn atoms(&self) -> &[AtomId] {
        match self {
            Segment::Product(atoms) => atoms,
            Segment::Pick { atom, .. } => std::slice::from_ref(atom),
        }
    }
}

/// The segments of one axis, in order: a direct sum.
pub type Axis = Vec<Segment>;

/// How the axes of an op's inputs and outputs depend on each other.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AxisMap {
    /// The index ranges that occur.
    pub atoms: Vec<Atom>,
    /// For each input its axes; `None` for an absent input, or one that holds sizes or other control values.
    pub inputs: Vec<Option<Vec<Axis>>>,
    /// For each output its axes.
    pub outputs: Vec<Option<Vec<Axis>>>,
    /// Atoms of equal size whose indices are the same ones, though the op does different things with them: the hidden
    /// units of a recurrent layer, made by the rows of its weights and summed over by their columns in the next step.
    pub ties: Vec<(AtomId, AtomId)>,
}

impl AxisMap {
    /// An empty map for an op with `inputs` inputs, to be filled.
    pub fn new(inputs: usize, outputs: usize) -> AxisMap {
        AxisMap { inputs: vec![None; inputs], outputs: vec![None; outputs], ..AxisMap::default() }
    }

    /// Adds an atom.
    pub fn atom(&mut self, size: impl Into<Dim>, role: Role) -> AtomId {
        self.atoms.push(Atom { size: size.into(), role });
        AtomId(self.atoms.len() - 1)
    }

    /// A fresh axis of one atom; axes of one index need none.
    pub fn axis(&mut self, size: &Dim, role: Role) -> Axis {
        if size.is(1) {
            return vec![Segment::Product(Vec::new())];
        }
        vec![Segment::Product(vec![self.atom(size.clone(), role)])]
    }

    /// Every axis of every value blocked, for the same reason.
    pub fn blocked(inputs: &[Option<&Fact>], outputs: &[Fact], reason: &'static str) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        for (i, fact) in inputs.iter().enumerate() {
            map.inputs[i] = fact.and_then(|f| map.blocked_axes(f, reason));
        }
        for (i, fact) in outputs.iter().enumerate() {
            map.outputs[i] = map.blocked_axes(fact, reason);
        }
        map
    }

    /// Fresh blocked axes for a value.
    pub fn blocked_axes(&mut self, fact: &Fact, reason: &'static str) -> Option<Vec<Axis>> {
        let shape = fact.shape.as_ref()?;
        Some(shape.iter().map(|dim| self.axis(dim, Role::Blocked(reason))).collect())
    }

    /// The map of an op that works element by element on inputs that broadcast to its one output: equal axes aligned
    /// from the right. Control inputs are passed as `None`.
    pub fn elementwise(inputs: &[Option<&Fact>], output: &Fact) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Some(shape) = &output.shape else { return map };
        let from_input = |axis: usize| {
            inputs.iter().flatten().filter_map(|f| f.shape.as_ref()).any(|s| {
                let at = (axis + s.len()).checked_sub(shape.len());
                at.is_some_and(|at| !s[at].is(1))
            })
        };
        let axes: Vec<Axis> = (0..shape.len())
            .map(|i| map.axis(&shape[i], if from_input(i) { Role::Free } else { Role::Made }))
            .collect();
        for (i, fact) in inputs.iter().enumerate() {
            let Some(input) = fact.and_then(|f| f.shape.as_ref()) else { continue };
            let skipped = shape.len() - input.len().min(shape.len());
            let aligned = axes[skipped..].iter().zip(input).map(|(axis, dim)| match dim.is(1) {
                true => vec![Segment::Product(Vec::new())],
                false => axis.clone(),
            });
            map.inputs[i] = Some(aligned.collect());
        }
        map.outputs[0] = Some(axes);
        map
    }
}

/// Why nothing of a node can go whose inputs do not fit its op.
const UNFIT: &str = "its inputs are not what the op takes";

impl Graph {
    /// A node's axis map. Where the sizes of its inputs contradict what its op makes of them, as in a file that no engine would run,
    /// everything is blocked.
    pub fn axis_map(&self, node: &Node) -> AxisMap {
        AxisMap::of(node.op.as_ref(), &self.input_facts(node), &self.output_facts(node))
    }
}

impl AxisMap {
    /// The map of an op that reads and makes this, checked as [`Graph::axis_map`] tells.
    pub(crate) fn of(op: &dyn Op, facts: &[Option<&Fact>], outputs: &[Fact]) -> AxisMap {
        let mut map = op.axes(&Inputs::new(facts, outputs.len()), outputs);
        let negative = map.atoms.iter().any(|atom| atom.size.known().is_some_and(|size| size < 0));
        let own = outputs.iter().map(Some).zip(&mut map.outputs);
        for (fact, axes) in facts.iter().copied().zip(&mut map.inputs).chain(own) {
            let rank = fact.and_then(Fact::rank);
            if axes.as_ref().zip(rank).is_some_and(|(axes, rank)| axes.len() != rank) {
                // Known as little as one that the map leaves out.
                *axes = None;
            }
        }
        let own = outputs.iter().map(Some).zip(&map.outputs);
        let mut values = facts.iter().copied().zip(&map.inputs).chain(own);
        let fits = values.all(|(fact, axes)| map.fits(fact, axes.as_deref()));
        if negative || map.inputs.len() > facts.len() || !fits {
            return AxisMap::blocked(facts, outputs, UNFIT);
        }
        map
    }

    /// Whether axes can be those of a value, as far as sizes are numbers.
    fn fits(&self, fact: Option<&Fact>, axes: Option<&[Axis]>) -> bool {
        let (Some(shape), Some(axes)) = (fact.and_then(|fact| fact.shape.as_deref()), axes) else {
            return true;
        };
        shape.iter().zip(axes).all(|(dim, axis)| self.has_size(axis, dim))
    }

    fn has_size(&self, axis: &Axis, dim: &Dim) -> bool {
        let mut total = Some(0i64);
        for segment in axis {
            let own = match segment {
                Segment::Product(atoms) => atoms
                    .iter()
                    .map(|atom| self.atoms[atom.0].size.known())
                    .try_fold(1i64, |product, size| product.checked_mul(size?)),
                Segment::Pick { atom, indices } => {
                    let size = self.atoms[atom.0].size.known().unwrap_or(i64::MAX);
                    if indices.iter().any(|&index| index as i64 >= size) {
                        return false;
                    }
                    Some(indices.len() as i64)
                }
            };
            total = total.zip(own).and_then(|(total, own)| total.checked_add(own));
        }
        total.zip(dim.known()).is_none_or(|(total, size)| total == size)
    }
}

/// Whether indices of an atom lie on an axis.
pub(crate) fn has_atom(axis: &Axis, atom: usize) -> bool {
    axis.iter().flat_map(Segment::atoms).any(|own| own.0 == atom)
}

/// An axis of one index.
pub fn unit_axis() -> Axis {
    vec![Segment::Product(Vec::new())]
}

/// An axis that is a row-major product of atoms.
pub fn product(atoms: impl Into<Vec<AtomId>>) -> Axis {
    vec![Segment::Product(atoms.into())]
}
