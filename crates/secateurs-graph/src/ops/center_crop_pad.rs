//! `CenterCropPad`: axes cropped or padded with zeros, alike at both ends. ONNX opset 18.

use super::Pad;
use super::shared::content::int_list;
use super::shared::pieces;
use crate::op::prelude::*;

/// `CenterCropPad`.
#[derive(Clone, Debug)]
pub struct CenterCropPad {
    axes: Option<Vec<i64>>,
}

impl Register for CenterCropPad {
    const NAME: &'static str = "CenterCropPad";
    const SINCE: &'static [i64] = &[18];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(CenterCropPad { axes: attributes.ints("axes")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(18).float([5, 4]).int_values(&[2, 7]),
            Case::new(18).float([2, 4, 5]).int_values(&[7, 2]).attr("axes", vec![-1i64, 1]),
        ]
    }
}

impl CenterCropPad {
    /// The axes that the sizes are about.
    fn axes(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        normalize_axes(axes, rank)?;
        axes.iter().map(|&axis| normalize_axis(axis, rank)).collect()
    }

    /// The output's shape.
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        let axes = self.axes(from.len())?;
        let mut shape = from.to_vec();
        let Some(target) = inputs.fact(1)?.ints() else {
            axes.iter().for_each(|&axis| shape[axis] = Dim::unknown());
            return Ok(shape);
        };
        if target.len() != axes.len() {
            return Err(OpError::Invalid(format!("there are {} sizes for {} axes", target.len(), axes.len())));
        }
        axes.iter().zip(target).for_each(|(&axis, size)| shape[axis] = size.clone());
        Ok(shape)
    }
}

/// What is added at both ends of an axis; negative where it is cropped. The odd index comes last.
fn pads(from: &Dim, to: &Dim) -> (Dim, Dim) {
    let total = to.clone() - from.clone();
    let before = match total.known() {
        Some(n) => Dim::from(n / 2),
        None => Dim::unknown(),
    };
    let before = if from == to { 0.into() } else { before };
    (before.clone(), total - before)
}

fn known((before, after): &(Dim, Dim)) -> Option<(i64, i64)> {
    before.known().zip(after.known())
}

impl Op for CenterCropPad {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.axes.iter().map(|axes| ("axes", axes.clone().into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::of(inputs.element_type(0)?, self.shape(inputs)?)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Some(to)) = (inputs.shape(0), &outputs[0].shape) else { return map };
        // Off centre, `Pad` takes its place, which must then be told all numbers.
        let all_known = from.iter().zip(to).all(|(size, len)| known(&pads(size, len)).is_some());
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for (size, len) in from.iter().zip(to) {
            let (first, last) = pads(size, len);
            let (before, after) = match known(&(first.clone(), last.clone())) {
                Some(pads) if all_known || pads == (0, 0) => pieces::pad(&mut map, size, &first, &last),
                _ => pieces::blocked(&mut map, size, len, "cropped or padded at run time"),
            };
            input.push(before);
            output.push(after);
        }
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (from, to) = (kept.inputs.shape(0)?, self.shape(&kept.inputs)?);
        let (Some(input), Some(output)) = (&kept.map.inputs[0], &kept.map.outputs[0]) else {
            return Ok(Shrunk::default());
        };
        let sizes: Vec<Dim> = output.iter().map(|axis| kept.axis_size(axis)).collect();
        let mut centred = true;
        let mut all = Vec::with_capacity(from.len());
        for axis in 0..from.len() {
            let old = pads(&from[axis], &to[axis]);
            if known(&old).is_none() {
                continue;
            }
            let new = pieces::kept_pads(kept, &input[axis], &output[axis], &from[axis], &old);
            centred &= new == pads(&kept.axis_size(&input[axis]), &sizes[axis]);
            all.push(new);
        }
        if centred {
            let sizes = self.axes(from.len())?.into_iter().map(|axis| sizes[axis].clone()).collect();
            return Ok(Shrunk::default().control(1, kept.inputs.get(1), sizes));
        }
        let all = all.iter().map(known).collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?;
        let (before, after): (Vec<i64>, Vec<i64>) = all.into_iter().unzip();
        let pads = ShrunkInput::New(int_list(&[before, after].concat()));
        Ok(Shrunk::instead(Pad::zeros(), vec![ShrunkInput::Old(0), pads]))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let shape = super::shared::at_run::at_run(args, &[1], |inputs| self.shape(inputs))?;
        let x = args.tensor(0)?;
        let all = x.size().into_iter().map(Dim::from).zip(&shape).map(|(from, to)| {
            let (first, last) = pads(&from, to);
            first.known().zip(last.known())
        });
        let all = all.collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?;
        Ok(vec![super::shared::padding::constant_pad(x, &all, 0.0)?])
    }
}
