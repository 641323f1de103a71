//! `LinearAttention`: attention without softmax, as a recurrence over a state. ONNX opset 27.
//!
//! q: [b, t, (hq d)], k: [b, t, (hk d)], v: [b, t, (hk e)], past state: [b, hk, d, e], decay (of logarithms): [b, t, (hk d)]
//! or [b, t, hk], beta: [b, t, hk] or [b, t, 1] → y: [b, t, (hq e)], state: [b, hk, d, e].

use super::shared::heads::{factor, kept_factors, positive, share};
use crate::op::prelude::*;

/// `LinearAttention`.
#[derive(Clone, Debug)]
pub struct LinearAttention {
    q_num_heads: i64,
    kv_num_heads: i64,
    /// 0 for 1/√d.
    scale: f32,
    /// Before writing, what the state holds for the key is subtracted from the value.
    delta: bool,
    /// The state decays.
    gated: bool,
    /// A hint without effect on the result.
    chunk_size: i64,
}

const RULES: [(&str, bool, bool); 4] =
    [("linear", false, false), ("gated", false, true), ("delta", true, false), ("gated_delta", true, true)];
const PAST_STATE: usize = 3;
const DECAY: usize = 4;
const BETA: usize = 5;

impl Register for LinearAttention {
    const NAME: &'static str = "LinearAttention";
    const SINCE: &'static [i64] = &[27];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let mut heads = |name: &str| -> Result<i64, OpError> {
            let heads = positive(name, attributes.int(name)?)?;
            heads.ok_or_else(|| OpError::Invalid(format!("{name} is missing")))
        };
        let (q_num_heads, kv_num_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
        share(&q_num_heads.into(), &kv_num_heads.into(), "the heads of q and k")?;
        let name = attributes.string("update_rule")?.unwrap_or_else(|| "gated_delta".into());
        let Some(&(_, delta, gated)) = RULES.iter().find(|rule| rule.0 == name) else {
            return Err(OpError::Invalid(format!("update_rule is '{name}', which ONNX does not define")));
        };
        Ok(LinearAttention {
            q_num_heads,
            kv_num_heads,
            scale: attributes.float_or("scale", 0.0)?,
            delta,
            gated,
            chunk_size: attributes.int_or("chunk_size", 64)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |rule: &str| {
            let case = Case::new(27).float([2, 3, 12]).float([2, 3, 6]).float([2, 3, 8]);
            case.attr("q_num_heads", 4i64).attr("kv_num_heads", 2i64).attr("update_rule", rule).outputs(2)
        };
        vec![
            case("linear"),
            case("gated").float([2, 2, 3, 4]).float_in([2, 3, 6], -1.0, 0.0).attr("scale", 0.5f32),
            case("delta").absent().absent().float_in([2, 3, 2], 0.0, 1.0),
            case("gated_delta").absent().float_in([2, 3, 2], -1.0, 0.0).float_in([2, 3, 1], 0.0, 1.0),
        ]
    }
}

impl LinearAttention {
    /// `d` and `e`.
    fn head_sizes(&self, inputs: &Inputs) -> Result<(Dim, Dim), OpError> {
        let heads = Dim::from(self.kv_num_heads);
        let ([_, _, q], [_, _, k], [_, _, v]) = (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?) else {
            return Err(OpError::invalid("q, k and v need 3 axes each"));
        };
        let head = share(q, &self.q_num_heads.into(), "the width of q and its heads")?;
        expect_same(&head, &share(k, &heads, "the width of k and its heads")?, "the head sizes of q and k")?;
        Ok((head, share(v, &heads, "the width of v and its heads")?))
    }
}

impl Op for LinearAttention {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> =
            vec![("q_num_heads", self.q_num_heads.into()), ("kv_num_heads", self.kv_num_heads.into())];
        let rule = RULES.iter().find(|rule| (rule.1, rule.2) == (self.delta, self.gated));
        list.extend(rule.map(|rule| ("update_rule", rule.0.into())));
        if self.scale != 0.0 {
            list.push(("scale", self.scale.into()));
        }
        if self.chunk_size != 64 {
            list.push(("chunk_size", self.chunk_size.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (head, v_head) = self.head_sizes(inputs)?;
        for (i, name, wanted) in [(DECAY, "decay", self.gated), (BETA, "beta", self.delta)] {
            if inputs.get(i).is_some() != wanted {
                let text = if wanted { "needs" } else { "takes no" };
                return Err(OpError::Invalid(format!("the update rule {text} {name}")));
            }
        }
        let [batch, length, _] = inputs.shape(0)? else { return Err(OpError::Undetermined) };
        let width = v_head.clone() * self.q_num_heads.into();
        let element_type = inputs.element_type(0)?;
        let state_type = inputs.get(PAST_STATE).map_or(element_type, |state| state.element_type);
        Ok(vec![
            Fact::of(element_type, vec![batch.clone(), length.clone(), width]),
            Fact::of(state_type, vec![batch.clone(), self.kv_num_heads.into(), head, v_head]),
        ])
    }

    /// `q: [b, t, (g r d)], k: [b, t, (g d)], v: [b, t, (g e)] → y: [b, t, (g r e)], state: [b, g, d, e]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let (Ok((head, v_head)), Ok([batch, length, _])) = (self.head_sizes(inputs), inputs.shape(0)) else {
            return map;
        };
        let b = factor(&mut map, batch, Role::Free);
        let t = factor(&mut map, length, Role::Blocked("a recurrence"));
        let g = factor(&mut map, &self.kv_num_heads.into(), Role::Free);
        let r = factor(&mut map, &(self.q_num_heads / self.kv_num_heads).into(), Role::Free);
        let d = factor(&mut map, &head, Role::Summed);
        let e = factor(&mut map, &v_head, Role::Free);
        let row = |heads: &[_]| vec![product(b.clone()), product(t.clone()), product(heads)];
        let state = vec![product(b.clone()), product(g.clone()), product(d.clone()), product(e.clone())];
        let width = |i: usize| inputs.get(i).and_then(|f| f.shape.as_deref()?.last());
        let per_key = width(DECAY).is_some_and(|width| *width != self.kv_num_heads.into());
        let decay = if per_key { [&g[..], &d].concat() } else { g.clone() };
        let beta = if width(BETA).is_some_and(|width| width.is(1)) { Vec::new() } else { g.clone() };
        let by_input = [
            row(&[&g[..], &r, &d].concat()),
            row(&[&g[..], &d].concat()),
            row(&[&g[..], &e].concat()),
            state.clone(),
            row(&decay),
            row(&beta),
        ];
        for (i, axes) in by_input.into_iter().enumerate().filter(|(i, _)| inputs.get(*i).is_some()) {
            map.inputs[i] = Some(axes);
        }
        for (output, axes) in map.outputs.iter_mut().zip([row(&[&g[..], &r, &e].concat()), state]) {
            *output = Some(axes);
        }
        map
    }

    /// The default scale, which follows the features of a head, is written down before some of them go.
    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (head, _) = self.head_sizes(&kept.inputs)?;
        let [batch, length, _] = kept.inputs.shape(0)? else { return Err(OpError::Undetermined) };
        let (groups, repeats) = (self.kv_num_heads.into(), (self.q_num_heads / self.kv_num_heads).into());
        let [_, _, g, r, d] = kept_factors(kept, [batch, length, &groups, &repeats, &head]);
        let default_scale = head.known().filter(|_| d != head && self.scale == 0.0);
        Ok(Shrunk::op(LinearAttention {
            q_num_heads: (g.clone() * r).known().unwrap_or(self.q_num_heads),
            kv_num_heads: g.known().unwrap_or(self.kv_num_heads),
            scale: default_scale.map_or(self.scale, |head| 1.0 / (head as f32).sqrt()),
            ..self.clone()
        }))
    }

    /// Writing to the state and reading from it; with the delta rule reading twice.
    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        let (Ok((head, v_head)), Ok([batch, length, _])) = (self.head_sizes(inputs), inputs.shape(0)) else {
            return Dim::unknown();
        };
        let passes = self.q_num_heads.saturating_add(self.kv_num_heads.saturating_mul(1 + i64::from(self.delta)));
        batch.clone() * length.clone() * head * v_head * passes.into()
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let kind = args.tensor(0)?.f_kind()?;
        // The state accumulates over many steps.
        let wide = if kind == Kind::Double { kind } else { Kind::Float };
        let groups = self.kv_num_heads;
        // [b, t, (g …)] as [b, t, g, …].
        let split = |i: usize| -> Result<Tensor, OpError> {
            let x = args.tensor(i)?.f_to_kind(wide)?;
            let width = x.size().last().copied().unwrap_or(0);
            Ok(x.f_unflatten(-1, [groups, width / groups])?)
        };
        let (k, v) = (split(1)?, split(2)?);
        let q = split(0)?.f_unflatten(-1, [self.q_num_heads / groups, -1])?;
        let decay = if self.gated { Some(split(DECAY)?.f_exp()?.f_unsqueeze(-1)?) } else { None };
        let beta = if self.delta { Some(args.tensor(BETA)?.f_to_kind(wide)?.f_unsqueeze(-1)?) } else { None };
        let (&[batch, length, _, head], &[.., v_head]) = (&k.size()[..], &v.size()[..]) else {
            return Err(OpError::invalid("q, k and v need 3 axes each"));
        };
        let mut state = match args.get(PAST_STATE) {
            Some(state) => state.f_to_kind(wide)?,
            None => Tensor::f_zeros([batch, groups, head, v_head], (wide, args.device))?,
        };
        let scale = if self.scale == 0.0 { 1.0 / (head as f64).sqrt() } else { self.scale.into() };
        let mut steps = Vec::new();
        for step in 0..length {
            let at = |x: &Tensor| x.f_select(1, step);
            let (key, mut value) = (at(&k)?.f_unsqueeze(-1)?, at(&v)?.f_unsqueeze(-2)?);
            if let Some(decay) = &decay {
                state = state.f_mul(&at(decay)?)?;
            }
            if let Some(beta) = &beta {
                let held = key.f_transpose(-2, -1)?.f_matmul(&state)?;
                value = value.f_sub(&held)?.f_mul(&at(beta)?.f_unsqueeze(-1)?)?;
            }
            state = state.f_add(&key.f_mul(&value)?)?;
            steps.push(at(&q)?.f_matmul(&state)?);
        }
        let y = match steps.is_empty() {
            true => Tensor::f_zeros([batch, 0, self.q_num_heads * v_head], (wide, args.device))?,
            false => Tensor::f_stack(&steps, 1)?.f_flatten(2, -1)?.f_mul_scalar(scale)?,
        };
        Ok(vec![super::shared::promote(args, 0, y)?, super::shared::promote(args, 1, state)?])
    }
}
