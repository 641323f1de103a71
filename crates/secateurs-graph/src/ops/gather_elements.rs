//! `GatherElements`: along one axis, the element that `indices` names at each place. ONNX opset 11, 13.

use super::shared::content::{flat_index, rearrange, sizes, wrap};
use super::shared::pieces::cut;
use crate::op::prelude::*;

/// `GatherElements`.
#[derive(Clone, Debug)]
pub struct GatherElements {
    axis: i64,
}

impl Register for GatherElements {
    const NAME: &'static str = "GatherElements";
    const SINCE: &'static [i64] = &[11, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(GatherElements { axis: attributes.int_or("axis", 0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).float([4, 3]).ints([2, 3], -4..4),
            Case::new(11).float([4, 5]).ints([3, 2], 0..5).attr("axis", -1i64),
            Case::new(13).int_values(&[7, 8, 9]).int_values(&[2, -3, 1]),
        ]
    }
}

impl Op for GatherElements {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == 0 { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (input, index, from) = (inputs.fact(0)?, inputs.fact(1)?, inputs.shape(0)?);
        let axis = normalize_axis(self.axis, from.len())?;
        let shape = inputs.shape(1)?.to_vec();
        if shape.len() != from.len() {
            return Err(OpError::invalid("the indices have another number of axes than the input"));
        }
        let beyond = |i: &usize| shape[*i].known().zip(from[*i].known()).is_some_and(|(len, size)| len > size);
        if let Some(at) = (0..from.len()).find(|i| *i != axis && beyond(i)) {
            return Err(OpError::Invalid(format!(
                "the indices have {} rows along axis {at}, of which the input has {}",
                shape[at], from[at]
            )));
        }
        let content = index.known_ints().zip(sizes(&shape)).zip(sizes(from)).and_then(|((indices, at), from)| {
            rearrange(input, &shape, |to, source| {
                source.copy_from_slice(to);
                let index = flat_index(to, &at).and_then(|i| wrap(*indices.get(i)?, from[axis]));
                source[axis] = index.unwrap_or(usize::MAX);
            })
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Ok(at)) = (inputs.shape(0), inputs.shape(1)) else { return map };
        let Ok(axis) = normalize_axis(self.axis, from.len()) else { return map };
        let (mut input, mut index) = (Vec::new(), Vec::new());
        for (i, (size, len)) in from.iter().zip(at).enumerate() {
            // The indices may cover only the start of the other axes.
            let (before, after) = match i == axis {
                true => (map.axis(size, Role::Blocked("indexed element by element")), map.axis(len, Role::Free)),
                false => cut(&mut map, size, &0.into(), len),
            };
            input.push(before);
            index.push(after);
        }
        map.outputs[0] = Some(index.clone());
        (map.inputs[0], map.inputs[1]) = (Some(input), Some(index));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let axis = normalize_axis(self.axis, x.dim())?;
        let indices = super::shared::at_run::wrapped(args.tensor(1)?, x.size()[axis])?;
        Ok(vec![x.f_gather(axis as i64, &indices, false)?])
    }
}
