//! Attention on libtorch.

use secateurs_torch::tch::TchError;

use super::{Attention, MASK, PAST_KEY, PAST_VALUE, VALID_KEYS};
use crate::op::prelude::*;
use crate::ops::shared::heads::{merge, split};
use crate::ops::shared::promote;

impl Attention {
    pub(in crate::ops) fn run(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let packed = match (args.tensor(0)?.dim(), args.tensor(1)?.dim(), args.tensor(2)?.dim()) {
            (3, 3, 3) => true,
            (4, 4, 4) => false,
            _ => return Err(OpError::invalid("q, k and v need 3 axes each or 4 axes each")),
        };
        let heads = |i, heads: Option<i64>| split(args.tensor(i)?, heads.unwrap_or(1)).map_err(OpError::from);
        let q = heads(0, self.q_num_heads)?;
        let after = |past, x: Tensor| match args.get(past) {
            Some(past) => Tensor::f_cat(&[past, &x], 2),
            None => Ok(x),
        };
        let k = after(PAST_KEY, heads(1, self.kv_num_heads)?)?;
        let v = after(PAST_VALUE, heads(2, self.kv_num_heads)?)?;
        let head = q.size().last().copied().unwrap_or(1);
        let scale = self.scale.map_or_else(|| 1.0 / (head as f64).sqrt(), f64::from);

        let simple = args.get(MASK).is_none()
            && args.get(VALID_KEYS).is_none()
            && !(self.is_causal && args.get(PAST_KEY).is_some())
            && self.window == [-1, -1]
            && self.softcap == 0.0
            && self.softmax_precision.is_none()
            && args.outputs.len() < 4
            && q.f_kind()? == v.f_kind()?;
        let (y, scores) = if simple {
            let grouped = q.size()[1] != k.size()[1];
            let mask = None::<&Tensor>;
            (Tensor::f_scaled_dot_product_attention(&q, &k, &v, mask, 0.0, self.is_causal, scale, grouped)?, None)
        } else {
            let (y, scores) = self.attend(args, &q, &k, &v, scale)?;
            (y, Some(scores))
        };
        let y = if packed { merge(&y)? } else { y };
        let outputs = [Some(y), Some(k), Some(v), scores].into_iter().flatten().enumerate();
        outputs.map(|(i, tensor)| promote(args, i, tensor)).collect()
    }

    /// The output and the scores at the stage that `qk_matmul_output_mode` asks for.
    fn attend(
        &self,
        args: &Args,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        scale: f64,
    ) -> Result<(Tensor, Tensor), OpError> {
        let repeats = q.size()[1] / k.size()[1].max(1);
        let repeat = |x: &Tensor| match repeats {
            0 | 1 => Ok(x.shallow_clone()),
            _ => x.f_repeat_interleave_self_int(repeats, 1, None),
        };
        let (queries, keys) = (q.size()[2], k.size()[2]);
        let (allowed, added) = self.mask(args, q.f_kind()?, queries, keys)?;
        let mut stages = Vec::with_capacity(4);
        let mut scores = q.f_mul_scalar(scale)?.f_matmul(&repeat(k)?.f_transpose(-2, -1)?)?;
        stages.push(scores.shallow_clone());
        if self.softcap != 0.0 {
            let cap = f64::from(self.softcap);
            scores = scores.f_div_scalar(cap)?.f_tanh()?.f_mul_scalar(cap)?;
        }
        stages.push(scores.shallow_clone());
        if let Some(added) = &added {
            scores = scores.f_add(added)?;
        }
        if let Some(allowed) = &allowed {
            scores = scores.f_masked_fill(&allowed.f_logical_not()?, f64::NEG_INFINITY)?;
        }
        stages.push(scores.shallow_clone());
        // A query that may attend to no key gets zeros.
        let idle = allowed.map(|allowed| allowed.f_any_dim(-1, true)?.f_logical_not()).transpose()?;
        if let Some(idle) = &idle {
            scores = scores.f_masked_fill(idle, 0.0)?;
        }
        let kind = scores.f_kind()?;
        let precision = self.softmax_precision.and_then(|n| ElementType::from_onnx(i32::try_from(n).ok()?));
        let precision = precision.map(|p| args.kind(p)).transpose()?;
        let mut weights = scores.f_softmax(-1, precision)?.f_to_kind(kind)?;
        if let Some(idle) = &idle {
            weights = weights.f_masked_fill(idle, 0.0)?;
        }
        stages.push(weights.shallow_clone());
        let y = weights.f_to_kind(v.f_kind()?)?.f_matmul(&repeat(v)?)?;
        Ok((y, stages.swap_remove(self.qk_matmul_output_mode as usize)))
    }

    /// Which keys a query may attend to, and what is added to the scores; both broadcast to [b, h, queries, keys].
    fn mask(
        &self,
        args: &Args,
        kind: Kind,
        queries: i64,
        keys: i64,
    ) -> Result<(Option<Tensor>, Option<Tensor>), OpError> {
        let range = |n: i64| Tensor::f_arange(n, (Kind::Int64, args.device));
        let key = range(keys)?;
        let valid = args.get(VALID_KEYS).map(|n| n.f_reshape([-1, 1, 1, 1])).transpose()?;
        let position = range(queries)?.f_unsqueeze(-1)?;
        let position = match (args.get(PAST_KEY), &valid) {
            (Some(past), _) => position.f_add_scalar(past.size()[2])?,
            (None, Some(valid)) => position.f_add(&valid.f_sub_scalar(queries)?)?,
            (None, None) => position,
        };
        let mut allowed = Vec::new();
        // Exporters may write the largest integer for no limit.
        let [left, right] = self.window.map(|size| size.min(i32::MAX.into()));
        if left >= 0 {
            allowed.push(key.f_ge_tensor(&position.f_sub_scalar(left)?)?);
        }
        if self.is_causal {
            allowed.push(key.f_le_tensor(&position)?);
        } else if right >= 0 {
            allowed.push(key.f_le_tensor(&position.f_add_scalar(right)?)?);
        }
        if let Some(valid) = &valid {
            allowed.push(key.f_lt_tensor(valid)?);
        }
        let mut added = None;
        if let Some(mask) = args.get(MASK) {
            let missing = keys - mask.size().last().copied().unwrap_or(keys);
            let pad = |mask: &Tensor, value: f64| match missing > 0 {
                true => mask.f_pad([0, missing], "constant", value),
                false => Ok(mask.shallow_clone()),
            };
            if mask.f_kind()? == Kind::Bool {
                allowed.push(pad(mask, 0.0)?);
            } else {
                let mask = pad(&mask.f_to_kind(kind)?, f64::NEG_INFINITY)?;
                allowed.push(mask.f_isneginf()?.f_logical_not()?);
                added = Some(mask);
            }
        }
        let both = |a: Result<Tensor, TchError>, b: Tensor| a?.f_logical_and(&b);
        let mut allowed = allowed.into_iter();
        let allowed = allowed.next().map(|first| allowed.fold(Ok(first), both)).transpose()?;
        Ok((allowed, added))
    }
}
