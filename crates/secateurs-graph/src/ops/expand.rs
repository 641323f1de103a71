//! `Expand`: broadcast to a shape (in both directions). ONNX opset 8, 13.

use super::shared::content::{rearrange, unknown_sizes};
use crate::op::prelude::*;

/// `Expand`.
#[derive(Clone, Debug)]
pub struct Expand;

impl Register for Expand {
    const NAME: &'static str = "Expand";
    const SINCE: &'static [i64] = &[8, 13];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Expand)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], to: &[i64]| Case::new(13).float(x.to_vec()).int_values(to);
        vec![
            case(&[3, 1], &[2, 3, 4]),
            case(&[3, 4], &[1, 1]),
            case(&[], &[2, 2]),
            case(&[2, 3, 1], &[3, 4]),
            case(&[2, 3, 4], &[3, 1]),
            Case::new(13).int_values(&[1, 2]).int_values(&[2, 2]),
            Case::new(9).float([3, 1]).fed(secateurs_onnx::Tensor::from_slice(vec![1], &[2i64]).unwrap()).without_axes(),
        ]
    }
}

impl Expand {
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        match inputs.fact(1)?.ints() {
            Some(to) => broadcast(&[from, to]),
            None => match inputs.shape(1)? {
                [rank] => {
                    let mut shape = unknown_sizes(rank)?;
                    shape.resize_with(shape.len().max(from.len()), Dim::unknown);
                    Ok(shape)
                }
                _ => Err(OpError::invalid("the shape must be a list")),
            },
        }
    }
}

impl Op for Expand {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let shape = self.shape(inputs)?;
        let from = inputs.shape(0)?;
        let content = rearrange(input, &shape, |to, at| {
            for ((at, to), dim) in at.iter_mut().rev().zip(to.iter().rev()).zip(from.iter().rev()) {
                *at = if dim.is(1) { 0 } else { *to };
            }
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(&[inputs.get(0), None], &outputs[0])
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (Some(from), Some(to)) = (kept.input_shape(0), kept.output_shape(0)) else {
            return Ok(Shrunk::default());
        };
        let Some(old) = kept.inputs.get(1).and_then(Fact::ints) else { return Ok(Shrunk::default()) };
        let aligned = to[to.len().saturating_sub(old.len())..].iter().rev().enumerate().rev();
        let target = old.iter().zip(aligned).map(|(entry, (i, size))| {
            // A 1 also leaves a symbolic size as the input has it.
            let same = size.known().is_none() && from.iter().nth_back(i) == Some(size);
            if entry.is(1) || same { 1.into() } else { size.clone() }
        });
        Ok(Shrunk::default().control(1, kept.inputs.get(1), target.collect()).target(1, false))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, known};
        let shape = at_run(args, &[1], |inputs| known(&self.shape(inputs)?))?;
        Ok(vec![args.tensor(0)?.f_expand(shape, false)?])
    }
}
