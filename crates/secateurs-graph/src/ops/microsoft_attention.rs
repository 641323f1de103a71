//! `Attention` of ONNX Runtime: queries, keys and values projected by one weight, and attention over their heads. Version 1.
//!
//! x: [b, s, i], w: [i, (h d) ⊕ (h d) ⊕ (h e)], bias: [(h d) ⊕ (h d) ⊕ (h e)], mask: [b, p + s], [b, s, p + s] or, as
//! lengths, [b], past: [2, b, h, p, d], attention bias: broadcasts to [b, h, s, p + s] → y: [b, s, (h e)], and on request
//! keys and values with the past ones: [2, b, h, p + s, d].

#[cfg(feature = "torch")]
use super::attention::Attention;
use super::shared::MICROSOFT;
use super::shared::heads::{factor, kept_factors, positive, share};
use crate::op::prelude::*;

/// `Attention` of ONNX Runtime.
#[derive(Clone, Debug)]
pub struct MicrosoftAttention {
    heads: i64,
    is_causal: bool,
    scale: Option<f32>,
    /// Added to the scores of keys that the mask leaves out.
    mask_filter_value: f32,
    /// The widths of queries, keys and values; a third of the weight each where they are not given.
    widths: Option<Vec<i64>>,
}

const W: usize = 1;
const BIAS: usize = 2;
const MASK: usize = 3;
const PAST: usize = 4;
const ADDED: usize = 5;

impl Register for MicrosoftAttention {
    const NAME: &'static str = "Attention";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        for name in ["do_rotary", "past_present_share_buffer"] {
            if attributes.flag(name, false)? {
                return Err(OpError::Unsupported(format!("attribute '{name}' of com.microsoft.Attention")));
            }
        }
        if cx.inputs > 6 {
            return Err(OpError::Unsupported("past_sequence_length of com.microsoft.Attention".into()));
        }
        let heads = positive("num_heads", attributes.int("num_heads")?)?;
        let widths = attributes.ints("qkv_hidden_sizes")?;
        if widths.as_ref().is_some_and(|widths| widths.len() != 3 || widths[0] != widths[1]) {
            return Err(OpError::invalid("qkv_hidden_sizes needs three entries, the first two equal"));
        }
        Ok(MicrosoftAttention {
            heads: heads.ok_or_else(|| OpError::invalid("the attribute 'num_heads' is missing"))?,
            is_causal: attributes.flag("unidirectional", false)?,
            scale: attributes.float("scale")?.filter(|scale| *scale != 0.0),
            mask_filter_value: attributes.float_or("mask_filter_value", -10000.0)?,
            widths,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = || Case::new(17).float([2, 3, 5]).param([5, 24]).param([24]).attr("num_heads", 2i64);
        let mask = |shape: &[usize], values: &[i32]| Tensor::from_slice(shape.to_vec(), values).unwrap();
        vec![
            case(),
            case().fed(mask(&[2, 3], &[1, 1, 0, 1, 1, 1])).attr("scale", 0.3f32),
            case().attr("unidirectional", 1i64),
            case().absent().float([2, 2, 2, 4, 4]).outputs(2),
            case().absent().absent().float([2, 2, 3, 3]),
            Case::new(17)
                .float([2, 3, 5])
                .param([5, 28])
                .param([28])
                .attr("num_heads", 2i64)
                .attr("qkv_hidden_sizes", vec![8i64, 8, 12]),
        ]
    }
}

/// The sizes of a call.
struct Sizes {
    batch: Dim,
    length: Dim,
    input: Dim,
    past: Option<Dim>,
    head: Dim,
    v_head: Dim,
}

impl MicrosoftAttention {
    fn sizes(&self, inputs: &Inputs) -> Result<Sizes, OpError> {
        let ([batch, length, input], [_, columns]) = (inputs.shape(0)?, inputs.shape(W)?) else {
            return Err(OpError::invalid("the input needs 3 axes and the weight 2"));
        };
        let (q, v) = match self.widths.as_deref() {
            Some([q, _, v]) => {
                expect_same(columns, &(2 * q + v).into(), "the weight and qkv_hidden_sizes")?;
                (Dim::from(*q), Dim::from(*v))
            }
            _ => {
                let third = share(columns, &3.into(), "the columns of the weight and 3")?;
                (third.clone(), third)
            }
        };
        let past = match inputs.get(PAST).and_then(|past| past.shape.as_deref()) {
            Some([_, _, _, past, _]) => Some(past.clone()),
            Some(_) => return Err(OpError::invalid("past needs 5 axes")),
            None => None,
        };
        Ok(Sizes {
            batch: batch.clone(),
            length: length.clone(),
            input: input.clone(),
            past,
            head: share(&q, &self.heads.into(), "the width of the queries and the heads")?,
            v_head: share(&v, &self.heads.into(), "the width of the values and the heads")?,
        })
    }
}

impl Op for MicrosoftAttention {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = vec![("num_heads", self.heads.into())];
        if self.is_causal {
            list.push(("unidirectional", true.into()));
        }
        list.extend(self.scale.map(|scale| ("scale", scale.into())));
        if self.mask_filter_value != -10000.0 {
            list.push(("mask_filter_value", self.mask_filter_value.into()));
        }
        list.extend(self.widths.clone().map(|widths| ("qkv_hidden_sizes", widths.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let Sizes { batch, length, past, head, v_head, input } = self.sizes(inputs)?;
        expect_same(&inputs.shape(W)?[0], &input, "the rows of the weight and the width of the input")?;
        let (element_type, heads) = (inputs.element_type(0)?, Dim::from(self.heads));
        let total = past.unwrap_or_else(|| 0.into()) + length.clone();
        let y = vec![batch.clone(), length, heads.clone() * v_head];
        let present = vec![2.into(), batch, heads, total, head];
        Ok([y, present].into_iter().take(inputs.outputs).map(|shape| Fact::of(element_type, shape)).collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(Sizes { batch, length, input, past, head, v_head }) = self.sizes(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "attention of unknown sizes");
        };
        // Keys and values that are handed on lie in one tensor.
        let kept = inputs.get(PAST).is_some() || is_wanted(outputs, 1);
        let role = |role: Role| if kept { Role::Blocked("keys and values in one tensor") } else { role };
        let h = factor(&mut map, &self.heads.into(), Role::Free);
        let d = factor(&mut map, &head, role(Role::Summed));
        let e = if kept { d.clone() } else { factor(&mut map, &v_head, Role::Free) };
        let b = map.axis(&batch, Role::Free);
        let s = map.axis(&length, Role::Blocked("tokens that attend to each other"));
        let i = map.axis(&input, Role::Summed);
        let (narrow, wide) = (product([h.clone(), d.clone()].concat()), product([h.clone(), e].concat()));
        let columns = [narrow.clone(), narrow, wide.clone()].concat();
        let before = past.map(|past| map.axis(&past, Role::Blocked("tokens that attend to each other")));
        let total = [before.clone().unwrap_or_default(), s.clone()].concat();
        let two = map.axis(&2.into(), Role::Blocked("keys and values"));
        let cache = |tokens: Axis| vec![two.clone(), b.clone(), product(h.clone()), tokens, product(d.clone())];
        let aligned = |input: usize, axes: Vec<Axis>| {
            let own = inputs.get(input)?.shape.as_deref()?;
            let tail = axes.into_iter().skip(4usize.saturating_sub(own.len()));
            Some(tail.zip(own).map(|(axis, size)| if size.is(1) { unit_axis() } else { axis }).collect())
        };
        let mask = match inputs.get(MASK).and_then(Fact::rank) {
            Some(1) => Some(vec![b.clone()]),
            Some(3) => Some(vec![b.clone(), s.clone(), total.clone()]),
            _ => Some(vec![b.clone(), total.clone()]),
        };
        let added = aligned(ADDED, vec![b.clone(), product(h.clone()), s.clone(), total.clone()]);
        let all = [
            Some(vec![b.clone(), s.clone(), i.clone()]),
            Some(vec![i, columns.clone()]),
            Some(vec![columns]),
            mask,
            before.map(cache),
            added,
        ];
        for (i, axes) in all.into_iter().enumerate() {
            if inputs.get(i).is_some() {
                map.inputs[i] = axes;
            }
        }
        for (output, axes) in map.outputs.iter_mut().zip([vec![b.clone(), s, wide], cache(total)]) {
            *output = Some(axes);
        }
        map
    }

    /// With the heads and widths that are kept, written down; so is the default scale where features of a head go.
    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let Sizes { head, v_head, .. } = self.sizes(&kept.inputs)?;
        let cached = kept.inputs.get(PAST).is_some() || is_wanted(kept.outputs, 1);
        let [h, d, e] = match cached {
            true => {
                let [h, d] = kept_factors(kept, [&self.heads.into(), &head]);
                [h, d.clone(), d]
            }
            false => kept_factors(kept, [&self.heads.into(), &head, &v_head]),
        };
        let number = |size: Dim| size.known().ok_or(OpError::Undetermined);
        let default_scale = head.known().filter(|_| d != head).map(|head| 1.0 / (head as f32).sqrt());
        let (q, v) = (number(h.clone() * d.clone())?, number(h.clone() * e.clone())?);
        let widths = (self.widths.is_some() || q != v).then(|| vec![q, q, v]);
        Ok(Shrunk::op(MicrosoftAttention {
            heads: number(h)?,
            scale: self.scale.or(default_scale),
            widths,
            ..self.clone()
        }))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        let (Ok(z), Ok(w)) = (self.sizes(inputs), inputs.shape(W)) else { return Dim::unknown() };
        let tokens = z.batch * z.length.clone();
        let total = z.past.unwrap_or_else(|| 0.into()) + z.length;
        let attended = Dim::from(self.heads) * total * (z.head + z.v_head);
        tokens * (element_count(w) + attended)
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            W | BIAS => InputRole::Parameter,
            MASK => InputRole::Control,
            _ => InputRole::Data,
        }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            W => Initial::EMBEDDING,
            BIAS => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, w) = (args.tensor(0)?, args.tensor(W)?);
        let columns = w.size().last().copied().unwrap_or(0);
        let widths = self.widths.clone().unwrap_or_else(|| vec![columns / 3; 3]);
        let projected = super::shared::plus(&x.f_matmul(w)?, args.get(BIAS))?.f_split_with_sizes(&widths[..], -1)?;
        let mask = args.get(MASK).map(|mask| -> Result<Tensor, OpError> {
            let mask = match mask.dim() {
                2 => mask.f_unsqueeze(1)?.f_unsqueeze(1)?,
                3 => mask.f_unsqueeze(1)?,
                1 if args.get(PAST).is_none() && mask.numel() as i64 == x.size()[0] => {
                    let place = Tensor::f_arange(x.size()[1], (Kind::Int64, args.device))?;
                    place.f_lt_tensor(&mask.f_reshape([-1, 1, 1, 1])?)?
                }
                n => return Err(OpError::Unsupported(format!("mask_index of {n} axes in this form"))),
            };
            let left_out = mask.f_eq(0i64)?.f_to_kind(x.f_kind()?)?;
            Ok(left_out.f_mul_scalar(f64::from(self.mask_filter_value))?)
        });
        let mask = match (mask.transpose()?, args.get(ADDED)) {
            (Some(mask), added) => Some(super::shared::plus(&mask, added)?),
            (None, added) => added.map(Tensor::shallow_clone),
        };
        let past = args.get(PAST).map(|past| Ok::<_, OpError>([past.f_select(0, 0)?, past.f_select(0, 1)?])).transpose()?;
        let [key, value] = match &past {
            Some([key, value]) => [Some(key), Some(value)],
            None => [None, None],
        };
        let mut attention = Attention::packed(self.heads, self.heads, self.scale);
        attention.is_causal = self.is_causal;
        let [q, k, v] = &projected[..] else { return Err(OpError::Undetermined) };
        let tensors = [Some(q), Some(k), Some(v), mask.as_ref(), key, value];
        // Of what comes out, only the first is an output of this node.
        let own = args.with(&tensors, args.inputs);
        let mut outputs = attention.run(&Args { outputs: &args.outputs[..1], ..own })?;
        let y = outputs.swap_remove(0);
        if !is_wanted(args.outputs, 1) {
            return Ok(vec![y]);
        }
        let [v, k] = &outputs[..2] else { return Err(OpError::Undetermined) };
        Ok(vec![y, Tensor::f_stack(&[k, v], 0)?])
    }
}
