//! Known contents through ops that move elements about: shapes are computed inside graphs with them.

use crate::dim::{Dim, element_count};
use crate::fact::{Content, Fact, MAX_CONTENT, Shape};
use crate::op::OpError;

/// The content of an output of shape `to`, each of whose elements is the element of `from` at the coordinates that
/// `source` fills in for the output's coordinates. `None` where something is not known or there are too many elements.
pub(in crate::ops) fn rearrange(
    from: &Fact,
    to: &[Dim],
    source: impl Fn(&[usize], &mut [usize]),
) -> Option<Content> {
    let content = from.content.as_ref()?;
    let shape = sizes(from.shape.as_deref()?)?;
    let mut at = vec![0; shape.len()];
    pick(content, to, |coordinates| {
        source(coordinates, &mut at);
        flat_index(&at, &shape)
    })
}

/// The content of an output of shape `to`, each of whose elements is the one of `content` at the flat index that
/// `source` gives for the output's coordinates.
pub(in crate::ops) fn pick(
    content: &Content,
    to: &[Dim],
    mut source: impl FnMut(&[usize]) -> Option<usize>,
) -> Option<Content> {
    let indices =
        coordinates(to)?.map(|at| source(&at).filter(|i| *i < content.len())).collect::<Option<Vec<_>>>()?;
    Some(content.pick(indices.into_iter()))
}

/// Contents one after another.
pub(in crate::ops) fn join(contents: &[&Content]) -> Option<Content> {
    let ints = contents.iter().map(|c| match c {
        Content::Ints(v) => Some(v),
        Content::Floats(_) => None,
    });
    if let Some(ints) = ints.collect::<Option<Vec<_>>>() {
        return Some(Content::Ints(ints.into_iter().flat_map(|v| v.iter().cloned()).collect()));
    }
    let floats = contents.iter().map(|c| match c {
        Content::Floats(v) => Some(v),
        Content::Ints(_) => None,
    });
    let floats = floats.collect::<Option<Vec<_>>>()?;
    Some(Content::Floats(floats.into_iter().flat_map(|v| v.iter().copied()).collect()))
}

/// `count` times the same element, if there are few enough.
pub(in crate::ops) fn repeat(shape: &[Dim], element: &Content) -> Option<Content> {
    pick(element, shape, |_| Some(0))
}

/// As many axes as libtorch works with.
pub(in crate::ops) const MAX_RANK: usize = 64;

/// A shape of which only the number of axes is known.
pub(in crate::ops) fn unknown_sizes(rank: &Dim) -> Result<Shape, OpError> {
    let rank = rank.known().ok_or(OpError::Undetermined)?;
    let axes = usize::try_from(rank).ok().filter(|n| *n <= MAX_RANK);
    let axes = axes.ok_or_else(|| OpError::Unsupported(format!("tensors of {rank} axes")))?;
    Ok((0..axes).map(|_| Dim::unknown()).collect())
}

/// The coordinates of every element of a known shape, in row-major order, unless there are too many.
pub(in crate::ops) fn coordinates(shape: &[Dim]) -> Option<impl Iterator<Item = Vec<usize>>> {
    let sizes = sizes(shape).filter(|s| s.len() <= MAX_RANK)?;
    let count = usize::try_from(element_count(shape).known()?).ok().filter(|n| *n <= MAX_CONTENT)?;
    Some((0..count).map(move |flat| {
        let mut rest = flat;
        let mut at = vec![0; sizes.len()];
        for (coordinate, size) in at.iter_mut().zip(&sizes).rev() {
            *coordinate = rest % size;
            rest /= size;
        }
        at
    }))
}

/// The position in row-major order; `None` outside the shape.
pub(in crate::ops) fn flat_index(at: &[usize], shape: &[usize]) -> Option<usize> {
    at.iter().zip(shape).try_fold(0usize, |flat, (i, size)| {
        (i < size).then_some(())?;
        flat.checked_mul(*size)?.checked_add(*i)
    })
}

/// A constant list of positions or sizes.
pub(in crate::ops) fn int_list(ints: &[i64]) -> secateurs_onnx::Tensor {
    secateurs_onnx::Tensor::from_slice(vec![ints.len()], ints)
        .expect("a list has as many elements as its shape says")
}

/// A shape as numbers.
pub(in crate::ops) fn sizes(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|d| usize::try_from(d.known()?).ok()).collect()
}

/// An index counted from either end, in `0..size`.
pub(in crate::ops) fn wrap(index: i64, size: usize) -> Option<usize> {
    let signed = i64::try_from(size).ok()?;
    let index = if index < 0 { index.checked_add(signed)? } else { index };
    usize::try_from(index).ok().filter(|i| *i < size)
}
