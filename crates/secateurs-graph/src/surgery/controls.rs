//! Sizes, positions and numbers computed from sizes: what a node reads must be right after surgery, whether the file holds
//! it or computes it.

use secateurs_onnx::{ElementType, Tensor};

use super::constants::{floats, ints};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::{Content, Fact};
use crate::graph::{Graph, Use};
use crate::op::{Op, OpError};
use crate::ops;
use crate::patch::Patch;
use crate::shrink::Target;

/// Whether a value that would hold `got` serves a node that needs `wanted`.
pub(super) fn serves(got: &Fact, wanted: &Fact) -> bool {
    got.shape == wanted.shape && got.content == wanted.content
}

/// The constant that holds a fact's content, if all of it is known.
pub(super) fn constant(fact: &Fact) -> Option<Result<Tensor, GraphError>> {
    let shape: Vec<usize> = fact.known_shape()?.into_iter().map(|n| n as usize).collect();
    match &fact.content {
        Some(Content::Floats(values)) => {
            Some(floats(fact.element_type.unwrap_or(ElementType::Float32), shape, values))
        }
        _ => Some(ints(fact.element_type.unwrap_or(ElementType::Int64), shape, &fact.known_ints()?)),
    }
}

/// Corrects computed sizes on an edge to `wanted`, element by element: `got · numerator / denominator`. In the target of an
/// op that infers what is left, an entry for which there is no factor becomes −1. Returns what the node then reads.
pub(super) fn correct(
    graph: &Graph,
    patch: &mut Patch,
    at: Use,
    got: &Fact,
    wanted: &[Dim],
    target: Option<Target>,
) -> Result<Fact, GraphError> {
    let fail = || {
        let text = format!("the sizes {got:?} that it reads cannot be corrected to {wanted:?}");
        graph.node_error(at.node, OpError::Unsupported(text))
    };
    let Some(from) = got.ints().filter(|from| from.len() <= wanted.len()) else { return Err(fail()) };
    let wanted = &wanted[wanted.len() - from.len()..];
    let mut steps = Steps { numerators: Vec::new(), denominators: Vec::new(), offsets: Vec::new() };
    let mut inferred = from.iter().any(|d| d.is(-1));
    let mut read = Vec::with_capacity(from.len());
    for (a, b) in from.iter().zip(wanted) {
        // 1 leaves the size to the other operand, 0 and −1 to the input.
        let left = target.is_some() && a.known().is_some_and(|n| n <= 1);
        match if left { Some((1, 1)) } else { ratio(a, b) } {
            Some((p, q)) => {
                steps.push(p, q, 0);
                read.push(if left { a.clone() } else { b.clone() });
            }
            None if target.is_some_and(|t| t.infers) && !inferred => {
                inferred = true;
                steps.push(0, 1, -1);
                read.push((-1).into());
            }
            None => return Err(fail()),
        }
    }
    let element_type = got.element_type.unwrap_or(ElementType::Int64);
    let shape: Vec<usize> = got.known_shape().unwrap_or_default().into_iter().map(|n| n as usize).collect();
    let name = &graph.nodes[at.node].name;
    let steps: [(_, Box<dyn Op>, _, _); 3] = [
        ("kept", Box::new(ops::Mul), steps.numerators, 1),
        ("of", Box::new(ops::Div), steps.denominators, 1),
        ("inferred", Box::new(ops::Add), steps.offsets, 0),
    ];
    for (suffix, op, values, neutral) in steps {
        if values.iter().any(|n| *n != neutral) {
            let name = format!("{name}_size_{suffix}");
            let constant = ints(element_type, shape.clone(), &values)?;
            patch.insert_before(at, name.clone(), op, vec![(format!("{name}_value"), constant)]);
        }
    }
    Ok(Fact { content: None, ..got.clone() }.with_content(Some(read.into())))
}

/// What is done to each element, in this order.
struct Steps {
    numerators: Vec<i64>,
    denominators: Vec<i64>,
    offsets: Vec<i64>,
}

impl Steps {
    fn push(&mut self, numerator: i64, denominator: i64, offset: i64) {
        self.numerators.push(numerator);
        self.denominators.push(denominator);
        self.offsets.push(offset);
    }
}

/// `b / a` as a fraction in lowest terms, if it is a number.
fn ratio(a: &Dim, b: &Dim) -> Option<(i64, i64)> {
    if a == b {
        return Some((1, 1));
    }
    let (p, q) = match (a.known(), b.known()) {
        (Some(a), Some(b)) => (b, a),
        _ => (b.content(), a.content()),
    };
    let divisor = gcd(p, q);
    let (p, q) = (p.checked_div(divisor)?, q.checked_div(divisor)?);
    (q != 0 && a.clone() * p.into() == b.clone() * q.into()).then_some((p, q))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs().max(1) } else { gcd(b, a % b) }
}
