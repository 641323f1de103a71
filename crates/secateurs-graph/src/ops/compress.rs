//! `Compress`: the indices of an axis, or of the flattened input, where a condition holds. ONNX opset 9, 11, 28.

use super::shared::content::rearrange;
use super::shared::pieces::{blocked, picked};
use crate::op::prelude::*;

/// `Compress`.
#[derive(Clone, Debug)]
pub struct Compress {
    axis: Option<i64>,
}

impl Register for Compress {
    const NAME: &'static str = "Compress";
    const SINCE: &'static [i64] = &[9, 11, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Compress { axis: attributes.int("axis")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let condition = |v: &[bool]| secateurs_onnx::Tensor::from_slice(vec![v.len()], v).unwrap();
        vec![
            Case::new(11).float([3, 4]).constant(condition(&[true, false, true])).attr("axis", -1i64),
            Case::new(9).float([3, 2]).constant(condition(&[false, true, true])).attr("axis", 0i64),
            Case::new(9).float([3, 2]).constant(condition(&[false, true, true, false])),
            Case::new(9).int_values(&[4, 5, 6]).constant(condition(&[true, false, true])).attr("axis", 0i64),
            Case::new(11).float([3, 2]).fed(condition(&[false, true, true])).attr("axis", 0i64).without_axes(),
        ]
    }
}

/// The indices kept, if the condition is known.
fn kept(inputs: &Inputs) -> Result<Option<Vec<usize>>, OpError> {
    let Some(condition) = inputs.fact(1)?.known_ints() else { return Ok(None) };
    Ok(Some(condition.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i).collect()))
}

impl Compress {
    fn axis(&self, rank: usize) -> Result<Option<usize>, OpError> {
        self.axis.map(|axis| normalize_axis(axis, rank)).transpose()
    }
}

impl Op for Compress {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.axis.iter().map(|&axis| ("axis", axis.into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        let kept = kept(inputs)?;
        let count = kept.as_ref().map_or_else(Dim::unknown, |k| k.len().into());
        let Some(axis) = self.axis else { return Ok(vec![Fact::of(fact.element_type, vec![count])]) };
        let mut shape = inputs.shape(0)?.to_vec();
        let axis = normalize_axis(axis, shape.len())?;
        if let (Some(last), Some(size)) = (kept.as_ref().and_then(|k| k.last()), shape[axis].known())
            && *last as i64 >= size
        {
            return Err(OpError::Invalid(format!("the condition asks for index {last} of an axis of {size}")));
        }
        shape[axis] = count;
        let content = kept.and_then(|kept| {
            rearrange(fact, &shape, |to, at| {
                at.copy_from_slice(to);
                at[axis] = kept[to[axis]];
            })
        });
        Ok(vec![Fact::of(fact.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let (Ok(Some(axis)), Ok(Some(kept))) = (self.axis(shape.len()), kept(inputs)) else {
            return AxisMap::blocked(inputs.facts, outputs, "indices chosen at run time or of a flattened input");
        };
        let mut input: Vec<Axis> = Vec::with_capacity(shape.len());
        for (i, dim) in shape.iter().enumerate() {
            input.push(if i == axis { Vec::new() } else { map.axis(dim, Role::Free) });
        }
        let mut output = input.clone();
        (input[axis], output[axis]) = match shape[axis].known() {
            Some(_) => picked(&mut map, &shape[axis], &kept),
            None => blocked(&mut map, &shape[axis], &kept.len().into(), "indices chosen from an axis of any size"),
        };
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (shape, condition) = (kept.inputs.shape(0)?, kept.inputs.fact(1)?);
        let (Some(axis), Some(list), Some(axes)) =
            (self.axis(shape.len())?, condition.ints(), &kept.map.inputs[0])
        else {
            return Ok(Shrunk::default());
        };
        let Some(left) = kept.axis_indices(&axes[axis]) else { return Ok(Shrunk::default()) };
        // Beyond its end the condition does not hold.
        let flag = |i: usize| list.get(i).cloned().unwrap_or_else(|| 0.into());
        let flags = match kept.is_whole(&axes[axis]) {
            true => list.to_vec(),
            false => left.into_iter().map(flag).collect(),
        };
        Ok(Shrunk::default().control(1, Some(condition), flags))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let indices = args.tensor(1)?.f_nonzero()?.f_reshape([-1])?;
        Ok(vec![match self.axis(x.dim())? {
            Some(axis) => x.f_index_select(axis as i64, &indices)?,
            None => x.f_reshape([-1])?.f_index_select(0, &indices)?,
        }])
    }
}
