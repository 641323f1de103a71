//! `GroupQueryAttention`: causal attention of queries that share key heads, with a cache and rotary positions. ONNX Runtime,
//! version 1.
//!
//! q: [b, s, (g r d)], k: [b, s, (g d)], v: [b, s, (g d)], past keys and values: [b, g, p, d], the last position of each
//! sample: [b], the largest number of positions: one, cosines and sines: [n, d / 2] → y: [b, s, (g r d)], keys and values with
//! the past ones: [b, g, p + s, d].

use super::attention::Attention;
#[cfg(feature = "torch")]
use super::rotary_embedding::RotaryEmbedding;
use super::shared::MICROSOFT;
use super::shared::heads::positive;
use crate::op::prelude::*;

/// `GroupQueryAttention`.
#[derive(Clone, Debug)]
pub struct GroupQueryAttention {
    heads: i64,
    kv_heads: i64,
    scale: Option<f32>,
    softcap: f32,
    /// How many keys a query sees, up to its own position; −1 for all.
    local_window_size: i64,
    do_rotary: bool,
    rotary_interleaved: bool,
}

const PAST: [usize; 2] = [3, 4];
#[cfg(feature = "torch")]
const LAST_POSITION: usize = 5;
#[cfg(feature = "torch")]
const COSINES: usize = 7;
#[cfg(feature = "torch")]
const POSITIONS: usize = 9;
const ADDED: usize = 10;

impl Register for GroupQueryAttention {
    const NAME: &'static str = "GroupQueryAttention";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let mut heads = |name: &str| {
            let missing = || OpError::Invalid(format!("the attribute '{name}' is missing"));
            positive(name, attributes.int(name)?)?.ok_or_else(missing)
        };
        let (heads, kv_heads) = (heads("num_heads")?, heads("kv_num_heads")?);
        for name in ["smooth_softmax", "qk_output"] {
            if attributes.int_or(name, 0)? > 0 {
                return Err(OpError::Unsupported(format!("attribute '{name}' of GroupQueryAttention")));
            }
        }
        if cx.inputs > 11 || cx.outputs > 3 {
            return Err(OpError::Unsupported("head_sink or scores as an output of GroupQueryAttention".into()));
        }
        Ok(GroupQueryAttention {
            heads,
            kv_heads,
            scale: attributes.float("scale")?.filter(|scale| *scale != 0.0),
            softcap: attributes.float_or("softcap", 0.0)?,
            local_window_size: attributes.int_or("local_window_size", -1)?,
            do_rotary: attributes.flag("do_rotary", false)?,
            rotary_interleaved: attributes.flag("rotary_interleaved", false)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = |s: i64, total: i32, past: i64| {
            let case = Case::new(17).float([2, s, 64]).float([2, s, 32]).float([2, s, 32]);
            let case = match past {
                0 => case.absent().absent(),
                past => case.float([2, 2, past, 16]).float([2, 2, past, 16]),
            };
            case.constant(Tensor::from_slice(vec![2], &[total - 1; 2]).unwrap())
                .constant(Tensor::from_slice(vec![1], &[total]).unwrap())
                .attr("num_heads", 4i64)
                .attr("kv_num_heads", 2i64)
                .outputs(3)
        };
        vec![
            case(3, 3, 0),
            case(1, 5, 4).attr("scale", 0.3f32),
            case(3, 3, 0).param([9, 8]).param([9, 8]).attr("do_rotary", 1i64),
            case(1, 5, 4).param([9, 8]).param([9, 8]).attr("do_rotary", 1i64).attr("rotary_interleaved", 1i64),
            case(6, 6, 0).attr("local_window_size", 2i64),
        ]
    }
}

impl GroupQueryAttention {
    fn attention(&self) -> Attention {
        let mut attention = Attention::packed(self.heads, self.kv_heads, self.scale);
        (attention.is_causal, attention.softcap) = (true, self.softcap);
        attention.window = [if self.local_window_size > 0 { self.local_window_size - 1 } else { -1 }, -1];
        attention
    }

    /// The inputs of the attention that this one works by: q, k, v, a mask, past keys and values.
    fn inner<'a>(inputs: &Inputs<'a>) -> Result<[Option<&'a Fact>; 6], OpError> {
        if inputs.get(1).is_none() || inputs.get(2).is_none() {
            return Err(OpError::Unsupported("GroupQueryAttention of packed queries, keys and values".into()));
        }
        let [key, value] = PAST.map(|i| inputs.get(i));
        Ok([inputs.get(0), inputs.get(1), inputs.get(2), inputs.get(ADDED), key, value])
    }
}

impl Op for GroupQueryAttention {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> =
            vec![("num_heads", self.heads.into()), ("kv_num_heads", self.kv_heads.into())];
        list.extend(self.scale.map(|scale| ("scale", scale.into())));
        if self.softcap != 0.0 {
            list.push(("softcap", self.softcap.into()));
        }
        if self.local_window_size != -1 {
            list.push(("local_window_size", self.local_window_size.into()));
        }
        let flags = [("do_rotary", self.do_rotary), ("rotary_interleaved", self.rotary_interleaved)];
        list.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, set)| (name, set.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let inner = Self::inner(inputs).map_err(OpError::in_inference)?;
        let mut outputs = self.attention().infer(&Inputs { facts: &inner, ..*inputs })?;
        // A buffer of past keys may be longer than what it holds of them.
        for fact in outputs.iter_mut().skip(1).filter(|_| inputs.get(PAST[0]).is_some()) {
            if let Some(size) = fact.shape.as_mut().and_then(|shape| shape.get_mut(2)) {
                *size = match inputs.get(6).and_then(Fact::known_ints).as_deref() {
                    Some([total]) if inputs.shape(PAST[0])?[2].known().is_some_and(|past| past < *total) => (*total).into(),
                    _ => Dim::unknown(),
                };
            }
        }
        outputs.truncate(inputs.outputs);
        Ok(outputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "attention with a cache and rotary positions")
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        match Self::inner(inputs) {
            Ok(inner) => self.attention().macs(&Inputs { facts: &inner, ..*inputs }, outputs),
            Err(_) => Dim::unknown(),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0..=4 | ADDED => InputRole::Data,
            7 | 8 => InputRole::Statistic,
            _ => InputRole::Control,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Self::inner(&args.inputs)?;
        let length = args.tensor(0)?.size()[1];
        let last = args.ints(LAST_POSITION)?;
        let total = last.first().map_or(length, |last| last + 1);
        if last.iter().any(|n| n + 1 != total) || total < length {
            return Err(OpError::Unsupported("GroupQueryAttention of samples of different lengths".into()));
        }
        let before = total - length;
        let past = PAST.map(|i| args.get(i));
        let held = past[0].map_or(0, |past| past.size()[2]);
        if held < before || held > total {
            let text = format!("a cache of {held} positions for {before} past ones of {total}");
            return Err(OpError::Unsupported(text));
        }
        let past = past.map(|past| past.map(|past| past.f_narrow(2, 0, before)).transpose());
        let [past_key, past_value] = past;
        let (past_key, past_value) = (past_key?, past_value?);
        let [q, k] = match self.do_rotary {
            false => [args.tensor(0)?.shallow_clone(), args.tensor(1)?.shallow_clone()],
            true => [self.turned(args, 0, self.heads, before)?, self.turned(args, 1, self.kv_heads, before)?],
        };
        let tensors = [
            Some(&q),
            Some(&k),
            Some(args.tensor(2)?),
            args.get(ADDED),
            past_key.as_ref().filter(|_| before > 0),
            past_value.as_ref().filter(|_| before > 0),
        ];
        let mut outputs = self.attention().run(&args.with(&tensors, args.inputs))?;
        outputs.truncate(args.outputs.len());
        Ok(outputs)
    }
}

impl GroupQueryAttention {
    /// Queries or keys, turned by their positions.
    #[cfg(feature = "torch")]
    fn turned(&self, args: &Args, input: usize, heads: i64, before: i64) -> Result<Tensor, OpError> {
        let (x, cosines, sines) = (args.tensor(input)?, args.tensor(COSINES)?, args.tensor(COSINES + 1)?);
        let places = Tensor::f_arange_start(before, before + x.size()[1], (Kind::Int64, args.device))?;
        let places = match args.get(POSITIONS) {
            Some(places) => places.f_to_kind(Kind::Int64)?,
            None => places.f_unsqueeze(0)?.f_expand([x.size()[0], -1], false)?,
        };
        let width = 2 * cosines.size().last().copied().unwrap_or(0);
        let rotary = RotaryEmbedding::packed(heads, width, self.rotary_interleaved);
        let tensors = [Some(x), Some(cosines), Some(sines), Some(&places)];
        Ok(rotary.eval(&args.with(&tensors, args.inputs))?.swap_remove(0))
    }
}
