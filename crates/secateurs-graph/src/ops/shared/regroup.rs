//! Axis maps of ops that keep the elements in row-major order and only regroup the axes: Reshape, Flatten, Squeeze,
//! Unsqueeze.

use crate::axes::{AtomId, Axis, AxisMap, Role, Segment};
use crate::dim::Dim;
use crate::fact::Fact;

/// Maps the axes of input 0 to those of output 0 by common factors, outermost first: `[n, 12, 64] → [n, 768]` gives
/// `n a b → n (a b)`. From the first axis where neither size divides the other, axes are blocked.
pub(in crate::ops) fn regroup(inputs: usize, from: &Fact, to: &Fact) -> AxisMap {
    let mut map = AxisMap::new(inputs, 1);
    let (Some(from), Some(to)) = (&from.shape, &to.shape) else { return map };
    let mut source = vec![Vec::<AtomId>::new(); from.len()];
    let mut target = vec![Vec::<AtomId>::new(); to.len()];
    let (mut i, mut j) = (0, 0);
    let mut rest_in = from.first().cloned().unwrap_or_else(|| 1.into());
    let mut rest_out = to.first().cloned().unwrap_or_else(|| 1.into());
    while i < from.len() && j < to.len() {
        if rest_in.is(1) {
            i += 1;
            rest_in = from.get(i).cloned().unwrap_or_else(|| 1.into());
        } else if rest_out.is(1) {
            j += 1;
            rest_out = to.get(j).cloned().unwrap_or_else(|| 1.into());
        } else if let Some(quotient) = divide(&rest_out, &rest_in) {
            let atom = map.atom(rest_in, Role::Free);
            source[i].push(atom);
            target[j].push(atom);
            (rest_in, rest_out) = (1.into(), quotient);
        } else if let Some(quotient) = divide(&rest_in, &rest_out) {
            let atom = map.atom(rest_out, Role::Free);
            source[i].push(atom);
            target[j].push(atom);
            (rest_in, rest_out) = (quotient, 1.into());
        } else {
            break;
        }
    }
    let reason = "a reshape whose sizes have no common factor";
    let block = |map: &mut AxisMap, atoms: &mut [Vec<AtomId>], from: usize, rest: &Dim, shape: &[Dim]| {
        for axis in from..shape.len() {
            let size = if axis == from { rest } else { &shape[axis] };
            if !size.is(1) {
                let atom = map.atom(size.clone(), Role::Blocked(reason));
                atoms[axis].push(atom);
            }
        }
    };
    block(&mut map, &mut source, i, &rest_in, from);
    block(&mut map, &mut target, j, &rest_out, to);
    let axes = |atoms: Vec<Vec<AtomId>>| -> Vec<Axis> {
        atoms.into_iter().map(|product| vec![Segment::Product(product)]).collect()
    };
    map.inputs[0] = Some(axes(source));
    map.outputs[0] = Some(axes(target));
    map
}

fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (Some(0), _) | (_, Some(0)) => None,
        (Some(a), Some(b)) => (a % b == 0).then(|| Dim::from(a / b)),
        _ if a == b => Some(Dim::from(1)),
        _ => a.divide_exactly(b),
    }
}
