//! `Size`: the number of elements. ONNX opset 1, 13, 19, 21, 23, 24, 25.

use crate::op::prelude::*;

/// `Size`.
#[derive(Clone, Debug)]
pub struct Size;

impl Register for Size {
    const NAME: &'static str = "Size";
    const SINCE: &'static [i64] = &[1, 13, 19, 21, 23, 24, 25];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Size)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![Case::new(13).float([2, 3, 4]), Case::new(9).float([])]
    }
}

impl Op for Size {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let content = inputs.fact(0)?.shape.as_deref().map(|s| Content::from(vec![element_count(s)]));
        Ok(vec![Fact::new(ElementType::Int64, Vec::new()).with_content(content)])
    }

    /// A size is no function of indices: the input takes no part.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        map.outputs[0] = Some(Vec::new());
        map
    }

    /// Of the input only the sizes are read.
    fn role(&self, _: usize) -> InputRole {
        InputRole::Sizes
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let count = args.tensor(0)?.numel() as i64;
        Ok(vec![super::shared::at_run::index_tensor(&[count], args.device)?.f_reshape([0i64; 0])?])
    }
}
