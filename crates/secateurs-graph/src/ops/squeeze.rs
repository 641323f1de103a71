//! `Squeeze`: axes of one index go. ONNX opset 1, 11, 13, 21, 23, 24, 25.

use super::Identity;
use super::shared::axes_input::{Axes, expect_one, reshaped};
use super::shared::content::int_list;
use super::shared::regroup::regroup;
use crate::op::prelude::*;

/// `Squeeze`.
#[derive(Clone, Debug)]
pub struct Squeeze {
    /// All axes of one index by default.
    axes: Axes,
    /// Since opset 13.
    axes_are_input: bool,
}

impl Register for Squeeze {
    const NAME: &'static str = "Squeeze";
    const SINCE: &'static [i64] = &[1, 11, 13, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(Squeeze { axes: Axes::parse(attributes)?, axes_are_input: cx.opset >= 13 })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).float([2, 1, 3, 1]).int_values(&[-1, 1]),
            Case::new(11).float([2, 1, 3, 1]).attr("axes", vec![1i64]),
            Case::new(13).float([1, 3, 1]).int_values(&[0]),
            Case::new(13).int_values(&[7]).int_values(&[0]),
            Case::new(13).float([1, 1]),
            Case::new(13).float([1, 2, 1, 3]),
            Case::new(13).float([2, 3]),
            Case::new(11).float([1, 2, 1, 3]),
        ]
    }
}

impl Squeeze {
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        let Some(axes) = self.axes.get(inputs, 1)? else {
            // Whether a symbolic axis has one index decides over the rank.
            let known = from.iter().all(|d| d.known().is_some());
            let rest = from.iter().filter(|d| !d.is(1)).cloned();
            return if known { Ok(rest.collect()) } else { Err(OpError::Undetermined) };
        };
        let axes = normalize_axes(&axes, from.len())?;
        axes.iter().try_for_each(|&axis| expect_one(&from[axis], axis))?;
        let rest = from.iter().enumerate().filter(|(i, _)| !axes.contains(i));
        Ok(rest.map(|(_, dim)| dim.clone()).collect())
    }
}

impl Op for Squeeze {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(reshaped(inputs.fact(0)?, self.shape(inputs)?))
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        match inputs.get(0) {
            Some(input) => regroup(inputs.len(), input, &outputs[0]),
            None => AxisMap::new(inputs.len(), 1),
        }
    }

    /// Without axes, an axis that is left with one index would go, too.
    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (Ok(None), Some(from)) = (self.axes.get(&kept.inputs, 1), kept.input_shape(0)) else {
            return Ok(Shrunk::default());
        };
        let ones = |shape: &[Dim]| (0i64..).zip(shape).filter(|(_, d)| d.is(1)).map(|(i, _)| i).collect::<Vec<_>>();
        let axes = ones(kept.inputs.shape(0)?);
        if axes == ones(&from) {
            return Ok(Shrunk::default());
        }
        Ok(match self.axes_are_input {
            _ if axes.is_empty() => Shrunk::instead(Identity, vec![ShrunkInput::Old(0)]),
            true => Shrunk::instead(self.clone(), vec![ShrunkInput::Old(0), ShrunkInput::New(int_list(&axes))]),
            false => Shrunk::op(Squeeze { axes: Axes::fixed(axes), ..self.clone() }),
        })
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn is_view(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, known};
        let shape = at_run(args, &[1], |inputs| known(&self.shape(inputs)?))?;
        Ok(vec![args.tensor(0)?.f_reshape(shape)?])
    }
}
