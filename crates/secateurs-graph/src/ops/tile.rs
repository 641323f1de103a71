//! `Tile`: the input several times over along each axis. ONNX opset 1, 6, 13.

use super::shared::content::rearrange;
use crate::op::prelude::*;

/// `Tile`.
#[derive(Clone, Debug)]
pub struct Tile;

impl Register for Tile {
    const NAME: &'static str = "Tile";
    const SINCE: &'static [i64] = &[1, 6, 13];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Tile)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], by: &[i64]| Case::new(13).float(x.to_vec()).int_values(by);
        vec![
            case(&[2, 3], &[2, 1]),
            case(&[2, 1, 3], &[1, 4, 2]),
            case(&[2, 3], &[0, 2]),
            Case::new(9).int_values(&[4, 5]).int_values(&[2]),
        ]
    }
}

/// How often each axis is repeated; `None` where only a run can tell.
fn repeats<'a>(inputs: &Inputs<'a>) -> Result<Option<&'a [Dim]>, OpError> {
    let rank = inputs.shape(0)?.len();
    match inputs.fact(1)?.ints() {
        Some(repeats) if repeats.len() != rank => {
            Err(OpError::Invalid(format!("there are {} repeats for {rank} axes", repeats.len())))
        }
        repeats => Ok(repeats),
    }
}

impl Op for Tile {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, from) = (inputs.fact(0)?, inputs.shape(0)?);
        let shape: Vec<Dim> = match repeats(inputs)? {
            Some(repeats) => from.iter().zip(repeats).map(|(dim, n)| dim.clone() * n.clone()).collect(),
            None => from.iter().map(|_| Dim::unknown()).collect(),
        };
        let content = rearrange(fact, &shape, |to, at| {
            for ((at, to), size) in at.iter_mut().zip(to).zip(from) {
                *at = size.known().and_then(|n| to.checked_rem(n as usize)).unwrap_or(0);
            }
        });
        Ok(vec![Fact::of(fact.element_type, shape).with_content(content)])
    }

    /// `x: [a, …] → y: [(r a), …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(from) = inputs.shape(0) else { return map };
        let Ok(Some(repeats)) = repeats(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "repeated at run time");
        };
        let (mut input, mut output) = (Vec::new(), Vec::new());
        for (size, times) in from.iter().zip(repeats) {
            let mut atoms = Vec::new();
            if !times.is(1) {
                atoms.push(map.atom(times.clone(), Role::Made));
            }
            let axis = map.axis(size, Role::Free);
            if let [Segment::Product(own)] = &axis[..] {
                atoms.extend(own);
            }
            input.push(axis);
            output.push(product(atoms));
        }
        (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (Ok(Some(repeats)), Some(axes)) = (repeats(&kept.inputs), &kept.map.outputs[0]) else {
            return Ok(Shrunk::default());
        };
        let times = repeats.iter().zip(axes).map(|(times, axis)| match &axis[..] {
            [Segment::Product(atoms)] if !times.is(1) => atoms.first().map_or(times.clone(), |made| kept.size(*made)),
            _ => times.clone(),
        });
        Ok(Shrunk::default().control(1, kept.inputs.get(1), times.collect()))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let repeats = args.ints(1)?;
        if repeats.len() != x.dim() || repeats.iter().any(|n| *n < 0) {
            return Err(OpError::Invalid(format!("repeats are {repeats:?} for {} axes", x.dim())));
        }
        Ok(vec![x.f_repeat(repeats)?])
    }
}
