//! `Flatten`: the axes before `axis` as one, the others as another. ONNX opset 1, 9, 11, 13, 21, 23, 24, 25.

use super::shared::regroup::regroup;
use crate::op::prelude::*;

/// `Flatten`.
#[derive(Clone, Debug)]
pub struct Flatten {
    axis: i64,
}

impl Register for Flatten {
    const NAME: &'static str = "Flatten";
    const SINCE: &'static [i64] = &[1, 9, 11, 13, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Flatten { axis: attributes.int_or("axis", 1)? })
    }

    #[cfg(test)]
    fn cases() -> Vec<Case> {
        let case = |axis: i64| Case::new(13).float([2, 3, 4]).attr("axis", axis);
        vec![
            case(2),
            case(-1),
            case(0),
            case(3),
            Case::new(9).float([2, 3, 1, 1]),
            Case::new(9).float([5]),
            Case::new(13).float([]).attr("axis", 0i64),
        ]
    }
}

impl Flatten {
    fn shape(&self, from: &[Dim]) -> Result<Shape, OpError> {
        // The axis may also be the end.
        let end = self.axis == from.len() as i64;
        let axis = if end { from.len() } else { normalize_axis(self.axis, from.len())? };
        Ok(vec![element_count(&from[..axis]), element_count(&from[axis..])])
    }
}

impl Op for Flatten {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == 1 { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let shape = match &input.shape {
            Some(from) => self.shape(from)?,
            None => vec![Dim::unknown(), Dim::unknown()],
        };
        Ok(vec![Fact::of(input.element_type, shape).with_content(input.content.clone())])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        match inputs.get(0) {
            Some(input) => regroup(inputs.len(), input, &outputs[0]),
            None => AxisMap::new(inputs.len(), 1),
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let from: Vec<Dim> = x.size().into_iter().map(Dim::from).collect();
        Ok(vec![x.f_reshape(super::shared::at_run::known(&self.shape(&from)?)?)?])
    }
}
