//! `Where`: elements of x where the condition holds, of y elsewhere, with broadcasting. ONNX opset 9, 16.

use super::shared::elementwise_content::{broadcast_content, broadcast_inputs};
use crate::op::prelude::*;

/// `Where`.
#[derive(Clone, Debug)]
pub struct Where;

impl Register for Where {
    const NAME: &'static str = "Where";
    const SINCE: &'static [i64] = &[9, 16];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Where)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(16).bools([2, 1, 4]).float([3, 1]).float([2, 3, 4]),
            Case::new(9).bools([3]).float([3]).float_values(&[0.5]),
            Case::new(16).bools([2, 3]).ints([3], 0..9).ints([2, 1], 0..9),
            Case::new(16).flag_values(&[true, false, true]).int_values(&[1, 2, 3]).int_values(&[7]),
            Case::new(16).flag_values(&[true, false]).float_values(&[0.5]).float_values(&[1.5, 2.5]),
            Case::new(16).bools([3]).int_values(&[4]).int_values(&[4, 4, 4]),
        ]
    }
}

/// One element after the other from either side; where it is not known from which, only what both agree on.
fn choose<T: Clone + PartialEq>(condition: Option<&[Dim]>, x: &[T], y: &[T]) -> Option<Vec<T>> {
    let pick = |(i, (x, y)): (usize, (&T, &T))| match condition.and_then(|c| c.get(i)?.known()) {
        Some(0) => Some(y.clone()),
        Some(_) => Some(x.clone()),
        None => (x == y).then(|| x.clone()),
    };
    x.iter().zip(y).enumerate().map(pick).collect()
}

fn content(inputs: &Inputs, shape: &[Dim]) -> Option<Content> {
    let broadcast = |i: usize| broadcast_content(inputs.get(i)?, shape);
    let condition = match broadcast(0) {
        Some(Content::Ints(condition)) => Some(condition),
        _ => None,
    };
    match (broadcast(1)?, broadcast(2)?) {
        (Content::Ints(x), Content::Ints(y)) => choose(condition.as_deref(), &x, &y).map(Content::from),
        (Content::Floats(x), Content::Floats(y)) => choose(condition.as_deref(), &x, &y).map(Content::from),
        _ => None,
    }
}

impl Op for Where {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        if let Some(other) = inputs.element_type(0)?.filter(|t| *t != ElementType::Bool) {
            return Err(OpError::Invalid(format!("the condition has the element type {other}; it must be bool")));
        }
        let (x, y) = (inputs.element_type(1)?, inputs.element_type(2)?);
        if let (Some(x), Some(y)) = (x, y)
            && x != y
        {
            let text = format!("its branches have the element types {x} and {y}; they must agree");
            return Err(OpError::Invalid(text));
        }
        let shape = broadcast_inputs(inputs)?;
        let content = shape.as_deref().and_then(|s| content(inputs, s));
        Ok(vec![Fact { element_type: x.or(y), shape, content: None }.with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(inputs.facts, &outputs[0])
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Control } else { InputRole::Data }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![args.tensor(1)?.f_where_self(args.tensor(0)?, args.tensor(2)?)?])
    }
}
