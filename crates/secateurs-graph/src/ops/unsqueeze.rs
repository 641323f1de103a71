//! `Unsqueeze`: new axes of one index. ONNX opset 1, 11, 13, 21, 23, 24, 25.

use super::shared::axes_input::{Axes, reshaped};
use super::shared::content::MAX_RANK;
use super::shared::regroup::regroup;
use crate::op::prelude::*;

/// `Unsqueeze`.
#[derive(Clone, Debug)]
pub struct Unsqueeze {
    /// Axes of the output.
    axes: Axes,
}

impl Register for Unsqueeze {
    const NAME: &'static str = "Unsqueeze";
    const SINCE: &'static [i64] = &[1, 11, 13, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Unsqueeze { axes: Axes::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).float([2, 3]).int_values(&[-1, 1]),
            Case::new(11).float([2, 3]).attr("axes", vec![3i64, 0]),
            Case::new(13).constant(secateurs_onnx::Tensor::scalar(5i64)).int_values(&[0]),
        ]
    }
}

impl Unsqueeze {
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        let axes = self.axes.get(inputs, 1)?.ok_or_else(|| OpError::invalid("no axes are given"))?;
        if from.len() + axes.len() > MAX_RANK {
            return Err(OpError::Unsupported(format!("tensors of {} axes", from.len() + axes.len())));
        }
        let axes = normalize_axes(&axes, from.len() + axes.len())?;
        let mut shape = from.to_vec();
        axes.into_iter().for_each(|axis| shape.insert(axis, 1.into()));
        Ok(shape)
    }
}

impl Op for Unsqueeze {
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
