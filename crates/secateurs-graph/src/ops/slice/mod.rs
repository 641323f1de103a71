//! `Slice`: every `step`-th index of some axes between `start` and `end`. ONNX opset 1, 10, 11, 13.
//!
//! The numbers are attributes before opset 10 and inputs since; indices count from either end and are clamped.

mod cut;

use self::cut::{Bounds, Cut, is_whole};
use super::Gather;
use super::shared::content::{int_list, rearrange};
use super::shared::pieces::{blocked, cut, picked};
use crate::op::prelude::*;

/// `Slice`.
#[derive(Clone, Debug)]
pub struct Slice {
    fixed: Option<Fixed>,
}

/// The numbers as attributes.
#[derive(Clone, Debug)]
struct Fixed {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Option<Vec<i64>>,
}

impl Register for Slice {
    const NAME: &'static str = "Slice";
    const SINCE: &'static [i64] = &[1, 10, 11, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let axes = attributes.ints("axes")?;
        let fixed = match (attributes.ints("starts")?, attributes.ints("ends")?) {
            (Some(starts), Some(ends)) => Some(Fixed { starts, ends, axes }),
            _ => None,
        };
        Ok(Slice { fixed })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |starts: &[i64], ends: &[i64]| {
            Case::new(13).float([4, 5, 6]).int_values(starts).int_values(ends)
        };
        vec![
            case(&[1, 0], &[3, i64::MAX]).int_values(&[0, 2]).int_values(&[1, 2]),
            case(&[1, -3], &[-1, 99]).int_values(&[-1, 1]),
            case(&[1], &[2]),
            case(&[3], &[-99]).int_values(&[2]).int_values(&[-1]),
            case(&[i64::MAX, 4], &[i64::MIN, 0]).int_values(&[2, 0]).int_values(&[-2, -3]),
            case(&[3], &[2]).int_values(&[2]),
            case(&[0], &[i64::MAX]).int_values(&[2]).int_values(&[2]),
            case(&[-1], &[i64::MIN]).int_values(&[2]).int_values(&[-2]),
            case(&[-1, 2], &[0, 0]).int_values(&[2, 1]).int_values(&[-1, -1]),
            case(&[-2], &[i64::MIN]).int_values(&[2]).int_values(&[-3]),
            Case::new(9).float([4, 5]).attr("starts", vec![1i64]).attr("ends", vec![-1i64]).attr("axes", vec![1i64]),
            Case::new(13).int_values(&[5, 6, 7, 8]).int_values(&[3]).int_values(&[0]).int_values(&[0]).int_values(&[-2]),
            Case::new(13).float([4, 5]).fed(numbers(&[1])).fed(numbers(&[3])).int_values(&[1]).without_axes(),
        ]
    }
}

#[cfg(any(test, feature = "harness"))]
fn numbers(values: &[i64]) -> secateurs_onnx::Tensor {
    secateurs_onnx::Tensor::from_slice(vec![values.len()], values).unwrap()
}

impl Slice {
    /// The indices `start..end` of some axes, each listed once with a negative end counted from the axis's own; and the constants
    /// that it reads.
    pub(crate) fn of(ranges: &[(usize, i64, i64)], opset: i64) -> (Slice, Vec<secateurs_onnx::Tensor>) {
        let list = |pick: &dyn Fn(&(usize, i64, i64)) -> i64| ranges.iter().map(pick).collect::<Vec<_>>();
        let (starts, ends, axes) = (list(&|r| r.1), list(&|r| r.2), list(&|r| r.0 as i64));
        if opset < 10 {
            return (Slice { fixed: Some(Fixed { starts, ends, axes: Some(axes) }) }, Vec::new());
        }
        (Slice { fixed: None }, [starts, ends, axes].iter().map(|ints| int_list(ints)).collect())
    }

    /// The cut of every axis, all of it by default.
    fn cuts(&self, inputs: &Inputs) -> Result<Vec<Option<Cut>>, OpError> {
        let shape = inputs.shape(0)?;
        let list = |i: usize| match inputs.get(i) {
            Some(fact) => fact.ints().map(|v| Some(v.to_vec())).ok_or(OpError::Undetermined),
            None => Ok(None),
        };
        let dims = |v: &[i64]| v.iter().copied().map(Dim::from).collect::<Vec<_>>();
        let (starts, ends, axes, steps) = match &self.fixed {
            Some(f) => (Ok(Some(dims(&f.starts))), Ok(Some(dims(&f.ends))), Ok(f.axes.as_deref().map(dims)), Ok(None)),
            None => (list(1), list(2), list(3), list(4)),
        };
        let mut cuts: Vec<Option<Cut>> =
            shape.iter().map(|d| Some(Cut { start: 0.into(), len: d.clone(), step: 1 })).collect();
        let Ok(axes) = axes else { return Ok(vec![None; shape.len()]) };
        let axes = match (axes, &starts) {
            (Some(axes), _) => axes.iter().map(Dim::known).collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?,
            (None, Ok(Some(starts))) => (0..starts.len() as i64).collect(),
            (None, Ok(None)) => return Err(OpError::invalid("no starts are given")),
            (None, Err(_)) => return Ok(vec![None; shape.len()]),
        };
        normalize_axes(&axes, shape.len())?;
        for (i, axis) in axes.into_iter().enumerate() {
            let axis = normalize_axis(axis, shape.len())?;
            let at = |list: &Result<Option<Vec<Dim>>, OpError>, what: &str| match list {
                Ok(Some(list)) => match list.get(i) {
                    Some(dim) => Ok(Some(dim.clone())),
                    None => Err(OpError::Invalid(format!("there are fewer {what} than axes"))),
                },
                _ => Ok(None),
            };
            let step = match &steps {
                Ok(None) => Some(1),
                _ => at(&steps, "steps")?.and_then(|s| s.known()),
            };
            if step == Some(0) {
                return Err(OpError::invalid("a step is 0"));
            }
            let numbers = (at(&starts, "starts")?, at(&ends, "ends")?, step);
            let (Some(start), Some(end), Some(step)) = numbers else {
                cuts[axis] = None;
                continue;
            };
            cuts[axis] = Cut::new(&shape[axis], &start, &end, step);
        }
        Ok(cuts)
    }
}

impl Slice {
    /// The op with other numbers for some axes.
    fn with_bounds(&self, inputs: &Inputs, bounds: &[Option<Bounds>]) -> Result<Shrunk, OpError> {
        let of = |axis: i64| normalize_axis(axis, bounds.len()).ok().and_then(|axis| bounds[axis].as_ref());
        if let Some(fixed) = &self.fixed {
            let mut fixed = fixed.clone();
            let axes = fixed.axes.clone().unwrap_or_else(|| (0..fixed.starts.len() as i64).collect());
            for (i, bounds) in axes.into_iter().enumerate().filter_map(|(i, axis)| Some((i, of(axis)?))) {
                fixed.starts[i] = bounds.start.known().ok_or(OpError::Undetermined)?;
                fixed.ends[i] = bounds.end.known().ok_or(OpError::Undetermined)?;
            }
            return Ok(Shrunk::op(Slice { fixed: Some(fixed) }));
        }
        let axes = match (inputs.get(3), inputs.get(1).and_then(Fact::ints)) {
            (Some(axes), _) => axes.known_ints(),
            (None, starts) => starts.map(|starts| (0..starts.len() as i64).collect()),
        };
        let Some(axes) = axes else { return Ok(Shrunk::default()) };
        let new = |b: &Bounds, input: usize| match input {
            1 => b.start.clone(),
            2 => b.end.clone(),
            _ => b.step.into(),
        };
        let mut shrunk = Shrunk::default();
        for input in [1, 2, 4] {
            let Some(old) = inputs.get(input).and_then(Fact::ints) else { continue };
            let entries = old.iter().zip(&axes).map(|(old, axis)| of(*axis).map_or(old.clone(), |b| new(b, input)));
            shrunk = shrunk.control(input, inputs.get(input), entries.collect());
        }
        Ok(shrunk)
    }
}

impl Op for Slice {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let Some(fixed) = &self.fixed else { return Vec::new() };
        let mut list = vec![("starts", fixed.starts.clone().into()), ("ends", fixed.ends.clone().into())];
        list.extend(fixed.axes.iter().map(|axes| ("axes", axes.clone().into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let cuts = self.cuts(inputs)?;
        let shape: Vec<Dim> =
            cuts.iter().map(|c| c.as_ref().map_or_else(Dim::unknown, |c| c.len.clone())).collect();
        let kept: Option<Vec<Vec<usize>>> = match input.content {
            Some(_) => cuts.iter().map(|c| c.as_ref()?.indices()).collect(),
            None => None,
        };
        let content = kept.and_then(|kept| {
            rearrange(input, &shape, |to, at| {
                for (axis, at) in at.iter_mut().enumerate() {
                    *at = kept[axis][to[axis]];
                }
            })
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Ok(cuts), Some(to)) = (inputs.shape(0), self.cuts(inputs), &outputs[0].shape) else {
            return map;
        };
        // What becomes of every other index when some go is no slice, but a list of one axis can take its place.
        let alone = from.iter().zip(&cuts).filter(|(size, cut)| !is_whole(size, cut.as_ref())).count() == 1;
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for ((size, kept), len) in from.iter().zip(&cuts).zip(to) {
            let (before, after) = match kept {
                Some(c) if c.step == 1 || c.len.is(1) => cut(&mut map, size, &c.start, &c.len),
                Some(c) => match c.indices().filter(|_| size.known().is_some() && (alone || c.step == -1)) {
                    Some(indices) => picked(&mut map, size, &indices),
                    None => blocked(&mut map, size, len, "sliced with a step, and not along this axis alone"),
                },
                None => blocked(&mut map, size, len, "sliced at run time"),
            };
            input.push(before);
            output.push(after);
        }
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (from, cuts) = (kept.inputs.shape(0)?, self.cuts(&kept.inputs)?);
        let (Some(input), Some(output)) = (&kept.map.inputs[0], &kept.map.outputs[0]) else {
            return Ok(Shrunk::default());
        };
        let mut bounds: Vec<Option<Bounds>> = vec![None; cuts.len()];
        for (axis, cut) in cuts.iter().enumerate() {
            let Some(cut) = cut.as_ref().filter(|_| !kept.is_whole(&input[axis])) else { continue };
            bounds[axis] = Some(match &output[axis][..] {
                [Segment::Pick { atom, indices }] => {
                    let left = kept.picked(*atom, indices);
                    match Bounds::of_list(&left) {
                        Some(bounds) => bounds,
                        None => return Ok(Gather::instead(axis, &left)),
                    }
                }
                _ => {
                    let rest = from[axis].clone() - cut.start.clone() - cut.len.clone();
                    let [start, len, rest] = kept.part_sizes(&input[axis], [&cut.start, &cut.len, &rest]);
                    Bounds::of_part(start, len, rest)
                }
            });
        }
        self.with_bounds(&kept.inputs, &bounds)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let cuts = super::shared::at_run::at_run(args, &[1, 2, 3, 4], |inputs| self.cuts(inputs))?;
        let mut y = args.tensor(0)?.shallow_clone();
        for (axis, cut) in cuts.into_iter().enumerate() {
            let numbers = cut.and_then(|c| Some((c.start.known()?, c.len.known()?, c.step)));
            let (start, len, step) = numbers.ok_or(OpError::Undetermined)?;
            let axis = axis as i64;
            if len == 0 {
                y = y.f_narrow(axis, 0, 0)?;
            } else if step > 0 {
                y = y.f_slice(axis, start, start + (len - 1) * step + 1, step)?;
            } else {
                let low = start + (len - 1) * step;
                y = y.f_narrow(axis, low, start - low + 1)?.f_flip([axis])?.f_slice(axis, None, None, -step)?;
            }
        }
        Ok(vec![y])
    }
}
