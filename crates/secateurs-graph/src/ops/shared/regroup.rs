//! Axis maps of ops that keep the elements in row-major order and only regroup the axes: Reshape, Flatten, Squeeze,
//! Unsqueeze.

use crate::axes::{AtomId, Axis, AxisMap, Role, Segment};
use crate::dim::Dim;
use crate::fact::Fact;

/// Maps the axes of input 0 to those of output 0 by common factors, outermost first: `[n, 12, 64] → [n, 768]` gives
/// `n a b → n (a b)`. Where neither of two sizes divides the other, the rest is mapped innermost first, which is as exact, as both
/// sides have equally many elements. What is left between is blocked.
pub(in crate::ops) fn regroup(inputs: usize, from: &Fact, to: &Fact) -> AxisMap {
    let mut map = AxisMap::new(inputs, 1);
    let (Some(from), Some(to)) = (&from.shape, &to.shape) else { return map };
    let (mut source, mut target) = (Side::new(from), Side::new(to));
    for end in [End::Outer, End::Inner] {
        while let (Some(i), Some(j)) = (source.next(end), target.next(end)) {
            let (a, b) = (&source.left[i], &target.left[j]);
            let common = if divide(b, a).is_some() { a.clone() } else { b.clone() };
            let (Some(a), Some(b)) = (divide(a, &common), divide(b, &common)) else { break };
            let atom = map.atom(common, Role::Free);
            source.take(end, i, atom, a);
            target.take(end, j, atom, b);
        }
    }
    map.inputs[0] = Some(source.axes(&mut map));
    map.outputs[0] = Some(target.axes(&mut map));
    map
}

#[derive(Clone, Copy)]
enum End {
    Outer,
    Inner,
}

/// The axes of one value: what has been taken from the ends of each, and the size of what is left.
struct Side {
    outer: Vec<Vec<AtomId>>,
    left: Vec<Dim>,
    /// Innermost first.
    inner: Vec<Vec<AtomId>>,
}

impl Side {
    fn new(shape: &[Dim]) -> Side {
        let none = vec![Vec::new(); shape.len()];
        Side { outer: none.clone(), left: shape.to_vec(), inner: none }
    }

    /// The axis nearest to an end of which anything is left.
    fn next(&self, end: End) -> Option<usize> {
        let open = |size: &Dim| !size.is(1);
        match end {
            End::Outer => self.left.iter().position(open),
            End::Inner => self.left.iter().rposition(open),
        }
    }

    fn take(&mut self, end: End, axis: usize, atom: AtomId, left: Dim) {
        match end {
            End::Outer => self.outer[axis].push(atom),
            End::Inner => self.inner[axis].push(atom),
        }
        self.left[axis] = left;
    }

    fn axes(self, map: &mut AxisMap) -> Vec<Axis> {
        let parts = self.outer.into_iter().zip(self.left).zip(self.inner);
        let axis = |((mut atoms, left), inner): ((Vec<AtomId>, Dim), Vec<AtomId>)| {
            if !left.is(1) {
                atoms.push(map.atom(left, Role::Blocked("a reshape whose sizes have no common factor")));
            }
            atoms.extend(inner.into_iter().rev());
            vec![Segment::Product(atoms)]
        };
        parts.map(axis).collect()
    }
}

fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (Some(0), _) | (_, Some(0)) => None,
        (Some(a), Some(b)) => (a % b == 0).then(|| Dim::from(a / b)),
        _ if a == b => Some(Dim::from(1)),
        _ => a.divide_exactly(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateurs_onnx::ElementType;

    fn map(from: &[Dim], to: &[Dim]) -> AxisMap {
        let fact = |shape: &[Dim]| Fact::new(ElementType::Float32, shape.to_vec());
        regroup(2, &fact(from), &fact(to))
    }

    /// Every axis as its factors; blocked ones in brackets.
    fn text(map: &AxisMap, axes: &Option<Vec<Axis>>) -> Vec<String> {
        let atom = |id: &AtomId| {
            let atom = &map.atoms[id.0];
            let blocked = matches!(atom.role, Role::Blocked(_));
            if blocked { format!("[{}]", atom.size) } else { format!("{}", atom.size) }
        };
        let axis = |axis: &Axis| {
            let atoms: Vec<String> = axis.iter().flat_map(Segment::atoms).map(atom).collect();
            atoms.join(" ")
        };
        axes.iter().flatten().map(axis).collect()
    }

    #[test]
    fn behind_sizes_of_no_common_factor_axes_are_mapped_from_the_last() {
        let [p, q, s] = ["p", "q", "s"].map(Dim::symbol);
        let merged = map(&[p, s.clone(), 12.into(), 64.into()], &[q, s, 768.into()]);
        assert_eq!(text(&merged, &merged.inputs[0]), ["[p]", "s", "12", "64"]);
        assert_eq!(text(&merged, &merged.outputs[0]), ["[q]", "s", "12 64"]);
        let atoms =
            |axes: &[Axis]| axes.iter().flatten().flat_map(Segment::atoms).copied().collect::<Vec<_>>();
        let (from, to) = (merged.inputs[0].as_deref().unwrap(), merged.outputs[0].as_deref().unwrap());
        assert_eq!(atoms(&from[1..]), atoms(&to[1..]));

        let windows = map(
            &[Dim::symbol("b"), Dim::symbol("h"), 14.into(), 96.into()],
            &[
                Dim::symbol("b"),
                Dim::symbol("h").floor_div(&7.into()),
                7.into(),
                2.into(),
                7.into(),
                96.into(),
            ],
        );
        assert_eq!(text(&windows, &windows.inputs[0]), ["b", "[h]", "2 7", "96"]);
        assert_eq!(text(&windows, &windows.outputs[0]), ["b", "[(h)/(7)]", "[7]", "2", "7", "96"]);
    }

    #[test]
    fn one_axis_can_be_taken_from_at_both_ends() {
        let wide = map(&[Dim::symbol("p") * 10.into()], &[2.into(), Dim::symbol("q"), 5.into()]);
        assert_eq!(text(&wide, &wide.inputs[0]), ["2 [p] 5"]);
        assert_eq!(text(&wide, &wide.outputs[0]), ["2", "[q]", "5"]);
    }
}
