//! `GroupNormalization`: zero mean and unit variance of groups of channels of each sample. ONNX opset 18, 21.
//!
//! x: [N, C, D1, …], scale and bias: [num_groups] before opset 21, [C] since → y like x.

use super::shared::channel_norm;
use crate::op::prelude::*;

/// `GroupNormalization`.
#[derive(Clone, Debug)]
pub struct GroupNormalization {
    num_groups: i64,
    epsilon: f32,
    stash_type: i64,
    /// Scale and bias have one element a group (before opset 21).
    scaled_by_group: bool,
}

impl Register for GroupNormalization {
    const NAME: &'static str = "GroupNormalization";
    const SINCE: &'static [i64] = &[18, 21];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let num_groups = attributes.int("num_groups")?.ok_or_else(|| OpError::invalid("num_groups is missing"))?;
        if num_groups < 1 {
            return Err(OpError::Invalid(format!("num_groups is {num_groups}; it must be at least 1")));
        }
        Ok(GroupNormalization {
            num_groups,
            epsilon: attributes.float_or("epsilon", 1e-5)?,
            stash_type: attributes.int_or("stash_type", 1)?,
            scaled_by_group: cx.opset < 21,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset, scales| Case::new(opset).float([2, 6, 3, 2]).param([scales]).param([scales]);
        vec![
            case(21, 6).attr("num_groups", 2i64),
            case(18, 3).attr("num_groups", 3i64).attr("epsilon", 0.01f32),
            case(21, 6).attr("num_groups", 1i64),
            case(21, 6).attr("num_groups", 6i64).attr("stash_type", 1i64),
            Case::new(18).float([2, 4]).param([2]).param([2]).attr("num_groups", 2i64),
        ]
    }
}

impl Op for GroupNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = vec![("num_groups", self.num_groups.into())];
        if self.epsilon != 1e-5 {
            list.push(("epsilon", self.epsilon.into()));
        }
        if self.stash_type != 1 {
            list.push(("stash_type", self.stash_type.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let groups = self.num_groups;
        let size = |channels: &Dim| if self.scaled_by_group { groups.into() } else { channels.clone() };
        let fact = channel_norm::infer(inputs, 2, size)?;
        let channels = fact.shape.as_deref().and_then(|s| s.get(1)?.known());
        match channels.filter(|c| c % groups != 0) {
            Some(c) => Err(OpError::Invalid(format!("{c} channels are not a multiple of {groups} groups"))),
            None => Ok(vec![fact]),
        }
    }

    /// `x: [n, (g c), …], scale: [(g c)] or [g] → y like x`, where `c` and the rest are mixed.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok([samples, channels, spatial @ ..]) = inputs.shape(0) else { return map };
        let mixed = Role::Mixed("group normalization");
        let groups = Dim::from(self.num_groups);
        let n = map.axis(samples, Role::Free);
        let mut atom = |size: Dim, role: Role| match size.is(1) {
            true => Vec::new(),
            false => vec![map.atom(size, role)],
        };
        let g = atom(groups.clone(), Role::Free);
        let c = atom(channels.floor_div(&groups), mixed.clone());
        let channels = product([g.clone(), c].concat());
        let mut axes = vec![n, channels.clone()];
        axes.extend(spatial.iter().map(|dim| map.axis(dim, mixed.clone())));
        let scale = if self.scaled_by_group { product(g) } else { channels };
        map.inputs[1..].fill(Some(vec![scale]));
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let num_groups = super::shared::convolution::kept_groups(kept, self.num_groups);
        Ok(Shrunk::op(GroupNormalization { num_groups, ..self.clone() }))
    }

    fn annihilates(&self) -> &'static [(usize, usize)] {
        SCALED
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            1 => Initial::Constant(1.0),
            2 => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let channels = x.size().get(1).copied().unwrap_or(0);
        let parameter = |i| -> Result<Tensor, OpError> {
            let parameter = args.tensor(i)?;
            match self.scaled_by_group {
                true => {
                    let repeats = channels / self.num_groups;
                    Ok(parameter.f_repeat_interleave_self_int(repeats, 0, None)?)
                }
                false => Ok(parameter.shallow_clone()),
            }
        };
        let (scale, bias) = (parameter(1)?, parameter(2)?);
        Ok(vec![x.f_group_norm(self.num_groups, Some(&scale), Some(&bias), self.epsilon.into(), true)?])
    }
}
