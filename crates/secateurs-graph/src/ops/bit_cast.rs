//! `BitCast`: the same bits as another type of the same width. ONNX opset 26.

use super::cast::target;
use crate::op::prelude::*;

/// `BitCast`.
#[derive(Clone, Debug)]
pub struct BitCast {
    to: ElementType,
}

impl Register for BitCast {
    const NAME: &'static str = "BitCast";
    const SINCE: &'static [i64] = &[26];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(BitCast { to: target(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let to = |to: ElementType| Case::new(26).attr("to", i64::from(to.to_onnx()));
        vec![to(ElementType::Int32).float([2, 3, 4]), to(ElementType::Float64).ints([5], 1 << 60..1 << 61)]
    }
}

impl Op for BitCast {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("to", i64::from(self.to.to_onnx()).into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let x = inputs.fact(0)?;
        if let Some(from) = x.element_type.filter(|from| from.bits() != self.to.bits()) {
            return Err(OpError::Invalid(format!("{from} and {} have different widths", self.to)));
        }
        Ok(vec![Fact { element_type: Some(self.to), shape: x.shape.clone(), content: None }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        // The bits are those of the type in the file, whatever the session computes in.
        let own = |element_type: ElementType| match element_type {
            ElementType::Uint16 => Ok(Kind::Int16),
            ElementType::Uint32 => Ok(Kind::Int),
            ElementType::Uint64 => Ok(Kind::Int64),
            other => {
                let wider = crate::session::is_widened(other) || other.is_small_float();
                let kind = crate::session::kind_of(other).filter(|_| !wider);
                kind.ok_or_else(|| OpError::Unsupported(format!("evaluation of {other} tensors")))
            }
        };
        let x = args.tensor(0)?.f_detach()?;
        let x = match args.inputs.element_type(0)? {
            Some(element_type) => x.f_to_kind(own(element_type)?)?,
            None => x,
        };
        Ok(vec![super::shared::promote(args, 0, x.f_view_dtype(own(self.to)?)?)?])
    }
}
