//! Einstein's notation: shapes, axis maps and costs of ops that multiply and sum over named axes, as `MatMul`
//! (`...mk,...kn->...mn`), `Gemm` and `Einsum`.

use std::collections::BTreeMap;
use std::fmt;

use crate::axes::{Axis, AxisMap, Role, unit_axis};
use crate::dim::Dim;
use crate::fact::Shape;
use crate::op::{Initial, Inputs, OpError, broadcast};

/// An equation such as `...ij,jk->...ik`.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Equation {
    pub inputs: Vec<Term>,
    pub output: Term,
}

type Term = Vec<Subscript>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::ops) enum Subscript {
    Ellipsis,
    Letter(char),
}

/// The name of one axis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Letter(char),
    /// An axis under the ellipsis, counted from its right end, where broadcasting aligns.
    Ellipsis(usize),
}

/// An equation for operands of known rank: every axis has its label.
pub(in crate::ops) struct Labelled {
    inputs: Vec<Vec<Label>>,
    output: Vec<Label>,
}

impl Equation {
    pub fn parse(text: &str) -> Result<Equation, OpError> {
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text, None),
        };
        let inputs = left.split(',').map(parse_term).collect::<Result<Vec<_>, _>>()?;
        let output = match right {
            Some(right) => parse_term(right)?,
            None => implicit_output(&inputs),
        };
        for (i, subscript) in output.iter().enumerate() {
            if output[..i].contains(subscript) {
                return Err(OpError::Invalid(format!("the output repeats '{subscript}' in '{text}'")));
            }
            if !inputs.iter().any(|term| term.contains(subscript)) {
                return Err(OpError::Invalid(format!("no input has the output's '{subscript}' in '{text}'")));
            }
        }
        let ellipsis = inputs.iter().any(|term| term.contains(&Subscript::Ellipsis));
        if ellipsis && !output.contains(&Subscript::Ellipsis) {
            return Err(OpError::Invalid(format!("the output lacks the inputs' '...' in '{text}'")));
        }
        Ok(Equation { inputs, output })
    }

    /// Names every axis of operands of these ranks.
    pub fn label(&self, ranks: &[usize]) -> Result<Labelled, OpError> {
        if ranks.len() != self.inputs.len() {
            let text = format!("'{self}' has {} operands and the node {}", self.inputs.len(), ranks.len());
            return Err(OpError::Invalid(text));
        }
        let mut widest = 0;
        let mut inputs = Vec::with_capacity(ranks.len());
        for (term, &rank) in self.inputs.iter().zip(ranks) {
            let letters = term.iter().filter(|s| **s != Subscript::Ellipsis).count();
            let width = rank.checked_sub(letters).filter(|&w| w == 0 || letters < term.len());
            let width = width.ok_or_else(|| {
                OpError::Invalid(format!("an operand of '{self}' has {rank} axes and {letters} letters"))
            })?;
            widest = widest.max(width);
            inputs.push(labels(term, width));
        }
        Ok(Labelled { inputs, output: labels(&self.output, widest) })
    }
}

fn parse_term(text: &str) -> Result<Term, OpError> {
    let mut term = Term::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let (subscript, length) = match first {
            ' ' => {
                rest = &rest[1..];
                continue;
            }
            'a'..='z' | 'A'..='Z' => (Subscript::Letter(first), 1),
            '.' if rest.starts_with("...") && !term.contains(&Subscript::Ellipsis) => {
                (Subscript::Ellipsis, 3)
            }
            _ => {
                return Err(OpError::Invalid(format!(
                    "'{text}' in the equation is not letters and one '...'"
                )));
            }
        };
        term.push(subscript);
        rest = &rest[length..];
    }
    Ok(term)
}

/// The ellipsis, then the letters that occur once, in alphabetical order.
fn implicit_output(inputs: &[Term]) -> Term {
    let mut counts = BTreeMap::<Subscript, usize>::new();
    for subscript in inputs.iter().flatten() {
        *counts.entry(*subscript).or_default() += 1;
    }
    counts.into_iter().filter(|(s, n)| *n == 1 || *s == Subscript::Ellipsis).map(|(s, _)| s).collect()
}

fn labels(term: &[Subscript], width: usize) -> Vec<Label> {
    let expand = |subscript: &Subscript| match *subscript {
        Subscript::Letter(letter) => vec![Label::Letter(letter)],
        Subscript::Ellipsis => (0..width).rev().map(Label::Ellipsis).collect(),
    };
    term.iter().flat_map(expand).collect()
}

impl Labelled {
    /// The size of every label.
    fn sizes(&self, shapes: &[&[Dim]]) -> Result<BTreeMap<Label, Dim>, OpError> {
        let mut sizes = BTreeMap::<Label, Dim>::new();
        for (label, dim) in
            self.inputs.iter().zip(shapes).flat_map(|(labels, shape)| labels.iter().zip(*shape))
        {
            let size = match sizes.get(label) {
                None => dim.clone(),
                Some(size) => broadcast(&[std::slice::from_ref(size), std::slice::from_ref(dim)])?.remove(0),
            };
            sizes.insert(*label, size);
        }
        Ok(sizes)
    }

    pub fn output_shape(&self, shapes: &[&[Dim]]) -> Result<Shape, OpError> {
        let sizes = self.sizes(shapes)?;
        Ok(self.output.iter().filter_map(|label| sizes.get(label).cloned()).collect())
    }

    /// Labels of the output are free, the others summed over; a diagonal is blocked.
    pub fn axes(&self, inputs: &Inputs) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Some(shapes) = shapes(inputs, self.inputs.len()) else { return map };
        let Ok(sizes) = self.sizes(&shapes) else { return map };
        let axes: BTreeMap<Label, Axis> =
            sizes.iter().map(|(label, size)| (*label, map.axis(size, self.role(*label)))).collect();
        for (i, (labels, shape)) in self.inputs.iter().zip(shapes).enumerate() {
            let axis =
                |(label, dim): (&Label, &Dim)| if dim.is(1) { unit_axis() } else { axes[label].clone() };
            map.inputs[i] = Some(labels.iter().zip(shape).map(axis).collect());
        }
        map.outputs[0] = Some(self.output.iter().map(|label| axes[label].clone()).collect());
        map
    }

    /// A weight of a linear layer is drawn by He's rule for the forward pass, whose fan is the number of inputs that an output sums
    /// over. What sums nothing up, as an outer product of frequencies and positions, has no weight.
    pub fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let (Some(labels), Ok(shape)) = (self.inputs.get(input), inputs.shape(input)) else {
            return Initial::Keep;
        };
        let summed = labels.iter().zip(shape).filter(|(label, _)| !self.output.contains(label));
        let fan = summed.fold(Dim::from(1), |fan, (_, size)| fan * size.clone());
        if fan.is(1) { Initial::Keep } else { Initial::he(&fan) }
    }

    fn role(&self, label: Label) -> Role {
        if self.inputs.iter().any(|labels| labels.iter().filter(|l| **l == label).count() > 1) {
            Role::Blocked("a diagonal")
        } else if self.output.contains(&label) {
            Role::Free
        } else {
            Role::Summed
        }
    }

    /// One multiply–accumulate for every combination of indices; none for a single operand.
    pub fn macs(&self, inputs: &Inputs) -> Dim {
        if self.inputs.len() < 2 {
            return Dim::from(0);
        }
        match shapes(inputs, self.inputs.len()).map(|shapes| self.sizes(&shapes)) {
            Some(Ok(sizes)) => sizes.into_values().fold(Dim::from(1), |product, size| product * size),
            _ => Dim::unknown(),
        }
    }
}

fn shapes<'a>(inputs: &Inputs<'a>, count: usize) -> Option<Vec<&'a [Dim]>> {
    (0..count).map(|i| inputs.shape(i).ok()).collect()
}

impl fmt::Display for Subscript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subscript::Ellipsis => f.write_str("..."),
            Subscript::Letter(letter) => write!(f, "{letter}"),
        }
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.inputs.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            term.iter().try_for_each(|s| s.fmt(f))?;
        }
        f.write_str("->")?;
        self.output.iter().try_for_each(|s| s.fmt(f))
    }
}
