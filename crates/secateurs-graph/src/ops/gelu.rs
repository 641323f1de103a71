//! `Gelu`: x · Φ(x), Φ the standard normal distribution, exactly or by its tanh approximation. ONNX opset 20.

use crate::op::prelude::*;

/// `Gelu`.
#[derive(Clone, Debug)]
pub struct Gelu {
    tanh: bool,
}

impl Register for Gelu {
    const NAME: &'static str = "Gelu";
    const SINCE: &'static [i64] = &[20];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        match attributes.string("approximate")?.as_deref() {
            None | Some("none") => Ok(Gelu { tanh: false }),
            Some("tanh") => Ok(Gelu { tanh: true }),
            Some(other) => {
                Err(OpError::Invalid(format!("approximate is '{other}'; it must be 'none' or 'tanh'")))
            }
        }
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(20).float([2, 3, 4]),
            Case::new(20).float([5]).attr("approximate", "tanh"),
            Case::new(22).float([5]).attr("approximate", "none"),
        ]
    }
}

impl Op for Gelu {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.tanh { vec![("approximate", "tanh".into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact { content: None, ..inputs.fact(0)?.clone() }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![args.tensor(0)?.f_gelu(if self.tanh { "tanh" } else { "none" })?])
    }
}
