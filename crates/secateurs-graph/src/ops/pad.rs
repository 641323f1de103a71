//! `Pad`: indices added at the ends of axes, or cut off where the number is negative.
//! ONNX opset 1, 2, 11, 13, 18, 19, 21, 23, 24, 25.
//!
//! `pads` lists all starts, then all ends; an attribute before opset 11, an input since.

use super::Gather;
use super::shared::content::{flat_index, join, pick, sizes};
use super::shared::padding::Border;
use super::shared::pieces;
use crate::op::prelude::*;

/// `Pad`.
#[derive(Clone, Debug)]
pub struct Pad {
    border: Border,
    pads: Option<Vec<i64>>,
    value: f32,
}

impl Register for Pad {
    const NAME: &'static str = "Pad";
    const SINCE: &'static [i64] = &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let border = match attributes.string("mode")?.as_deref() {
            None | Some("constant") => Border::Constant,
            Some("reflect") => Border::Reflect,
            Some("edge") => Border::Edge,
            Some("wrap") => Border::Wrap,
            Some(other) => {
                return Err(OpError::Invalid(format!("mode is '{other}', which ONNX does not define")));
            }
        };
        Ok(Pad { border, pads: attributes.ints("pads")?, value: attributes.float_or("value", 0.0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset: i64, pads: &[i64]| Case::new(opset).float([2, 4, 5]).int_values(pads);
        let value = secateurs_onnx::Tensor::scalar(1.5f32);
        vec![
            Case::new(9).float([2, 3]).attr("pads", vec![0i64, 1, 2, 0]).attr("value", 0.5f32),
            case(13, &[0, 1, 2, 0, 3, 0]).constant(value.clone()),
            case(13, &[0, -1, 2, 0, 3, -2]),
            case(18, &[1, -1, 2, 0]).absent().int_values(&[-1, 0]),
            case(13, &[0, 2, 3, 0, 3, 1]).attr("mode", "reflect"),
            case(11, &[0, 2, 3, 0, 3, 1]).attr("mode", "edge"),
            case(19, &[0, 2, 3, 0, 6, 1]).attr("mode", "wrap"),
            case(13, &[0, -1, 3, 0, 3, 1]).attr("mode", "edge").without_runtime(),
            case(13, &[0, 0, 3, 0, 0, 2]).attr("mode", "reflect"),
            case(13, &[0, 2, 0, 0, 1, 0]).attr("mode", "edge"),
            Case::new(13).int_values(&[1, 2]).int_values(&[1, 2]),
        ]
    }
}

/// Beyond this many indices it is not listed where each of them comes from.
const MAX_SOURCES: usize = 1 << 16;

impl Pad {
    /// Padding with zeros, by as much as an input says.
    pub(super) fn zeros() -> Pad {
        Pad { border: Border::Constant, pads: None, value: 0.0 }
    }

    /// The op with other padding, given for every axis.
    fn with_pads(&self, inputs: &Inputs, pads: Vec<(Dim, Dim)>) -> Result<Shrunk, OpError> {
        let axes = match inputs.get(3) {
            None => (0..pads.len()).collect(),
            Some(_) => {
                let axes = inputs.ints(3)?;
                axes.into_iter().map(|axis| normalize_axis(axis, pads.len())).collect::<Result<Vec<_>, _>>()?
            }
        };
        let starts = axes.iter().map(|&axis| pads[axis].0.clone());
        let list: Vec<Dim> = starts.chain(axes.iter().map(|&axis| pads[axis].1.clone())).collect();
        if self.pads.is_none() {
            return Ok(Shrunk::default().control(1, inputs.get(1), list));
        }
        let numbers = list.iter().map(Dim::known).collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?;
        Ok(Shrunk::op(Pad { pads: Some(numbers), ..self.clone() }))
    }

    /// The padding of every axis at its start and end; `None` where only a run can tell.
    fn pads(&self, inputs: &Inputs) -> Result<Option<Vec<(Dim, Dim)>>, OpError> {
        let rank = inputs.shape(0)?.len();
        let pads = match (&self.pads, inputs.get(1)) {
            (Some(pads), _) => pads.iter().copied().map(Dim::from).collect(),
            (None, Some(fact)) => match fact.ints() {
                Some(pads) => pads.to_vec(),
                None => return Ok(None),
            },
            (None, None) => return Err(OpError::invalid("no pads are given")),
        };
        let axes = match inputs.get(3) {
            None => (0..rank).collect(),
            Some(fact) => match fact.known_ints() {
                Some(axes) => {
                    normalize_axes(&axes, rank)?;
                    axes.into_iter().map(|axis| normalize_axis(axis, rank)).collect::<Result<Vec<_>, _>>()?
                }
                None => return Ok(None),
            },
        };
        if pads.len() != 2 * axes.len() {
            return Err(OpError::Invalid(format!("there are {} pads for {} axes", pads.len(), axes.len())));
        }
        let mut all = vec![(Dim::from(0), Dim::from(0)); rank];
        for (i, &axis) in axes.iter().enumerate() {
            all[axis] = (pads[i].clone(), pads[axes.len() + i].clone());
        }
        Ok(Some(all))
    }

    /// For every axis and index of the output, the index of the input; `None` in place of a constant.
    fn sources(&self, shape: &[usize], pads: &[(i64, i64)], limit: usize) -> Option<Vec<Vec<Option<usize>>>> {
        let axes = shape.iter().zip(pads).map(|(&size, &(before, after))| {
            let size = i64::try_from(size).ok()?;
            // What is cropped is not mirrored or repeated.
            let (first, last) = (before.checked_neg()?.max(0), size.checked_add(after)?.min(size));
            let kept = last.checked_sub(first)?;
            let len = size.checked_add(before)?.checked_add(after)?;
            usize::try_from(len).ok().filter(|n| *n <= limit)?;
            let at = |i: i64| self.border.source(i - before.max(0), kept).map(|i| (i + first) as usize);
            Some((0..len).map(at).collect())
        });
        axes.collect()
    }

    fn content(&self, inputs: &Inputs, pads: &[(Dim, Dim)], to: &[Dim]) -> Option<Content> {
        let x = inputs.get(0)?;
        let content = x.content.as_ref()?;
        let value = match inputs.get(2) {
            Some(fact) => fact.content.clone()?,
            None if matches!(content, Content::Ints(_)) => Content::from(vec![Dim::from(self.value as i64)]),
            None => Content::from(vec![f64::from(self.value)]),
        };
        let from = sizes(x.shape.as_deref()?)?;
        let pads = pads.iter().map(|(a, b)| a.known().zip(b.known())).collect::<Option<Vec<_>>>()?;
        let sources = self.sources(&from, &pads, crate::fact::MAX_CONTENT)?;
        pick(&join(&[content, &value])?, to, |at| {
            let source = at.iter().zip(&sources).map(|(i, s)| s[*i]).collect::<Option<Vec<_>>>();
            source.map_or(Some(content.len()), |at| flat_index(&at, &from))
        })
    }
}

impl Op for Pad {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        match self.border {
            Border::Constant => {}
            Border::Reflect => list.push(("mode", "reflect".into())),
            Border::Edge => list.push(("mode", "edge".into())),
            Border::Wrap => list.push(("mode", "wrap".into())),
        }
        list.extend(self.pads.iter().map(|pads| ("pads", pads.clone().into())));
        if self.value != 0.0 {
            list.push(("value", self.value.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, from) = (inputs.fact(0)?, inputs.shape(0)?);
        let Some(pads) = self.pads(inputs)? else {
            return Ok(vec![Fact::of(fact.element_type, from.iter().map(|_| Dim::unknown()).collect())]);
        };
        let padded = from.iter().zip(&pads).map(|(dim, (a, b))| dim.clone() + a.clone() + b.clone());
        let shape: Vec<Dim> = padded.collect();
        let content = self.content(inputs, &pads, &shape);
        Ok(vec![Fact::of(fact.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(from), Ok(pads), Some(to)) = (inputs.shape(0), self.pads(inputs), &outputs[0].shape) else {
            return map;
        };
        let Some(pads) = pads else {
            return AxisMap::blocked(inputs.facts, outputs, "padded at run time");
        };
        // A list of indices can take the place of mirrored or repeated ones, along one axis.
        let alone = pads.iter().filter(|(first, last)| !first.is(0) || !last.is(0)).count() == 1;
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for ((size, (first, last)), len) in from.iter().zip(&pads).zip(to) {
            let known = sizes(std::slice::from_ref(size)).zip(first.known().zip(last.known()));
            let sources = known.and_then(|(size, pads)| self.sources(&size, &[pads], MAX_SOURCES)?.pop());
            let (before, after) = match sources.and_then(|s| s.into_iter().collect::<Option<Vec<_>>>()) {
                _ if self.border == Border::Constant || (first.is(0) && last.is(0)) => {
                    pieces::pad(&mut map, size, first, last)
                }
                Some(indices) if alone => pieces::picked(&mut map, size, &indices),
                _ => pieces::blocked(&mut map, size, len, "padding that repeats elements"),
            };
            input.push(before);
            output.push(after);
        }
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (from, Some(mut pads)) = (kept.inputs.shape(0)?, self.pads(&kept.inputs)?) else {
            return Ok(Shrunk::default());
        };
        let (Some(input), Some(output)) = (&kept.map.inputs[0], &kept.map.outputs[0]) else {
            return Ok(Shrunk::default());
        };
        for (axis, pads) in pads.iter_mut().enumerate() {
            if kept.is_whole(&input[axis]) && kept.is_whole(&output[axis]) || (pads.0.is(0) && pads.1.is(0)) {
                continue;
            }
            if self.border == Border::Constant {
                *pads = pieces::kept_pads(kept, &input[axis], &output[axis], &from[axis], pads);
                continue;
            }
            let sources = sizes(&from[axis..=axis]).zip(pads.0.known().zip(pads.1.known()));
            let sources = sources.and_then(|(size, pads)| self.sources(&size, &[pads], MAX_SOURCES)?.pop());
            let (Some(sources), Some(left)) = (sources, kept.axis_indices(&input[axis])) else {
                return Err(OpError::Undetermined);
            };
            let place = |source: &Option<usize>| left.binary_search(&(*source)?).ok();
            let survivors: Vec<usize> = sources.iter().filter_map(place).collect();
            return Ok(Gather::instead(axis, &survivors));
        }
        self.with_pads(&kept.inputs, pads)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, index_tensor};
        let pads = at_run(args, &[1, 3], |inputs| self.pads(inputs))?.ok_or(OpError::Undetermined)?;
        let pads = pads.iter().map(|(a, b)| a.known().zip(b.known())).collect::<Option<Vec<_>>>();
        let pads = pads.ok_or(OpError::Undetermined)?;
        let x = args.tensor(0)?;
        if self.border == Border::Constant {
            let value = match args.get(2) {
                Some(_) => args.inputs.get(2).and_then(Fact::known_ints).map_or_else(
                    || args.floats(2),
                    |ints| Ok(ints.into_iter().map(|n| n as f64).collect()),
                )?,
                None => vec![f64::from(self.value)],
            };
            let value = value.first().copied().unwrap_or(0.0);
            return Ok(vec![super::shared::padding::constant_pad(x, &pads, value)?]);
        }
        let shape: Vec<usize> = x.size().into_iter().map(|n| n as usize).collect();
        let too_large = || OpError::Unsupported("padding by this much".into());
        let sources = self.sources(&shape, &pads, 1 << 24).ok_or_else(too_large)?;
        let mut y = x.shallow_clone();
        for (axis, (indices, pads)) in sources.into_iter().zip(&pads).enumerate() {
            if *pads == (0, 0) {
                continue;
            }
            let indices = indices.into_iter().map(|i| i.map(|i| i as i64)).collect::<Option<Vec<_>>>();
            let indices = indices.ok_or_else(|| OpError::invalid("an axis without elements cannot be extended"))?;
            y = y.f_index_select(axis as i64, &index_tensor(&indices, args.device)?)?;
        }
        Ok(vec![y])
    }
}
