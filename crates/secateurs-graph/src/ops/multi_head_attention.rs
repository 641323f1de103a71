//! `MultiHeadAttention`: attention over packed heads, with a bias for what is projected. ONNX Runtime, version 1.
//!
//! q: [b, s, (h d)], k: [b, t, (h d)], v: [b, t, (h e)], bias: [(h d) ⊕ (h d) ⊕ (h e)], key padding mask: [b, p + t] or
//! [b, s, p + t], attention bias: broadcasts to [b, h, s, p + t], past key: [b, h, p, d], past value: [b, h, p, e] →
//! y: [b, s, (h e)], and on request keys and values after the past ones.

use super::attention::Attention;
use super::shared::MICROSOFT;
use super::shared::heads::positive;
use crate::op::prelude::*;

/// `MultiHeadAttention`.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    attention: Attention,
    heads: i64,
    /// Added to the scores of keys that the padding mask leaves out.
    mask_filter_value: f32,
}

const BIAS: usize = 3;
const PADDING: usize = 4;
const ADDED: usize = 5;
const PAST: [usize; 2] = [6, 7];

impl Register for MultiHeadAttention {
    const NAME: &'static str = "MultiHeadAttention";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let heads = positive("num_heads", attributes.int("num_heads")?)?;
        let heads = heads.ok_or_else(|| OpError::invalid("the attribute 'num_heads' is missing"))?;
        let scale = attributes.float("scale")?.filter(|scale| *scale != 0.0);
        let mut attention = Attention::packed(heads, heads, scale);
        attention.is_causal = attributes.flag("unidirectional", false)?;
        let mask_filter_value = attributes.float_or("mask_filter_value", -10000.0)?;
        Ok(MultiHeadAttention { attention, heads, mask_filter_value })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = || {
            Case::new(17).float([2, 3, 8]).float([2, 5, 8]).float([2, 5, 12]).attr("num_heads", 2i64)
        };
        let padding = || Tensor::from_slice(vec![2, 5], &[1i32, 1, 1, 0, 0, 1, 1, 1, 1, 1]).unwrap();
        let own = || Case::new(17).float([2, 3, 8]).float([2, 3, 8]).float([2, 3, 8]).attr("num_heads", 2i64);
        vec![
            case(),
            case().param([28]).attr("scale", 0.3f32),
            case().absent().fed(padding()),
            case().param([28]).absent().float([1, 2, 3, 5]),
            own().attr("unidirectional", 1i64),
            own().absent().absent().absent().float([2, 2, 4, 4]).float([2, 2, 4, 4]).outputs(3),
        ]
    }
}

impl MultiHeadAttention {
    /// The inputs of the attention that this one works by: q, k, v, a mask, past keys and values.
    fn inner<'a>(inputs: &Inputs<'a>) -> Result<[Option<&'a Fact>; 6], OpError> {
        let rank = |i: usize| inputs.get(i).and_then(Fact::rank);
        if (0..3).any(|i| inputs.get(i).is_none() || rank(i).is_some_and(|rank| rank != 3)) {
            let text = "MultiHeadAttention of queries, keys and values that are not [batch, length, width] each";
            return Err(OpError::Unsupported(text.into()));
        }
        if rank(PADDING).is_some_and(|rank| !(2..=3).contains(&rank)) {
            return Err(OpError::Unsupported("key_padding_mask of other than 2 or 3 axes".into()));
        }
        if inputs.len() > 8 {
            return Err(OpError::Unsupported("past_sequence_length or cache_indirection of MultiHeadAttention".into()));
        }
        let [key, value] = PAST.map(|i| inputs.get(i));
        Ok([inputs.get(0), inputs.get(1), inputs.get(2), inputs.get(ADDED), key, value])
    }
}

impl Op for MultiHeadAttention {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = vec![("num_heads", self.heads.into())];
        list.extend(self.attention.scale.map(|scale| ("scale", scale.into())));
        if self.attention.is_causal {
            list.push(("unidirectional", true.into()));
        }
        if self.mask_filter_value != -10000.0 {
            list.push(("mask_filter_value", self.mask_filter_value.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let inner = Self::inner(inputs).map_err(OpError::in_inference)?;
        let mut outputs = self.attention.infer(&Inputs { facts: &inner, ..*inputs })?;
        if let Some(bias) = inputs.get(BIAS).and_then(|bias| bias.shape.as_deref()) {
            let [q, k, v] = [inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?].map(|shape| shape[2].clone());
            let [size] = bias else { return Err(OpError::invalid("the bias needs 1 axis")) };
            expect_same(size, &(q + k + v), "the bias and the widths of q, k and v")?;
        }
        outputs.truncate(inputs.outputs);
        Ok(outputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let Ok(inner) = Self::inner(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "a form of attention that is not supported");
        };
        let mut map = self.attention.axis_map(&Inputs { facts: &inner, ..*inputs }, outputs);
        let own = std::mem::take(&mut map.inputs);
        let [q, k, v, added, past_key, past_value] = &own[..] else { return map };
        map.inputs = vec![None; inputs.len()];
        let axis = |axes: &Option<Vec<Axis>>, i: usize| axes.as_ref().map(|axes| axes[i].clone());
        let width = [q, k, v].map(|axes| axis(axes, 2).unwrap_or_default()).concat();
        let total = [axis(past_key, 2).unwrap_or_default(), axis(k, 1).unwrap_or_default()].concat();
        let padding = match inputs.get(PADDING).and_then(Fact::rank) {
            Some(3) => [axis(q, 0), axis(q, 1), Some(total)],
            _ => [axis(q, 0), None, Some(total)],
        };
        let all = [
            q.clone(),
            k.clone(),
            v.clone(),
            Some(vec![width]),
            Some(padding.into_iter().flatten().collect()),
            added.clone(),
            past_key.clone(),
            past_value.clone(),
        ];
        for (i, axes) in all.into_iter().enumerate() {
            if inputs.get(i).is_some() {
                map.inputs[i] = axes;
            }
        }
        if inputs.get(BIAS).is_some() {
            // A bias is added to queries and keys before they meet, so that zeros at the edge are none inside.
            let width = q.iter().filter_map(|axes| axes.get(2)).flatten();
            let atoms: Vec<_> = width
                .flat_map(|segment| match segment {
                    Segment::Product(atoms) => atoms.clone(),
                    Segment::Pick { atom, .. } => vec![*atom],
                })
                .collect();
            for atom in atoms {
                let role = &mut map.atoms[atom.0].role;
                if *role == Role::Summed {
                    *role = Role::Blocked("the bias of MultiHeadAttention");
                }
            }
        }
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let inner = Self::inner(&kept.inputs)?;
        let attention = self.attention.shrunk(&kept.with_inputs(Inputs { facts: &inner, ..kept.inputs }))?;
        let heads = attention.q_num_heads.unwrap_or(self.heads);
        Ok(Shrunk::op(MultiHeadAttention { attention, heads, ..self.clone() }))
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        match Self::inner(inputs) {
            Ok(inner) => self.attention.macs(&Inputs { facts: &inner, ..*inputs }, outputs),
            Err(_) => Dim::unknown(),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            BIAS => InputRole::Parameter,
            PADDING => InputRole::Control,
            _ => InputRole::Data,
        }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        if input == BIAS { Initial::Constant(0.0) } else { Initial::Keep }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Self::inner(&args.inputs)?;
        let mut projected = Vec::with_capacity(3);
        let mut start = 0;
        for i in 0..3 {
            let x = args.tensor(i)?;
            let width = x.size().last().copied().unwrap_or(0);
            projected.push(match args.get(BIAS) {
                Some(bias) => x.f_add(&bias.f_narrow(0, start, width)?)?,
                None => x.shallow_clone(),
            });
            start += width;
        }
        let padding = args.get(PADDING).map(|mask| -> Result<Tensor, OpError> {
            let mask = match mask.dim() {
                2 => mask.f_unsqueeze(1)?.f_unsqueeze(1)?,
                3 => mask.f_unsqueeze(1)?,
                n => return Err(OpError::Unsupported(format!("key_padding_mask of {n} axes"))),
            };
            let left_out = mask.f_eq(0i64)?.f_to_kind(projected[0].f_kind()?)?;
            Ok(left_out.f_mul_scalar(f64::from(self.mask_filter_value))?)
        });
        let mask = match (padding.transpose()?, args.get(ADDED)) {
            (Some(padding), added) => Some(super::shared::plus(&padding, added)?),
            (None, added) => added.map(Tensor::shallow_clone),
        };
        let [q, k, v] = &projected[..] else { return Err(OpError::invalid("q, k and v are needed")) };
        let tensors = [Some(q), Some(k), Some(v), mask.as_ref(), args.get(PAST[0]), args.get(PAST[1])];
        let mut outputs = self.attention.run(&args.with(&tensors, args.inputs))?;
        outputs.truncate(args.outputs.len());
        Ok(outputs)
    }
}
