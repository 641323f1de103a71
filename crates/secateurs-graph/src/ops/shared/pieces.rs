//! Axes that lose, gain or reorder indices: what Slice, Gather, Split and Pad have in common.

use super::content::wrap;
use crate::axes::{Axis, AxisMap, Role, Segment, product};
use crate::dim::Dim;
use crate::fact::Fact;
use crate::op::OpError;
use crate::shrink::{Kept, Shrunk};

/// A part of an axis; nothing where it has no index. What is dropped or made can go even where it is a single index.
pub(in crate::ops) fn part(map: &mut AxisMap, size: &Dim, role: Role) -> Axis {
    match role {
        _ if size.is(0) => Vec::new(),
        Role::Dropped | Role::Made => product([map.atom(size.clone(), role)]),
        _ => map.axis(size, role),
    }
}

/// An axis before and after all but `len` indices from `start` are dropped.
pub(in crate::ops) fn cut(map: &mut AxisMap, size: &Dim, start: &Dim, len: &Dim) -> (Axis, Axis) {
    let rest = size.clone() - start.clone() - len.clone();
    let first = part(map, start, Role::Dropped);
    let kept = part(map, len, Role::Free);
    let last = part(map, &rest, Role::Dropped);
    ([first, kept.clone(), last].concat(), kept)
}

/// An axis before and after indices are added at both ends, or dropped where the number is negative. Blocked where the
/// sign is not known.
pub(in crate::ops) fn pad(map: &mut AxisMap, size: &Dim, before: &Dim, after: &Dim) -> (Axis, Axis) {
    let zero = Dim::from(0);
    let dropped = |n: &Dim| if n.is_at_least(&zero) { zero.clone() } else { -n.clone() };
    let (first, last) = (dropped(before), dropped(after));
    if !first.is_at_least(&zero) || !last.is_at_least(&zero) {
        return blocked(
            map,
            size,
            &(size.clone() + before.clone() + after.clone()),
            "padding of unknown sign",
        );
    }
    let len = size.clone() - first.clone() - last.clone();
    let (input, kept) = cut(map, size, &first, &len);
    let mut made = |pad: &Dim, dropped: Dim| part(map, &(pad.clone() + dropped), Role::Made);
    let (start, end) = (made(before, first), made(after, last));
    (input, [start, kept, end].concat())
}

/// What an axis of [`pad`] is padded by when indices of it go.
pub(in crate::ops) fn kept_pads(
    kept: &Kept,
    input: &Axis,
    output: &Axis,
    size: &Dim,
    (before, after): &(Dim, Dim),
) -> (Dim, Dim) {
    let zero = Dim::from(0);
    let dropped = |n: &Dim| if n.is_at_least(&zero) { zero.clone() } else { -n.clone() };
    let (first, last) = (dropped(before), dropped(after));
    let len = size.clone() - first.clone() - last.clone();
    let made = |n: &Dim, dropped: &Dim| n.clone() + dropped.clone();
    let [dropped_first, _, dropped_last] = kept.part_sizes(input, [&first, &len, &last]);
    let [start, _, end] = kept.part_sizes(output, [&made(before, &first), &len, &made(after, &last)]);
    (start - dropped_first, end - dropped_last)
}

/// An axis before and after only `indices` are kept, in this order and possibly repeated.
pub(in crate::ops) fn picked(map: &mut AxisMap, size: &Dim, indices: &[usize]) -> (Axis, Axis) {
    let start = indices.first().copied().unwrap_or(0);
    if indices.iter().copied().eq(start..start + indices.len()) {
        return cut(map, size, &start.into(), &indices.len().into());
    }
    let atom = map.atom(size.clone(), Role::Free);
    (vec![Segment::Product(vec![atom])], vec![Segment::Pick { atom, indices: indices.into() }])
}

/// Indices that are constant and lie along one axis at most.
pub(in crate::ops) fn constant_list(indices: &Fact, size: &Dim) -> Option<Vec<usize>> {
    let long = indices.shape.as_ref()?.iter().filter(|d| !d.is(1)).count();
    if long > 1 {
        return None;
    }
    let size = usize::try_from(size.known()?).ok()?;
    indices.known_ints()?.into_iter().map(|i| wrap(i, size)).collect()
}

/// An axis before and after only a [`constant_list`] of it is kept.
pub(in crate::ops) fn listed(map: &mut AxisMap, size: &Dim, list: &[usize]) -> (Axis, Axis) {
    match list[..] {
        [one] => cut(map, size, &one.into(), &1.into()),
        _ => picked(map, size, list),
    }
}

/// What becomes of the [`constant_list`] in input 1 when indices of this axis of input 0 go.
pub(in crate::ops) fn kept_list(kept: &Kept, axis: usize) -> Result<Shrunk, OpError> {
    let (from, index) = (kept.inputs.shape(0)?, kept.inputs.fact(1)?);
    let (Some(list), Some(at)) = (constant_list(index, &from[axis]), &index.shape) else {
        return Ok(Shrunk::default());
    };
    let Some(own) = kept.map.inputs[0].as_ref().map(|axes| &axes[axis]) else { return Ok(Shrunk::default()) };
    if kept.is_whole(own) {
        return Ok(Shrunk { controls: vec![(1, index.clone())], ..Shrunk::default() });
    }
    let left = kept.axis_indices(own).ok_or(OpError::Undetermined)?;
    let list: Vec<Dim> = list.iter().filter_map(|i| left.binary_search(i).ok()).map(Dim::from).collect();
    let shape = at.iter().map(|d| if d.is(1) { 1.into() } else { list.len().into() }).collect();
    let fact = Fact::of(index.element_type, shape).with_content(Some(list.into()));
    Ok(Shrunk { controls: vec![(1, fact)], ..Shrunk::default() })
}

/// Unrelated blocked axes before and after.
pub(in crate::ops) fn blocked(
    map: &mut AxisMap,
    before: &Dim,
    after: &Dim,
    reason: &'static str,
) -> (Axis, Axis) {
    (map.axis(before, Role::Blocked(reason)), map.axis(after, Role::Blocked(reason)))
}
