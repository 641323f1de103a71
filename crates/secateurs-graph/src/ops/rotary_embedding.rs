//! `RotaryEmbedding`: rotates pairs of features of each head by angles that grow with the position. ONNX opset 23.
//!
//! x: [b, h, s, d] or with packed heads [b, s, (h d)]; cosines and sines: [b, s, r / 2], or [positions, r / 2] with
//! position ids [b, s] → y like x. r is `rotary_embedding_dim`, the features that turn; the others stay.

use super::shared::heads::{factor, kept_factors, positive, share};
use crate::op::prelude::*;

/// `RotaryEmbedding`.
#[derive(Clone, Debug)]
pub struct RotaryEmbedding {
    /// Neighbours are pairs; else the first half pairs with the second.
    interleaved: bool,
    num_heads: Option<i64>,
    /// 0 for all.
    rotary_embedding_dim: i64,
}

impl Register for RotaryEmbedding {
    const NAME: &'static str = "RotaryEmbedding";
    const SINCE: &'static [i64] = &[23];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let rotary_embedding_dim = attributes.int_or("rotary_embedding_dim", 0)?;
        if rotary_embedding_dim < 0 || rotary_embedding_dim % 2 != 0 {
            let text = format!("rotary_embedding_dim is {rotary_embedding_dim}; it must be even");
            return Err(OpError::Invalid(text));
        }
        Ok(RotaryEmbedding {
            interleaved: attributes.flag("interleaved", false)?,
            // Exporters write 0 where the input has heads on an axis of their own.
            num_heads: positive("num_heads", attributes.int("num_heads")?.filter(|n| *n != 0))?,
            rotary_embedding_dim,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let table = |case: Case, half: i64| case.param([7, half]).param([7, half]).ints([2, 3], 0..7);
        let wide = || Case::new(23).float([2, 4, 3, 8]);
        let packed = || Case::new(23).float([2, 3, 32]).attr("num_heads", 4i64);
        vec![
            table(wide(), 4),
            table(packed(), 4),
            table(packed(), 4).attr("interleaved", 1i64),
            wide().float([2, 3, 4]).float([2, 3, 4]).attr("interleaved", 1i64),
            table(wide(), 2).attr("rotary_embedding_dim", 4i64),
            table(packed(), 2).attr("rotary_embedding_dim", 4i64).attr("interleaved", 1i64),
        ]
    }
}

impl RotaryEmbedding {
    /// Of heads packed into the last axis, of which so many features turn: what other attention ops work by.
    #[cfg(feature = "torch")]
    pub(super) fn packed(heads: i64, turned: i64, interleaved: bool) -> RotaryEmbedding {
        RotaryEmbedding { interleaved, num_heads: Some(heads), rotary_embedding_dim: turned }
    }

    /// Batch, heads, length, features of a head.
    fn sizes(&self, x: &[Dim]) -> Result<[Dim; 4], OpError> {
        match x {
            [batch, heads, length, head] => Ok([batch.clone(), heads.clone(), length.clone(), head.clone()]),
            [batch, length, width] => {
                let heads = self.num_heads.ok_or_else(|| OpError::invalid("num_heads is missing"))?;
                let head = share(width, &heads.into(), "the width and the heads")?;
                Ok([batch.clone(), heads.into(), length.clone(), head])
            }
            _ => Err(OpError::Invalid(format!("the input has {} axes; it needs 3 or 4", x.len()))),
        }
    }

    /// Of a head's features, the pairs that turn and those that stay.
    fn parts(&self, head: &Dim) -> [Dim; 2] {
        let turned = if self.rotary_embedding_dim == 0 { head.clone() } else { self.rotary_embedding_dim.into() };
        [turned.floor_div(&2.into()), head.clone() - turned]
    }
}

/// A product of heads and a direct sum is no axis of ours.
fn is_apart(shape: &[Dim], heads: &Dim, rest: &Dim) -> bool {
    shape.len() == 3 && !rest.is(0) && !heads.is(1)
}

impl Op for RotaryEmbedding {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let ints = [
            ("interleaved", self.interleaved.then_some(1)),
            ("num_heads", self.num_heads),
            ("rotary_embedding_dim", Some(self.rotary_embedding_dim).filter(|n| *n != 0)),
        ];
        ints.into_iter().filter_map(|(name, value)| Some((name, value?.into()))).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let [.., head] = self.sizes(inputs.shape(0)?)?;
        let turned = if self.rotary_embedding_dim == 0 { head.clone() } else { self.rotary_embedding_dim.into() };
        if let (Some(turned), Some(head)) = (turned.known(), head.known())
            && turned > head
        {
            return Err(OpError::Invalid(format!("rotary_embedding_dim is {turned} and a head has {head} features")));
        }
        let half = share(&turned, &2.into(), "the features that turn and their pairs")?;
        for i in [1, 2] {
            if let Some(last) = inputs.fact(i)?.shape.as_deref().and_then(<[Dim]>::last) {
                expect_same(last, &half, "the width of the cosines or sines and half the features that turn")?;
            }
        }
        Ok(vec![Fact { content: None, ..inputs.fact(0)?.clone() }])
    }

    /// `x: [b, h, s, (pair i) ⊕ rest], cosines: [b, s, i]`; interleaved `(i pair)`; packed `(h pair i)`.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok([batch, heads, length, head]) = self.sizes(shape) else { return map };
        let [half, rest] = self.parts(&head);
        let packed = shape.len() == 3;
        let apart = is_apart(shape, &heads, &rest);
        let b = product(factor(&mut map, &batch, Role::Free));
        let s = product(factor(&mut map, &length, Role::Free));
        let i = match apart {
            true => factor(&mut map, &half, Role::Blocked("heads that turn in part")),
            false => factor(&mut map, &half, Role::Free),
        };
        let features = if apart {
            map.axis(&shape[2], Role::Blocked("heads that turn in part"))
        } else {
            let pair = factor(&mut map, &2.into(), Role::Blocked("pairs of features that turn together"));
            let pairs = if self.interleaved { [&i[..], &pair].concat() } else { [&pair[..], &i].concat() };
            let h = factor(&mut map, &heads, Role::Free);
            let mut features = product(if packed { [&h[..], &pairs].concat() } else { pairs });
            if !rest.is(0) {
                features.extend(product(factor(&mut map, &rest, Role::Free)));
            }
            if !packed {
                map.inputs[0] = Some(vec![b.clone(), product(h), s.clone(), features.clone()]);
            }
            features
        };
        if packed {
            map.inputs[0] = Some(vec![b.clone(), s.clone(), features]);
        }
        map.outputs[0] = map.inputs[0].clone();
        let i = product(i);
        let table = match inputs.get(3) {
            Some(_) => {
                map.inputs[3] = Some(vec![b, s]);
                let positions = inputs.shape(1).ok().and_then(|shape| shape.first());
                positions.map(|n| vec![map.axis(n, Role::Blocked("positions that are looked up")), i])
            }
            None => Some(vec![b, s, i]),
        };
        map.inputs[1..inputs.len().min(3)].fill(table);
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let shape = kept.inputs.shape(0)?;
        let [batch, heads, length, head] = self.sizes(shape)?;
        let [half, rest] = self.parts(&head);
        if is_apart(shape, &heads, &rest) {
            return Ok(Shrunk::default());
        }
        let [_, _, i, _, h] = kept_factors(kept, [&batch, &length, &half, &2.into(), &heads]);
        let turned = (i * 2.into()).known().filter(|_| self.rotary_embedding_dim != 0);
        Ok(Shrunk::op(RotaryEmbedding {
            num_heads: self.num_heads.map(|old| h.known().unwrap_or(old)),
            rotary_embedding_dim: turned.unwrap_or(self.rotary_embedding_dim),
            ..self.clone()
        }))
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0 => InputRole::Data,
            1 | 2 => InputRole::Statistic,
            _ => InputRole::Control,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::heads::{merge, split};
        let x = args.tensor(0)?;
        let packed = x.dim() == 3;
        let x = split(x, self.num_heads.unwrap_or(1))?;
        let head = x.size().last().copied().unwrap_or(0);
        let turned = if self.rotary_embedding_dim == 0 { head } else { self.rotary_embedding_dim };
        let (turning, rest) = (x.f_narrow(-1, 0, turned)?, x.f_narrow(-1, turned, head - turned)?);
        // [b, 1, s, i]
        let angles = |i: usize| -> Result<Tensor, OpError> {
            let table = args.tensor(i)?;
            let rows = match args.get(3) {
                Some(ids) => table.f_index_select(0, &ids.f_reshape([-1])?)?.f_unflatten(0, ids.size())?,
                None => table.shallow_clone(),
            };
            Ok(rows.f_unsqueeze(1)?)
        };
        let (cos, sin) = (angles(1)?, angles(2)?);
        let (pairs, axis) = match self.interleaved {
            true => (turning.f_unflatten(-1, [turned / 2, 2])?, -1),
            false => (turning.f_unflatten(-1, [2, turned / 2])?, -2),
        };
        let (a, b) = (pairs.f_select(axis, 0)?, pairs.f_select(axis, 1)?);
        let real = a.f_mul(&cos)?.f_sub(&b.f_mul(&sin)?)?;
        let imaginary = a.f_mul(&sin)?.f_add(&b.f_mul(&cos)?)?;
        let turned = Tensor::f_stack(&[real, imaginary], axis)?.f_flatten(-2, -1)?;
        let y = Tensor::f_cat(&[turned, rest], -1)?;
        Ok(vec![if packed { merge(&y)? } else { y }])
    }
}
