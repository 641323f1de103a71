//! `Gather`: the slices of an axis that `indices` name. ONNX opset 1, 11, 13.
//!
//! x: [A…, n, B…], indices: [I…] → y: [A…, I…, B…].

use super::shared::content::{flat_index, int_list, rearrange, sizes, wrap};
use super::shared::pieces::{constant_list, kept_list, listed};
use crate::op::prelude::*;

/// `Gather`.
#[derive(Clone, Debug)]
pub struct Gather {
    axis: i64,
}

impl Register for Gather {
    const NAME: &'static str = "Gather";
    const SINCE: &'static [i64] = &[1, 11, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Gather { axis: attributes.int_or("axis", 0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let int = |v: i64| secateurs_onnx::Tensor::scalar(v);
        let table = secateurs_onnx::Tensor::from_slice(vec![2, 2], &[1i64, 0, 0, -1]).unwrap();
        vec![
            Case::new(13).param([7, 3]).ints([2, 5], -7..7),
            Case::new(13).float([4, 3, 2]).int_values(&[2, -3, 1]).attr("axis", -2i64),
            Case::new(13).float([4, 3, 2]).int_values(&[2, 0, 2, -1]),
            Case::new(13).float([4, 3, 2]).constant(int(-1)).attr("axis", 1i64),
            Case::new(11).float([4, 3, 2]).int_values(&[1, 2]).attr("axis", 1i64),
            Case::new(13).int_values(&[3, 4, 5]).constant(int(1)),
            Case::new(13).int_values(&[3, 4, 5]).int_values(&[2, -3]),
            Case::new(13).float([3, 2]).constant(table),
            Case::new(13).float([3, 2]).ints([], 0..3).attr("axis", 1i64),
        ]
    }
}

impl Gather {
    /// Whether it takes all entries of an axis in their order: it reshapes its input then.
    pub(crate) fn takes_all(&self, input: &[Dim], indices: &[i64]) -> bool {
        let size = normalize_axis(self.axis, input.len()).ok().and_then(|axis| input[axis].known());
        size == Some(indices.len() as i64) && indices.iter().enumerate().all(|(i, &index)| index == i as i64)
    }

    /// The indices of an axis in another order, and the constant that it reads.
    pub(crate) fn along(axis: usize, indices: &[usize]) -> (Gather, secateurs_onnx::Tensor) {
        let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        (Gather { axis: axis as i64 }, int_list(&indices))
    }

    /// What an op becomes of which only these indices of one axis of input 0 are left.
    pub(in crate::ops) fn instead(axis: usize, indices: &[usize]) -> Shrunk {
        let (gather, indices) = Gather::along(axis, indices);
        Shrunk::instead(gather, vec![ShrunkInput::Old(0), ShrunkInput::New(indices)])
    }
}

impl Op for Gather {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == 0 { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (input, index) = (inputs.fact(0)?, inputs.fact(1)?);
        let (from, at) = (inputs.shape(0)?, inputs.shape(1)?);
        let axis = normalize_axis(self.axis, from.len())?;
        let shape = [&from[..axis], at, &from[axis + 1..]].concat();
        let indices = index.known_ints();
        if let (Some(indices), Some(size)) = (&indices, from[axis].known())
            && let Some(bad) = indices.iter().find(|i| **i < -size || **i >= size)
        {
            return Err(OpError::Invalid(format!("index {bad} is out of range for an axis of {size}")));
        }
        let content = indices.zip(sizes(at)).zip(sizes(from)).and_then(|((indices, at), sizes)| {
            let rank = at.len();
            rearrange(input, &shape, |to, source| {
                source[..axis].copy_from_slice(&to[..axis]);
                source[axis + 1..].copy_from_slice(&to[axis + rank..]);
                let index = flat_index(&to[axis..axis + rank], &at).and_then(|i| wrap(indices[i], sizes[axis]));
                source[axis] = index.unwrap_or(usize::MAX);
            })
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Ok(at)) = (inputs.shape(0), inputs.shape(1)) else { return map };
        let Ok(axis) = normalize_axis(self.axis, from.len()) else { return map };
        let mut input: Vec<Axis> = from
            .iter()
            .enumerate()
            .map(|(i, dim)| if i == axis { Vec::new() } else { map.axis(dim, Role::Free) })
            .collect();
        let list = inputs.get(1).and_then(|f| constant_list(f, &from[axis]));
        let index: Vec<Axis> = match list {
            Some(list) => {
                let (before, after) = listed(&mut map, &from[axis], &list);
                input[axis] = before;
                at.iter().map(|d| if d.is(1) { unit_axis() } else { after.clone() }).collect()
            }
            None => {
                input[axis] = map.axis(&from[axis], Role::Blocked("indexed at run time or by a table"));
                let axes: Vec<Axis> = at.iter().map(|d| map.axis(d, Role::Free)).collect();
                map.inputs[1] = Some(axes.clone());
                axes
            }
        };
        map.outputs[0] = Some([&input[..axis], &index, &input[axis + 1..]].concat());
        map.inputs[0] = Some(input);
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        kept_list(kept, normalize_axis(self.axis, kept.inputs.shape(0)?.len())?)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn table(&self, inputs: &Inputs) -> Option<Table> {
        let from = inputs.shape(0).ok()?;
        let axis = normalize_axis(self.axis, from.len()).ok()?;
        Some(Table { indices: 1, rows: from[axis].known() })
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    /// The rows of a table are embeddings.
    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let table = inputs.get(0).and_then(Fact::rank) >= Some(2);
        if input == 0 && table { Initial::EMBEDDING } else { Initial::Keep }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, indices) = (args.tensor(0)?, args.tensor(1)?);
        let (from, at) = (x.size(), indices.size());
        let axis = normalize_axis(self.axis, from.len())?;
        if let ([], Some([index])) = (&at[..], args.inputs.get(1).and_then(Fact::known_ints).as_deref()) {
            return Ok(vec![x.f_select(axis as i64, *index)?]);
        }
        let flat = super::shared::at_run::wrapped(indices, from[axis])?.f_reshape([-1])?;
        let shape = [&from[..axis], &at, &from[axis + 1..]].concat();
        Ok(vec![x.f_index_select(axis as i64, &flat)?.f_reshape(shape)?])
    }
}
