//! Sizes, positions and numbers computed from sizes: what a node reads must be right after surgery, whether the file holds
//! it or computes it.

use secateurs_onnx::{ElementType, Tensor};

use super::constants::{floats, ints};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::{Content, Fact};
use crate::graph::{Graph, Use, ValueId};
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
    let mut steps = Steps::default();
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
    steps.take(&graph.nodes[at.node].name, got, |name, op, extra| {
        patch.insert_before(at, name, op, extra);
    })?;
    Ok(Fact { content: None, ..got.clone() }.with_content(Some(read.into())))
}

/// Makes a computed value that would hold `got` hold `wanted` for all that read it.
pub(super) fn restore(
    graph: &Graph,
    patch: &mut Patch,
    value: ValueId,
    got: &Fact,
    wanted: &Fact,
) -> Result<(), GraphError> {
    let name = &graph.values[value].name;
    if let Some(tensor) = constant(wanted) {
        patch.replace_producer(name.clone(), Box::new(ops::Constant::new(tensor?)), Vec::new(), vec![value]);
        return Ok(());
    }
    let sizes = got.ints().zip(wanted.ints()).filter(|(from, to)| from.len() == to.len());
    let ratios = sizes.and_then(|(from, to)| from.iter().zip(to).map(|(a, b)| ratio(a, b)).collect());
    let Some(ratios): Option<Vec<(i64, i64)>> = ratios else {
        return Err(GraphError::Inconsistent(format!(
            "'{name}' would hold {got:?}, which cannot be brought back to {wanted:?}"
        )));
    };
    let mut steps = Steps::default();
    ratios.into_iter().for_each(|(p, q)| steps.push(p, q, 0));
    steps.take(name, got, |name, op, extra| {
        patch.insert_after(value, name, op, extra);
    })
}

/// What is done to each element, in this order.
#[derive(Default)]
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

    /// Inserts the nodes that do it to what holds `got`; those that would change nothing are left out.
    fn take(
        self,
        name: &str,
        got: &Fact,
        mut insert: impl FnMut(String, Box<dyn Op>, Vec<(String, Tensor)>),
    ) -> Result<(), GraphError> {
        let element_type = got.element_type.unwrap_or(ElementType::Int64);
        let shape: Vec<usize> =
            got.known_shape().unwrap_or_default().into_iter().map(|n| n as usize).collect();
        let steps: [(_, Box<dyn Op>, _, _); 3] = [
            ("kept", Box::new(ops::Mul), self.numerators, 1),
            ("of", Box::new(ops::Div), self.denominators, 1),
            ("inferred", Box::new(ops::Add), self.offsets, 0),
        ];
        for (suffix, op, values, neutral) in steps {
            if values.iter().any(|n| *n != neutral) {
                let name = format!("{name}_size_{suffix}");
                let constant = ints(element_type, shape.clone(), &values)?;
                insert(name.clone(), op, vec![(format!("{name}_value"), constant)]);
            }
        }
        Ok(())
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
