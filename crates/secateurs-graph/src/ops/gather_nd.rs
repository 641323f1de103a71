//! `GatherND`: the slices that the rows of `indices` name. ONNX opset 11, 12, 13.
//!
//! x: [B…, n1, …, nk, D…], indices: [B…, I…, k] → y: [B…, I…, D…], with `batch_dims` axes B.

use super::shared::content::{flat_index, rearrange, sizes, wrap};
use super::shared::pieces::{constant_list, kept_list, listed};
use crate::op::prelude::*;

/// `GatherND`.
#[derive(Clone, Debug)]
pub struct GatherND {
    batch_dims: i64,
}

impl Register for GatherND {
    const NAME: &'static str = "GatherND";
    const SINCE: &'static [i64] = &[11, 12, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let batch_dims = attributes.int_or("batch_dims", 0)?;
        if batch_dims < 0 {
            return Err(OpError::Invalid(format!("batch_dims is {batch_dims}; it cannot be negative")));
        }
        Ok(GatherND { batch_dims })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let rows = |list: &[i64]| secateurs_onnx::Tensor::from_slice(vec![list.len(), 1], list).unwrap();
        let pairs = secateurs_onnx::Tensor::from_slice(vec![2, 2], &[0i64, 1, 1, -1]).unwrap();
        let numbers = secateurs_onnx::Tensor::from_slice(vec![2, 2], &[5i64, 6, 7, 8]).unwrap();
        vec![
            Case::new(11).float([2, 3, 4]).constant(pairs.clone()),
            Case::new(13).float([4, 3]).constant(rows(&[-2])),
            Case::new(13).float([4, 3]).constant(rows(&[2, 0, -1])),
            Case::new(13).float([2, 3, 4]).ints([2, 5, 1], -3..3).attr("batch_dims", 1i64),
            Case::new(13).float([2, 3, 4, 2]).ints([2, 3, 5, 1], 0..4).attr("batch_dims", 2i64),
            Case::new(13).float([2, 3]).ints([2], 0..2),
            Case::new(13).constant(numbers).constant(pairs),
        ]
    }
}

impl GatherND {
    /// One that takes from each sample its own.
    pub(crate) const OF_EACH: GatherND = GatherND { batch_dims: 1 };

    /// What it picks from the entries of a single sample, where it counts this as an axis: rows of indices without the first one, which
    /// is 0 all over.
    pub(crate) fn of_one(&self, indices: &secateurs_onnx::Tensor) -> Option<secateurs_onnx::Tensor> {
        let (&depth, outer) = indices.shape().split_last()?;
        let values = indices.to_i64_vec().ok()?;
        let is_one = self.batch_dims == 0 && depth > 1 && outer.first() == Some(&1);
        if !is_one || values.chunks(depth).any(|row| row[0] != 0) {
            return None;
        }
        let rest: Vec<i64> = values.chunks(depth).flat_map(|row| row[1..].to_vec()).collect();
        secateurs_onnx::Tensor::from_slice([outer, &[depth - 1]].concat(), &rest).ok()
    }

    /// The number of batch axes and of indexed axes.
    fn split(&self, from: &[Dim], at: &[Dim]) -> Result<(usize, usize), OpError> {
        let batch = usize::try_from(self.batch_dims).unwrap_or(usize::MAX);
        let Some((depth, outer)) = at.split_last() else { return Err(OpError::invalid("the indices are a scalar")) };
        let depth = depth.known().ok_or(OpError::Undetermined)?;
        let fits = |n: &usize| *n >= 1 && *n <= from.len().saturating_sub(batch) && batch <= outer.len();
        match usize::try_from(depth).ok().filter(fits) {
            Some(depth) => Ok((batch, depth)),
            None => Err(OpError::Invalid(format!(
                "rows of {depth} indices and {batch} batch axes do not fit an input of {} axes",
                from.len()
            ))),
        }
    }

    /// The indices of the first axis, where they are constant and there are no others: what `Gather` does.
    fn list(&self, inputs: &Inputs) -> Option<Vec<usize>> {
        let (from, at) = (inputs.shape(0).ok()?, inputs.shape(1).ok()?);
        let (0, 1) = self.split(from, at).ok()? else { return None };
        constant_list(inputs.fact(1).ok()?, &from[0])
    }
}

impl Op for GatherND {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.batch_dims == 0 { Vec::new() } else { vec![("batch_dims", self.batch_dims.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (input, from, at) = (inputs.fact(0)?, inputs.shape(0)?, inputs.shape(1)?);
        let (batch, depth) = self.split(from, at)?;
        for axis in 0..batch {
            expect_same(&from[axis], &at[axis], &format!("sizes of batch axis {axis}"))?;
        }
        let outer = at.len() - 1;
        let shape = [&at[..outer], &from[batch + depth..]].concat();
        let indices = inputs.fact(1)?.known_ints();
        let content = indices.zip(sizes(at)).zip(sizes(from)).and_then(|((indices, at), from)| {
            rearrange(input, &shape, |to, source| {
                let row = flat_index(&to[..outer], &at[..outer]).unwrap_or(usize::MAX);
                source[..batch].copy_from_slice(&to[..batch]);
                for i in 0..depth {
                    let index = indices.get(row.saturating_mul(depth).saturating_add(i));
                    source[batch + i] = index.and_then(|n| wrap(*n, from[batch + i])).unwrap_or(usize::MAX);
                }
                source[batch + depth..].copy_from_slice(&to[outer..]);
            })
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Ok(at)) = (inputs.shape(0), inputs.shape(1)) else { return map };
        let Ok((batch, depth)) = self.split(from, at) else { return map };
        let outer = at.len() - 1;
        if let Some(list) = self.list(inputs) {
            let (before, after) = listed(&mut map, &from[0], &list);
            let rest: Vec<Axis> = from[1..].iter().map(|dim| map.axis(dim, Role::Free)).collect();
            let index = at[..outer].iter().map(|dim| if dim.is(1) { unit_axis() } else { after.clone() });
            map.outputs[0] = Some(index.chain(rest.iter().cloned()).collect());
            map.inputs[0] = Some([&[before], &rest[..]].concat());
            return map;
        }
        let indexed = Role::Blocked("indexed by rows of indices");
        let input: Vec<Axis> = from
            .iter()
            .enumerate()
            .map(|(i, dim)| match (batch..batch + depth).contains(&i) {
                true => map.axis(dim, indexed.clone()),
                false => map.axis(dim, Role::Free),
            })
            .collect();
        let mut index = input[..batch].to_vec();
        index.extend(at[batch..outer].iter().map(|dim| map.axis(dim, Role::Free)));
        map.outputs[0] = Some([&index[..], &input[batch + depth..]].concat());
        index.push(map.axis(&at[outer], indexed));
        (map.inputs[0], map.inputs[1]) = (Some(input), Some(index));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        match self.list(&kept.inputs) {
            Some(_) => kept_list(kept, 0),
            None => Ok(Shrunk::default()),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, known};
        let (batch, depth, shape) = at_run(args, &[], |inputs| {
            let (batch, depth) = self.split(inputs.shape(0)?, inputs.shape(1)?)?;
            let shape = self.infer(inputs)?.pop().and_then(|fact| fact.shape);
            Ok((batch, depth, known(&shape.ok_or(OpError::Undetermined)?)?))
        })?;
        let x = args.tensor(0)?;
        let indices = args.tensor(1)?.f_to_kind(Kind::Int64)?;
        let size = x.size();
        let count: i64 = size[..batch].iter().product();
        let x = x.f_reshape([&[count], &size[batch..]].concat())?;
        let rows = element_rows(&indices.size(), batch, depth, count);
        let indices = indices.f_reshape([count, rows, depth as i64])?;
        let mut columns = vec![Some(Tensor::f_arange(count, (Kind::Int64, args.device))?.f_unsqueeze(1)?)];
        for i in 0..depth {
            columns.push(Some(indices.f_select(2, i as i64)?));
        }
        Ok(vec![x.f_index(&columns)?.f_reshape(shape)?])
    }
}

/// The number of index rows of each batch element.
#[cfg(feature = "torch")]
fn element_rows(shape: &[i64], batch: usize, depth: usize, count: i64) -> i64 {
    let rows: i64 = shape[batch..].iter().product();
    if count == 0 { 0 } else { rows / depth as i64 }
}
