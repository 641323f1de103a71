//! `Trilu`: the upper or lower triangle of matrices, zero elsewhere. ONNX opset 14.

use super::shared::content::{join, pick};
use crate::op::prelude::*;

/// `Trilu`.
#[derive(Clone, Debug)]
pub struct Trilu {
    upper: bool,
}

impl Register for Trilu {
    const NAME: &'static str = "Trilu";
    const SINCE: &'static [i64] = &[14];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Trilu { upper: attributes.flag("upper", true)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let k = |n: i64| secateurs_onnx::Tensor::scalar(n);
        let ones = secateurs_onnx::Tensor::from_slice(vec![2, 3], &[1i64; 6]).unwrap();
        vec![
            Case::new(14).float([3, 4]),
            Case::new(14).float([2, 3, 3]).constant(k(-1)).attr("upper", 0i64),
            Case::new(14).float([3, 4]).constant(k(i64::MAX)),
            Case::new(14).constant(ones).constant(k(1)),
            Case::new(14).bools([3, 3]).fed(k(1)),
        ]
    }
}

impl Trilu {
    /// The diagonal from which on elements are kept.
    fn diagonal(&self, inputs: &Inputs) -> Result<i64, OpError> {
        match inputs.get(1) {
            None => Ok(0),
            Some(_) => inputs.ints(1)?.first().copied().ok_or_else(|| OpError::invalid("k has no element")),
        }
    }

    fn content(&self, inputs: &Inputs, shape: &[Dim]) -> Option<Content> {
        let content = inputs.get(0)?.content.as_ref()?;
        let k = self.diagonal(inputs).ok()?;
        let zero = match content {
            Content::Ints(_) => Content::from(vec![Dim::from(0)]),
            Content::Floats(_) => Content::from(vec![0.0]),
        };
        let mut next = 0;
        pick(&join(&[content, &zero])?, shape, |at| {
            let [.., row, column] = at else { return None };
            let offset = *column as i64 - *row as i64;
            let kept = if self.upper { offset >= k } else { offset <= k };
            next += 1;
            Some(if kept { next - 1 } else { content.len() })
        })
    }
}

impl Op for Trilu {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.upper { Vec::new() } else { vec![("upper", false.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, shape) = (inputs.fact(0)?, inputs.shape(0)?);
        if shape.len() < 2 {
            return Err(OpError::invalid("the input must have two axes or more"));
        }
        let content = self.content(inputs, shape);
        Ok(vec![Fact::of(fact.element_type, shape.to_vec()).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let batch = shape.len().saturating_sub(2);
        let role = |axis| if axis < batch { Role::Free } else { Role::Blocked("a triangle of a matrix") };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let k = super::shared::at_run::at_run(args, &[1], |inputs| self.diagonal(inputs))?;
        // Far beyond any matrix, and safe to subtract sizes from.
        let k = k.clamp(-(1 << 40), 1 << 40);
        let x = args.tensor(0)?;
        Ok(vec![if self.upper { x.f_triu(k)? } else { x.f_tril(k)? }])
    }
}
