//! Known contents of elementwise ops: shapes are computed with them.

use std::cmp::Ordering;

use super::elementwise::{binary_content, binary_infer, broadcast_index};
use crate::dim::{Dim, element_count};
use crate::fact::{Content, Fact, MAX_CONTENT, Shape};
use crate::op::{Inputs, OpError, broadcast};

/// A truth value as contents hold it.
pub(in crate::ops) fn truth(holds: bool) -> Dim {
    Dim::from(i64::from(holds))
}

/// Whether it is at least 1 for all values of its symbols, as far as can be told.
pub(in crate::ops) fn is_positive(dim: &Dim) -> bool {
    dim.lower_bound().is_some_and(|n| n >= 1)
}

/// How two integers compare, where that is the same for all values of their symbols.
fn compare(a: &Dim, b: &Dim) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (a.known(), b.known()) {
        return Some(a.cmp(&b));
    }
    let difference = a.clone() - b.clone();
    if difference.is(0) {
        Some(Ordering::Equal)
    } else if is_positive(&difference) {
        Some(Ordering::Greater)
    } else if is_positive(&-difference) {
        Some(Ordering::Less)
    } else {
        None
    }
}

/// Whether `a` and `b` are in this order.
pub(in crate::ops) fn ordered(a: &Dim, b: &Dim, holds: fn(Ordering) -> bool) -> Option<Dim> {
    compare(a, b).map(|ordering| truth(holds(ordering)))
}

/// A function of two integers without symbols.
pub(in crate::ops) fn known(a: &Dim, b: &Dim, map: impl Fn(i64, i64) -> Option<i64>) -> Option<Dim> {
    map(a.known()?, b.known()?).map(Dim::from)
}

/// The first input alone: the others hold control values.
pub(in crate::ops) fn first_only<'a>(inputs: &Inputs<'a>) -> Vec<Option<&'a Fact>> {
    inputs.facts.iter().enumerate().map(|(i, fact)| fact.filter(|_| i == 0)).collect()
}

/// The common shape of the inputs that are there; `None` where one is unknown.
pub(in crate::ops) fn broadcast_inputs(inputs: &Inputs) -> Result<Option<Shape>, OpError> {
    let shapes: Option<Vec<&[Dim]>> = inputs.facts.iter().flatten().map(|f| f.shape.as_deref()).collect();
    shapes.map(|shapes| broadcast(&shapes)).transpose()
}

/// The contents of `from` broadcast to a shape.
pub(in crate::ops) fn broadcast_content(from: &Fact, shape: &[Dim]) -> Option<Content> {
    let content = from.content.as_ref()?;
    element_count(shape).known().filter(|&n| n <= MAX_CONTENT as i64)?;
    let to: Vec<i64> = shape.iter().map(Dim::known).collect::<Option<_>>()?;
    let indices = broadcast_index(&from.known_shape()?, &to);
    indices.iter().all(|&i| i < content.len()).then(|| content.pick(indices.into_iter()))
}

/// The output of an op that combines any number of inputs in order, two at a time.
pub(in crate::ops) fn variadic_infer(
    inputs: &Inputs,
    ints: fn(&Dim, &Dim) -> Option<Dim>,
    floats: fn(&f64, &f64) -> Option<f64>,
) -> Result<Fact, OpError> {
    let mut total = inputs.fact(0)?.clone();
    for i in 1..inputs.len() {
        let pair = [Some(&total), Some(inputs.fact(i)?)];
        let pair = Inputs::new(&pair, 1);
        let fact = binary_infer(&pair)?;
        let content = binary_content(&pair, &fact, Fact::ints, ints);
        let content = content.or_else(|| binary_content(&pair, &fact, Fact::floats, floats));
        total = fact.with_content(content);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_decided_only_where_every_size_agrees() {
        let (n, m) = (Dim::symbol("n"), Dim::symbol("m"));
        assert_eq!(compare(&n, &n), Some(Ordering::Equal));
        assert_eq!(compare(&n, &(n.clone() + 1.into())), Some(Ordering::Less));
        assert_eq!(compare(&n, &(-1).into()), Some(Ordering::Greater));
        assert_eq!(compare(&0.into(), &(n.clone() * m.clone())), Some(Ordering::Less));
        assert_eq!(compare(&n, &1.into()), None);
        assert_eq!(compare(&n, &m), None);
        assert_eq!(compare(&Dim::unknown(), &0.into()), None);
        assert_eq!(compare(&i64::MIN.into(), &i64::MAX.into()), Some(Ordering::Less));
    }

    #[test]
    fn the_target_shape_that_exporters_compute_for_expand_is_known_for_a_dynamic_batch() {
        use crate::op::Op;
        use crate::ops::{Equal, Where};
        use secateurs_onnx::ElementType;
        let list = |dims: Vec<Dim>| {
            Fact::new(ElementType::Int64, vec![dims.len().into()]).with_content(Some(dims.into()))
        };
        let infer = |op: &dyn Op, facts: &[&Fact]| {
            let facts: Vec<Option<&Fact>> = facts.iter().map(|f| Some(*f)).collect();
            op.infer(&Inputs::new(&facts, 1)).unwrap().remove(0)
        };
        let (target, from) = (list(vec![Dim::symbol("n"), (-1).into()]), list(vec![1.into(), 64.into()]));
        let keeps = infer(&Equal, &[&target, &list(vec![(-1).into()])]);
        let shape = infer(&Where, &[&keeps, &from, &target]);
        assert_eq!(shape.ints(), Some(&[Dim::symbol("n"), 64.into()][..]));
    }
}
