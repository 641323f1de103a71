//! `BitCast`: the same bits as another element type of the same width. ONNX opset 26.

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
        let number = attributes.int("to")?.ok_or_else(|| OpError::invalid("the attribute 'to' is missing"))?;
        let to = i32::try_from(number).ok().and_then(ElementType::from_onnx);
        Ok(BitCast { to: to.ok_or_else(|| OpError::Invalid(format!("{number} is no element type")))? })
    }

    #[cfg(test)]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(26).float([2, 3]).attr("to", 6i64).without_runtime().without_axes(),
            Case::new(26).ints([2, 3], 0..9).attr("to", 11i64).without_runtime(),
        ]
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
        let fact = inputs.fact(0)?;
        if let Some(from) = fact.element_type
            && from.bits() != self.to.bits()
        {
            return Err(OpError::Invalid(format!("{from} and {} have different widths", self.to)));
        }
        Ok(vec![Fact { element_type: Some(self.to), shape: fact.shape.clone(), content: None }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let from = args.inputs.element_type(0)?.ok_or(OpError::Undetermined)?;
        let native = |t: ElementType| {
            let unsupported = || OpError::Unsupported(format!("evaluation of {t} tensors"));
            crate::session::kind_of(t).ok_or_else(unsupported)
        };
        // Where 32-bit floats are computed in 64 bits, their bits are still those of 32.
        let bits = x.f_to_kind(native(from)?)?.f_view_dtype(native(self.to)?)?;
        Ok(vec![bits.f_to_kind(args.kind(self.to)?)?])
    }
}
