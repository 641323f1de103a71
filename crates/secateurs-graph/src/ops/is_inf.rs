//! `IsInf`: whether an element is infinite, of either sign or one. ONNX opset 10, 20.

use crate::op::prelude::*;

/// `IsInf`.
#[derive(Clone, Debug)]
pub struct IsInf {
    detect_negative: bool,
    detect_positive: bool,
}

impl Register for IsInf {
    const NAME: &'static str = "IsInf";
    const SINCE: &'static [i64] = &[10, 20];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(IsInf {
            detect_negative: attributes.flag("detect_negative", true)?,
            detect_positive: attributes.flag("detect_positive", true)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset| {
            Case::new(opset).float_values(&[1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN])
        };
        vec![
            case(10),
            case(20).attr("detect_negative", 0i64),
            case(20).attr("detect_positive", 0i64),
            case(20).attr("detect_positive", 0i64).attr("detect_negative", 0i64),
            Case::new(20).float([2, 3]),
        ]
    }
}

impl Op for IsInf {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let all = [("detect_negative", self.detect_negative), ("detect_positive", self.detect_positive)];
        all.into_iter().filter(|(_, on)| !on).map(|(name, on)| (name, on.into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let shape = inputs.fact(0)?.shape.clone();
        Ok(vec![Fact { element_type: Some(ElementType::Bool), shape, content: None }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let infinite = match (self.detect_negative, self.detect_positive) {
            (true, true) => x.f_isinf()?,
            (true, false) => x.f_isneginf()?,
            (false, true) => x.f_isposinf()?,
            (false, false) => x.f_isinf()?.f_zeros_like()?,
        };
        Ok(vec![infinite])
    }
}
