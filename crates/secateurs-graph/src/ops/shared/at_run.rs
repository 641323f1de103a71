//! Evaluation by the same rules as inference: the inputs of a run as facts.

use secateurs_torch::tch::{Device, Kind, Tensor};

use crate::dim::Dim;
use crate::fact::{Content, Fact};
use crate::op::{Args, Inputs, OpError};

/// Calls `f` with what inference would be given if it knew the shapes of this run and the contents of the inputs
/// `control`.
pub(in crate::ops) fn at_run<T>(
    args: &Args,
    control: &[usize],
    f: impl FnOnce(&Inputs) -> Result<T, OpError>,
) -> Result<T, OpError> {
    let mut facts = Vec::with_capacity(args.tensors.len());
    for (i, tensor) in args.tensors.iter().enumerate() {
        let Some(tensor) = tensor else {
            facts.push(None);
            continue;
        };
        let given = args.inputs.get(i);
        let shape = tensor.size().into_iter().map(Dim::from).collect();
        let known = given.and_then(|f| f.content.clone()).filter(Content::is_known);
        let content = match known {
            None if control.contains(&i) => Some(match tensor.f_kind()? {
                Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => Content::from(args.floats(i)?),
                _ => Content::Ints(args.ints(i)?.into_iter().map(Dim::from).collect()),
            }),
            known => known,
        };
        facts.push(Some(Fact::of(given.and_then(|f| f.element_type), shape).with_content(content)));
    }
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    f(&Inputs { facts: &facts, ..args.inputs })
}

/// Numbers that must be known by now.
pub(in crate::ops) fn known(dims: &[Dim]) -> Result<Vec<i64>, OpError> {
    dims.iter().map(Dim::known).collect::<Option<_>>().ok_or(OpError::Undetermined)
}

/// A list of indices on a device.
pub(in crate::ops) fn index_tensor(indices: &[i64], device: Device) -> Result<Tensor, OpError> {
    Ok(Tensor::f_from_slice(indices)?.f_to_device(device)?)
}

/// Indices counted from either end, in `0..size`; libtorch refuses what is out of range.
pub(in crate::ops) fn wrapped(indices: &Tensor, size: i64) -> Result<Tensor, OpError> {
    let indices = indices.f_to_kind(Kind::Int64)?;
    Ok(indices.f_add_scalar(size)?.f_where_self(&indices.f_lt(0i64)?, &indices)?)
}

/// Fails unless all indices are in `0..size`, for kernels that would not notice.
pub(in crate::ops) fn check_range(indices: &Tensor, size: i64) -> Result<(), OpError> {
    let outside = indices.f_lt(0i64)?.f_logical_or(&indices.f_ge(size)?)?.f_any()?;
    match outside.f_int64_value(&[])? {
        0 => Ok(()),
        _ => Err(OpError::Invalid(format!("an index is out of range for an axis of {size}"))),
    }
}
