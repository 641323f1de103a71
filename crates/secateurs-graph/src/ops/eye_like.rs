//! `EyeLike`: ones on a diagonal, in the shape of the input. ONNX opset 9, 22.

use super::shared::content::pick;
use crate::op::prelude::*;

/// `EyeLike`.
#[derive(Clone, Debug)]
pub struct EyeLike {
    /// The input's element type by default.
    element_type: Option<ElementType>,
    k: i64,
}

impl Register for EyeLike {
    const NAME: &'static str = "EyeLike";
    const SINCE: &'static [i64] = &[9, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let element_type = match attributes.int("dtype")? {
            None => None,
            Some(number) => {
                let known = i32::try_from(number).ok().and_then(ElementType::from_onnx);
                Some(known.ok_or_else(|| OpError::Invalid(format!("dtype {number} is no element type")))?)
            }
        };
        Ok(EyeLike { element_type, k: attributes.int_or("k", 0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(9).float([3, 4]),
            Case::new(9).float([3, 2]).attr("k", -1i64).attr("dtype", 7i64),
            Case::new(22).ints([2, 3], 0..9).attr("k", 1i64).attr("dtype", 11i64),
        ]
    }
}

impl Op for EyeLike {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        list.extend(self.element_type.map(|t| ("dtype", i64::from(t.to_onnx()).into())));
        if self.k != 0 {
            list.push(("k", self.k.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let shape = inputs.shape(0)?;
        if shape.len() != 2 {
            return Err(OpError::invalid("the input must have two axes"));
        }
        let element_type = self.element_type.or(inputs.element_type(0)?);
        let zero_one = match element_type {
            Some(t) if t.is_float() => Content::from(vec![0.0, 1.0]),
            _ => Content::from(vec![Dim::from(0), Dim::from(1)]),
        };
        let content = pick(&zero_one, shape, |at| Some(usize::from(at[1] as i64 - at[0] as i64 == self.k)));
        Ok(vec![Fact::of(element_type, shape.to_vec()).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "an identity matrix of this size")
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let [rows, columns] = x.size()[..] else { return Err(OpError::invalid("the input must have two axes")) };
        let kind = match self.element_type {
            Some(element_type) => args.kind(element_type)?,
            None => x.f_kind()?,
        };
        let options = (Kind::Int64, args.device);
        let offset = Tensor::f_arange(columns, options)?.f_sub(&Tensor::f_arange(rows, options)?.f_unsqueeze(1)?)?;
        Ok(vec![offset.f_eq(self.k)?.f_to_kind(kind)?])
    }
}
