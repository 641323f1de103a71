//! What becomes of an op when indices of its atoms go: how an op's file is told, and what it answers.

use std::sync::Arc;

use secateurs_onnx::Tensor;

use crate::axes::{AtomId, Axis, AxisMap, Role, Segment};
use crate::dim::Dim;
use crate::fact::{Fact, Shape};
use crate::op::{Inputs, Op};

/// A node before surgery, and the indices of its atoms that surgery keeps.
pub struct Kept<'a> {
    /// The node's axis map.
    pub map: &'a AxisMap,
    /// The facts of the inputs before surgery.
    pub inputs: Inputs<'a>,
    /// The facts of the outputs before surgery.
    pub outputs: &'a [Fact],
    atoms: &'a [Option<Subset>],
}

/// Indices that are kept of an index range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subset {
    /// The kept indices, ascending.
    pub indices: Arc<[usize]>,
    /// How many there were. Of a symbolic size such as `12·batch` this is the factor that is pruned.
    pub of: usize,
}

/// How an op changes with its axes. The default is not at all.
#[derive(Debug, Default)]
pub struct Shrunk {
    /// The op with its new attributes, or another op in its place.
    pub op: Option<Box<dyn Op>>,
    /// What control inputs (sizes, positions, index lists) must be from now on, by input. They need not be constants: what
    /// computes them is only replaced where it does not give this by itself.
    pub controls: Vec<(usize, Fact)>,
    /// A control input of which only the shape that it gives to output 0 matters.
    pub target: Option<Target>,
    /// The inputs of the op that takes this one's place, where they are not the same.
    pub inputs: Option<Vec<ShrunkInput>>,
    /// What output 0 must be multiplied by: a divisor has changed.
    pub output_scale: Option<Scale>,
}

/// A factor `times / over`. A share of indices is kept as two integers, which are exact in any floating-point type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scale {
    /// The numerator.
    pub times: f64,
    /// The denominator.
    pub over: f64,
    /// An input that can be multiplied in place of the output, if it is a constant.
    pub into: Option<usize>,
}

impl Scale {
    /// The factor.
    pub fn factor(&self) -> f64 {
        self.times / self.over
    }
}

/// An input that holds the shape of output 0, or its last axes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The input.
    pub input: usize,
    /// Whether one entry may be −1 for what is left.
    pub infers: bool,
}

/// An input of an op that takes another one's place.
#[derive(Clone, Debug)]
pub enum ShrunkInput {
    /// The old input with this index.
    Old(usize),
    /// A new constant.
    New(Tensor),
}

impl<'a> Kept<'a> {
    /// `atoms` holds for each atom of `map` the kept indices; `None` where all are kept.
    pub fn new(
        map: &'a AxisMap,
        inputs: Inputs<'a>,
        outputs: &'a [Fact],
        atoms: &'a [Option<Subset>],
    ) -> Kept<'a> {
        Kept { map, inputs, outputs, atoms }
    }

    /// The same with other inputs, for an op that works by another one. The map stays.
    pub fn with_inputs<'b>(&self, inputs: Inputs<'b>) -> Kept<'b>
    where
        'a: 'b,
    {
        Kept { inputs, ..*self }
    }

    /// The kept indices of an atom; `None` where all are kept.
    pub fn atom(&self, id: AtomId) -> Option<&'a [usize]> {
        self.atoms[id.0].as_ref().map(|subset| &*subset.indices)
    }

    /// How many indices of an atom are kept.
    pub fn size(&self, id: AtomId) -> Dim {
        let size = &self.map.atoms[id.0].size;
        match &self.atoms[id.0] {
            Some(subset) => (size.clone() * subset.indices.len().into()).floor_div(&subset.of.into()),
            None => size.clone(),
        }
    }

    /// Kept over all indices of an atom.
    pub fn share(&self, id: AtomId) -> f64 {
        self.atoms[id.0].as_ref().map_or(1.0, |subset| subset.indices.len() as f64 / subset.of as f64)
    }

    /// How many indices of a segment are kept.
    pub fn segment_size(&self, segment: &Segment) -> Dim {
        match segment {
            Segment::Product(atoms) => atoms.iter().fold(Dim::from(1), |n, a| n * self.size(*a)),
            Segment::Pick { atom, indices } => match self.atom(*atom) {
                Some(kept) => indices.iter().filter(|i| kept.binary_search(i).is_ok()).count().into(),
                None => indices.len().into(),
            },
        }
    }

    /// How many indices of an axis are kept.
    pub fn axis_size(&self, axis: &Axis) -> Dim {
        axis.iter().fold(Dim::from(0), |sum, segment| sum + self.segment_size(segment))
    }

    /// The shape of an input after surgery; unchanged where it takes no part in the map.
    pub fn input_shape(&self, i: usize) -> Option<Shape> {
        match self.map.inputs.get(i) {
            Some(Some(axes)) => Some(axes.iter().map(|axis| self.axis_size(axis)).collect()),
            _ => self.inputs.get(i)?.shape.clone(),
        }
    }

    /// The shape of an output after surgery.
    pub fn output_shape(&self, i: usize) -> Option<Shape> {
        match self.map.outputs.get(i) {
            Some(Some(axes)) => Some(axes.iter().map(|axis| self.axis_size(axis)).collect()),
            _ => self.outputs.get(i)?.shape.clone(),
        }
    }

    /// Of an axis of known size, the indices that are kept, ascending; `None` where a size is not known.
    pub fn axis_indices(&self, axis: &Axis) -> Option<Vec<usize>> {
        let mut kept = Vec::new();
        let mut offset = 0;
        for segment in axis {
            match segment {
                Segment::Product(atoms) => {
                    let sizes =
                        atoms.iter().map(|a| self.map.atoms[a.0].size.known()).collect::<Option<Vec<_>>>()?;
                    let mut indices = vec![0];
                    for (atom, size) in atoms.iter().zip(&sizes) {
                        let size = *size as usize;
                        let all: Vec<usize>;
                        let own = match self.atom(*atom) {
                            Some(own) => own,
                            None => {
                                all = (0..size).collect();
                                &all
                            }
                        };
                        indices =
                            indices.iter().flat_map(|i| own.iter().map(move |j| i * size + j)).collect();
                    }
                    kept.extend(indices.into_iter().map(|i| offset + i));
                    offset += sizes.iter().product::<i64>() as usize;
                }
                Segment::Pick { atom, indices } => {
                    let own = self.atom(*atom);
                    let stays = |i: &usize| own.is_none_or(|own| own.binary_search(i).is_ok());
                    kept.extend((0..indices.len()).filter(|&j| stays(&indices[j])).map(|j| offset + j));
                    offset += indices.len();
                }
            }
        }
        Some(kept)
    }

    /// Whether an axis keeps all its indices.
    pub fn is_whole(&self, axis: &Axis) -> bool {
        axis.iter().all(|segment| match segment {
            Segment::Product(atoms) => atoms.iter().all(|a| self.is_all(*a)),
            Segment::Pick { atom, .. } => self.is_all(*atom),
        })
    }

    fn is_all(&self, id: AtomId) -> bool {
        self.atom(id).is_none_or(|kept| self.map.atoms[id.0].size.is(kept.len() as i64))
    }

    /// How many indices are kept of each part of an axis, given the sizes of the parts. A part without indices has no
    /// segment, every other one has one.
    pub fn part_sizes<const N: usize>(&self, axis: &Axis, sizes: [&Dim; N]) -> [Dim; N] {
        let mut segments = axis.iter();
        sizes.map(|size| match size.is(0) {
            true => 0.into(),
            false => segments.next().map_or_else(|| size.clone(), |segment| self.segment_size(segment)),
        })
    }

    /// Kept over all combinations of indices that are averaged over.
    pub fn averaged_share(&self) -> Scale {
        let subsets = self.map.atoms.iter().zip(self.atoms).filter(|(atom, _)| atom.role == Role::Averaged);
        let whole = Scale { times: 1.0, over: 1.0, into: None };
        subsets.filter_map(|(_, subset)| subset.as_ref()).fold(whole, |share, subset| Scale {
            times: share.times * subset.indices.len() as f64,
            over: share.over * subset.of as f64,
            into: None,
        })
    }

    /// What a pick's indices become: the kept ones, renumbered among the kept indices of the atom.
    pub fn picked(&self, atom: AtomId, indices: &[usize]) -> Vec<usize> {
        match self.atom(atom) {
            Some(kept) => indices.iter().filter_map(|i| kept.binary_search(i).ok()).collect(),
            None => indices.to_vec(),
        }
    }
}

impl Shrunk {
    /// The same op with other attributes.
    pub fn op(op: impl Op) -> Shrunk {
        Shrunk { op: Some(Box::new(op)), ..Shrunk::default() }
    }

    /// Another op in this one's place.
    pub fn instead(op: impl Op, inputs: Vec<ShrunkInput>) -> Shrunk {
        Shrunk { op: Some(Box::new(op)), inputs: Some(inputs), ..Shrunk::default() }
    }

    /// A one-dimensional control input that must hold these integers, possibly symbolic. Its element type stays.
    pub fn control(mut self, input: usize, old: Option<&Fact>, ints: Vec<Dim>) -> Shrunk {
        let fact = Fact::of(old.and_then(|f| f.element_type), vec![ints.len().into()])
            .with_content(Some(ints.into()));
        self.controls.push((input, fact));
        self
    }

    /// Any other content of this input that gives output 0 the right shape will do as well.
    pub fn target(mut self, input: usize, infers: bool) -> Shrunk {
        self.target = Some(Target { input, infers });
        self
    }

    /// Output 0 must be multiplied by `scale`.
    pub fn scaled(mut self, scale: Scale) -> Shrunk {
        self.output_scale = (scale.times != scale.over).then_some(scale);
        self
    }
}
