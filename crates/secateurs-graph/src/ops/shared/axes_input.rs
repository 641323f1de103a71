//! Squeeze and Unsqueeze: axes of one index go or come. The axes are an attribute before opset 13 and an input since.

use crate::attribute::{Attribute, Attributes};
use crate::dim::Dim;
use crate::fact::{Fact, Shape};
use crate::op::{Inputs, OpError};

/// Axes given as an attribute, as an input, or not at all.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Axes(Option<Vec<i64>>);

impl Axes {
    pub fn parse(attributes: &mut Attributes) -> Result<Axes, OpError> {
        Ok(Axes(attributes.ints("axes")?))
    }

    /// Axes given as an attribute.
    pub fn fixed(axes: Vec<i64>) -> Axes {
        Axes(Some(axes))
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.0.iter().map(|axes| ("axes", axes.clone().into())).collect()
    }

    /// The axes; `None` where neither the attribute nor the input is given.
    pub fn get(&self, inputs: &Inputs, input: usize) -> Result<Option<Vec<i64>>, OpError> {
        match (&self.0, inputs.get(input)) {
            (Some(axes), _) => Ok(Some(axes.clone())),
            (None, Some(_)) => inputs.ints(input).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// The fact of the same elements under a shape that differs by axes of one index.
pub(in crate::ops) fn reshaped(input: &Fact, shape: Shape) -> Vec<Fact> {
    vec![Fact::of(input.element_type, shape).with_content(input.content.clone())]
}

/// An axis that must have one index.
pub(in crate::ops) fn expect_one(dim: &Dim, axis: usize) -> Result<(), OpError> {
    match dim.known() {
        Some(1) | None => Ok(()),
        Some(n) => Err(OpError::Invalid(format!("axis {axis} has {n} indices; only axes of one can go"))),
    }
}
