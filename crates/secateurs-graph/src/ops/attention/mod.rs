//! `Attention`: softmax(q kᵀ · scale) v over heads, with masks, grouped queries and a cache. ONNX opset 23, 24, 25.
//!
//! q: [b, hq, s, d], k: [b, hk, t, d], v: [b, hk, t, e], or with heads packed [b, s, (hq d)], …; mask: broadcasts to
//! [b, hq, s, p + t]; past key: [b, hk, p, d], past value: [b, hk, p, e]; number of valid keys: [b] → y: [b, hq, s, e] or
//! [b, s, (hq e)]; on request keys and values after the past ones, and the scores [b, hq, s, p + t].

mod axes;
#[cfg(feature = "torch")]
mod eval;

use super::shared::heads::{positive, share};
use crate::op::prelude::*;

/// `Attention`.
#[derive(Clone, Debug)]
pub struct Attention {
    pub(in crate::ops) is_causal: bool,
    pub(in crate::ops) q_num_heads: Option<i64>,
    pub(in crate::ops) kv_num_heads: Option<i64>,
    /// 1/√d where it is not given.
    pub(in crate::ops) scale: Option<f32>,
    /// Scores are limited to ±softcap; 0 for no limit.
    pub(in crate::ops) softcap: f32,
    pub(in crate::ops) qk_matmul_output_mode: i64,
    /// In ONNX's numbering.
    pub(in crate::ops) softmax_precision: Option<i64>,
    /// How many keys before and after its own position a query sees; −1 for all.
    pub(in crate::ops) window: [i64; 2],
}

const WINDOW: [&str; 2] = ["left_window_size", "right_window_size"];

const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const VALID_KEYS: usize = 6;

/// The sizes of a call.
struct Sizes {
    batch: Dim,
    kv_heads: Dim,
    /// Query heads that share a key head.
    repeats: Dim,
    queries: Dim,
    keys: Dim,
    past: Option<Dim>,
    head: Dim,
    v_head: Dim,
    /// Heads are packed into the last axis.
    packed: bool,
}

impl Sizes {
    fn q_heads(&self) -> Dim {
        self.kv_heads.clone() * self.repeats.clone()
    }

    /// Keys with the past ones.
    fn total(&self) -> Dim {
        self.past.iter().fold(self.keys.clone(), |sum, past| past.clone() + sum)
    }
}

impl Attention {
    /// Attention over heads packed into the last axis, without limits: what other attention ops work by.
    pub(in crate::ops) fn packed(q_heads: i64, kv_heads: i64, scale: Option<f32>) -> Attention {
        Attention {
            is_causal: false,
            q_num_heads: Some(q_heads),
            kv_num_heads: Some(kv_heads),
            scale,
            softcap: 0.0,
            qk_matmul_output_mode: 0,
            softmax_precision: None,
            window: [-1, -1],
        }
    }

    fn sizes(&self, inputs: &Inputs) -> Result<Sizes, OpError> {
        let past = match (inputs.get(PAST_KEY), inputs.get(PAST_VALUE)) {
            (None, None) => None,
            (Some(_), Some(_)) => match inputs.shape(PAST_KEY)? {
                [_, _, past, _] => Some(past.clone()),
                _ => return Err(OpError::invalid("past_key needs 4 axes")),
            },
            _ => return Err(OpError::invalid("past_key and past_value go together")),
        };
        let missing = || OpError::invalid("q_num_heads and kv_num_heads are needed where heads are packed");
        match (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?) {
            ([batch, queries, q_width], [_, keys, k_width], [_, _, v_width]) => {
                let (q_heads, kv_heads) = self.q_num_heads.zip(self.kv_num_heads).ok_or_else(missing)?;
                let (q_heads, kv_heads) = (Dim::from(q_heads), Dim::from(kv_heads));
                let head = share(q_width, &q_heads, "the width of q and its heads")?;
                let k_head = share(k_width, &kv_heads, "the width of k and its heads")?;
                expect_same(&head, &k_head, "the head sizes of q and k")?;
                Ok(Sizes {
                    batch: batch.clone(),
                    repeats: share(&q_heads, &kv_heads, "the heads of q and k")?,
                    queries: queries.clone(),
                    keys: keys.clone(),
                    past,
                    head,
                    v_head: share(v_width, &kv_heads, "the width of v and its heads")?,
                    packed: true,
                    kv_heads,
                })
            }
            ([batch, q_heads, queries, head], [_, kv_heads, keys, k_head], [_, _, _, v_head]) => {
                expect_same(head, k_head, "the head sizes of q and k")?;
                Ok(Sizes {
                    batch: batch.clone(),
                    repeats: share(q_heads, kv_heads, "the heads of q and k")?,
                    kv_heads: kv_heads.clone(),
                    queries: queries.clone(),
                    keys: keys.clone(),
                    past,
                    head: head.clone(),
                    v_head: v_head.clone(),
                    packed: false,
                })
            }
            _ => Err(OpError::invalid("q, k and v need 3 axes each or 4 axes each")),
        }
    }
}

impl Register for Attention {
    const NAME: &'static str = "Attention";
    const SINCE: &'static [i64] = &[23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let window = [attributes.int_or(WINDOW[0], -1)?, attributes.int_or(WINDOW[1], -1)?];
        if let Some(size) = window.iter().find(|size| **size < -1) {
            return Err(OpError::Invalid(format!("a window size is {size}; it must be -1 or more")));
        }
        let mode = attributes.int_or("qk_matmul_output_mode", 0)?;
        if !(0..=3).contains(&mode) {
            return Err(OpError::Invalid(format!("qk_matmul_output_mode is {mode}; it must be 0 to 3")));
        }
        Ok(Attention {
            is_causal: attributes.flag("is_causal", false)?,
            q_num_heads: positive("q_num_heads", attributes.int("q_num_heads")?)?,
            kv_num_heads: positive("kv_num_heads", attributes.int("kv_num_heads")?)?,
            scale: attributes.float("scale")?,
            softcap: attributes.float_or("softcap", 0.0)?,
            qk_matmul_output_mode: mode,
            softmax_precision: attributes.int("softmax_precision")?,
            window,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let wide = || Case::new(23).float([2, 4, 3, 5]).float([2, 2, 6, 5]).float([2, 2, 6, 7]);
        let packed = || {
            let heads = |case: Case, q: i64| case.attr("q_num_heads", q).attr("kv_num_heads", 2i64);
            heads(Case::new(24).float([2, 3, 20]).float([2, 6, 10]).float([2, 6, 14]), 4)
        };
        let lengths = || secateurs_onnx::Tensor::from_slice(vec![2], &[4i64, 6]).unwrap();
        vec![
            wide(),
            packed(),
            wide().attr("is_causal", 1i64).attr("scale", 0.3f32),
            packed().float([3, 6]).attr("scale", 0.3f32).attr("softcap", 2.0f32),
            packed().bools([2, 1, 3, 6]),
            wide().float([4, 1, 6]).float([2, 2, 3, 5]).float([2, 2, 3, 7]).outputs(3).without_runtime(),
            wide().float([9]).float([2, 2, 3, 5]).float([2, 2, 3, 7]).outputs(4).attr("qk_matmul_output_mode", 3i64)
                .without_runtime(),
            wide().absent().float([2, 2, 3, 5]).float([2, 2, 3, 7]).outputs(3).attr("is_causal", 1i64),
            packed().absent().absent().absent().fed(lengths()).attr("is_causal", 1i64),
            wide().attr("left_window_size", 1i64).attr("right_window_size", 0i64).without_runtime(),
            wide().absent().absent().absent().outputs(4).attr("qk_matmul_output_mode", 1i64),
            Case::new(23).float([1, 1, 3, 1]).float([1, 1, 1, 1]).float([1, 1, 1, 4]).attr("softmax_precision", 1i64),
        ]
    }
}

impl Op for Attention {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        let ints = [
            ("is_causal", self.is_causal.then_some(1)),
            ("q_num_heads", self.q_num_heads),
            ("kv_num_heads", self.kv_num_heads),
            ("qk_matmul_output_mode", Some(self.qk_matmul_output_mode).filter(|mode| *mode != 0)),
            ("softmax_precision", self.softmax_precision),
            (WINDOW[0], Some(self.window[0]).filter(|size| *size != -1)),
            (WINDOW[1], Some(self.window[1]).filter(|size| *size != -1)),
        ];
        list.extend(ints.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        let floats = [("scale", self.scale), ("softcap", Some(self.softcap).filter(|cap| *cap != 0.0))];
        list.extend(floats.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let sizes = self.sizes(inputs)?;
        if let Some(mask) = inputs.get(MASK).and_then(Fact::rank).filter(|rank| !(1..=4).contains(rank)) {
            return Err(OpError::Invalid(format!("the mask has {mask} axes; it needs 1 to 4")));
        }
        let (q_type, v_type) = (inputs.element_type(0)?, inputs.element_type(2)?);
        let Sizes { batch, kv_heads, queries, head, v_head, .. } = &sizes;
        let (q_heads, total) = (sizes.q_heads(), sizes.total());
        let y = match sizes.packed {
            true => vec![batch.clone(), queries.clone(), q_heads.clone() * v_head.clone()],
            false => vec![batch.clone(), q_heads.clone(), queries.clone(), v_head.clone()],
        };
        let present = |width: &Dim| vec![batch.clone(), kv_heads.clone(), total.clone(), width.clone()];
        let scores = vec![batch.clone(), q_heads, queries.clone(), total.clone()];
        Ok(vec![
            Fact::of(q_type, y),
            Fact::of(q_type, present(head)),
            Fact::of(v_type, present(v_head)),
            Fact::of(q_type, scores),
        ])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.axis_map(inputs, outputs)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(self.shrunk(kept)?))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        match self.sizes(inputs) {
            Ok(z) => z.batch.clone() * z.q_heads() * z.queries.clone() * z.total() * (z.head + z.v_head),
            Err(_) => Dim::unknown(),
        }
    }

    fn role(&self, input: usize) -> InputRole {
        if input == VALID_KEYS { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        self.run(args)
    }
}
