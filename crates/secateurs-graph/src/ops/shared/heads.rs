//! Attention heads packed into one axis: [b, s, (h d)] and [b, h, s, d].

use crate::axes::{AtomId, AxisMap, Role};
use crate::dim::Dim;
use crate::op::OpError;
use crate::shrink::Kept;
#[cfg(feature = "torch")]
use secateurs_torch::tch::{TchError, Tensor};

/// A number of heads, at least 1.
pub(in crate::ops) fn positive(name: &str, heads: Option<i64>) -> Result<Option<i64>, OpError> {
    match heads.filter(|n| *n < 1) {
        Some(n) => Err(OpError::Invalid(format!("{name} is {n}; it must be at least 1"))),
        None => Ok(heads),
    }
}

/// The part of `size` that each of `parts` gets; an error where it does not divide.
pub(in crate::ops) fn share(size: &Dim, parts: &Dim, what: &str) -> Result<Dim, OpError> {
    match (size.known(), parts.known()) {
        (Some(n), Some(p)) if p < 1 || n % p != 0 => {
            Err(OpError::Invalid(format!("{what}: {n} is not a multiple of {p}")))
        }
        _ => Ok(size.floor_div(parts)),
    }
}

/// A fresh atom as the factors of a product; none where there is one index only.
pub(in crate::ops) fn factor(map: &mut AxisMap, size: &Dim, role: Role) -> Vec<AtomId> {
    if size.is(1) { Vec::new() } else { vec![map.atom(size.clone(), role)] }
}

/// How many indices are kept of the factors that a map begins with, which were made in this order from these sizes.
pub(in crate::ops) fn kept_factors<const N: usize>(kept: &Kept, sizes: [&Dim; N]) -> [Dim; N] {
    let mut atoms = (0..kept.map.atoms.len()).map(AtomId);
    sizes.map(|size| match size.is(1) {
        true => 1.into(),
        false => atoms.next().map_or_else(|| size.clone(), |atom| kept.size(atom)),
    })
}

/// [b, s, (h d)] as [b, h, s, d]; what has four axes stays.
#[cfg(feature = "torch")]
pub(in crate::ops) fn split(x: &Tensor, heads: i64) -> Result<Tensor, TchError> {
    match x.size()[..] {
        [.., width] if x.dim() == 3 => x.f_unflatten(2, [heads, width / heads.max(1)])?.f_transpose(1, 2),
        _ => Ok(x.shallow_clone()),
    }
}

/// [b, h, s, d] as [b, s, (h d)].
#[cfg(feature = "torch")]
pub(in crate::ops) fn merge(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_transpose(1, 2)?.f_flatten(2, -1)
}
