//! Sizes, positions and numbers computed from sizes: what a node reads must be right after surgery, whether the file holds
//! it or computes it.

use secateurs_onnx::{ElementType, Tensor};

use super::constants::{floats, ints};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::{Content, Fact};
use crate::graph::{Graph, Use};
use crate::op::OpError;
use crate::ops;
use crate::patch::Patch;

/// Whether a value that would hold `got` serves a node that needs `wanted`.
pub(super) fn serves(got: &Fact, wanted: &Fact) -> bool {
    got.shape == wanted.shape && got.content == wanted.content
}

/// The constant that holds a fact's content, if all of it is known.
pub(super) fn constant(fact: &Fact) -> Option<Result<Tensor, GraphError>> {
    let shape: Vec<usize> = fact.known_shape()?.into_iter().map(|n| n as usize).collect();
    match &fact.content {
        Some(Content::Floats(values)) => Some(floats(fact.element_type.unwrap_or(ElementType::Float32), shape, values)),
        _ => Some(ints(fact.element_type.unwrap_or(ElementType::Int64), shape, &fact.known_ints()?)),
    }
}

/// Corrects computed sizes on an edge by factors: `got · numerator / denominator`, element by element.
pub(super) fn correct(
    graph: &Graph,
    patch: &mut Patch,
    at: Use,
    got: &Fact,
    wanted: &Fact,
) -> Result<(), GraphError> {
    let fail = || {
        let text = format!("the sizes {got:?} that it reads cannot be corrected to {wanted:?}");
        graph.node_error(at.node, OpError::Unsupported(text))
    };
    let (Some(from), Some(to)) = (got.ints(), wanted.ints()) else { return Err(fail()) };
    if from.len() != to.len() {
        return Err(fail());
    }
    let factors: Option<Vec<(i64, i64)>> = from.iter().zip(to).map(|(a, b)| ratio(a, b)).collect();
    let (numerators, denominators): (Vec<i64>, Vec<i64>) = factors.ok_or_else(fail)?.into_iter().unzip();
    let shape: Vec<usize> = wanted.known_shape().unwrap_or_default().into_iter().map(|n| n as usize).collect();
    let element_type = wanted.element_type.unwrap_or(ElementType::Int64);
    let name = graph.nodes[at.node].name.clone();
    let steps: [(&str, Box<dyn crate::op::Op>, Vec<i64>); 2] =
        [("kept", Box::new(ops::Mul), numerators), ("of", Box::new(ops::Div), denominators)];
    for (suffix, op, values) in steps {
        if values.iter().any(|n| *n != 1) {
            let name = format!("{name}_size_{suffix}");
            let constant = ints(element_type, shape.clone(), &values)?;
            patch.insert_before(at, name.clone(), op, vec![(format!("{name}_value"), constant)]);
        }
    }
    Ok(())
}

/// `b / a` as a fraction in lowest terms, if it is a number.
fn ratio(a: &Dim, b: &Dim) -> Option<(i64, i64)> {
    if a == b {
        return Some((1, 1));
    }
    // Sizes differ by the same factor at any two sets of sizes if they do at all; the polynomials decide.
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
