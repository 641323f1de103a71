//! `Shape`: the sizes of the axes `start..end`. ONNX opset 1, 13, 15, 19, 21, 23, 24, 25.

use crate::op::prelude::*;

/// `Shape`.
#[derive(Clone, Debug)]
pub struct Shape {
    start: Option<i64>,
    end: Option<i64>,
}

impl Register for Shape {
    const NAME: &'static str = "Shape";
    const SINCE: &'static [i64] = &[1, 13, 15, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Shape { start: attributes.int("start")?, end: attributes.int("end")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset| Case::new(opset).float([2, 3, 4]);
        vec![
            case(13),
            case(15).attr("start", -2i64),
            case(15).attr("start", 1i64).attr("end", 99i64),
            case(19).attr("start", 2i64).attr("end", 1i64),
            Case::new(9).float([]),
        ]
    }
}

impl Shape {
    /// The first size alone.
    pub(crate) fn first() -> Shape {
        Shape { start: None, end: Some(1) }
    }

    fn range(&self, rank: usize) -> std::ops::Range<usize> {
        let clamp = |axis: i64| {
            let axis = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            axis.clamp(0, rank as i64) as usize
        };
        let start = clamp(self.start.unwrap_or(0));
        start..self.end.map_or(rank, clamp).max(start)
    }
}

impl Op for Shape {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let list = [("start", self.start), ("end", self.end)];
        list.into_iter().filter_map(|(name, value)| Some((name, value?.into()))).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let Some(shape) = &inputs.fact(0)?.shape else {
            return Ok(vec![Fact::new(ElementType::Int64, vec![Dim::unknown()])]);
        };
        let part = shape[self.range(shape.len())].to_vec();
        let fact = Fact::new(ElementType::Int64, vec![part.len().into()]);
        Ok(vec![fact.with_content(Some(part.into()))])
    }

    /// Sizes are no function of indices: the input takes no part.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        map.outputs[0] = map.blocked_axes(&outputs[0], "sizes of axes");
        map
    }

    /// Of the input only the sizes are read.
    fn role(&self, _: usize) -> InputRole {
        InputRole::Sizes
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let shape = args.tensor(0)?.size();
        let part = &shape[self.range(shape.len())];
        Ok(vec![super::shared::at_run::index_tensor(part, args.device)?])
    }
}
