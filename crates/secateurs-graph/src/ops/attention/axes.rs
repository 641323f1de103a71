//! Which axes of attention belong together.

use super::{Attention, MASK, PAST_KEY, PAST_VALUE, Sizes, VALID_KEYS};
use crate::axes::AtomId;
use crate::op::prelude::*;
use crate::ops::shared::heads::{factor, kept_factors};

impl Attention {
    /// `q: [b, s, (g r d)], k: [b, t, (g d)], v: [b, t, (g e)] → y: [b, s, (g r e)]`, or heads on an axis of their own;
    /// `g` are key heads, `r` the query heads of each; keys and values after the past ones are `p ⊕ t`.
    pub(in crate::ops) fn axis_map(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(sizes) = self.sizes(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "attention of unknown sizes");
        };
        let mask = inputs.get(MASK).and_then(|mask| mask.shape.as_deref());
        let short = mask.and_then(<[Dim]>::last).is_some_and(|last| *last != sizes.total());
        let ordered = match () {
            _ if self.is_causal => Some("a causal mask"),
            _ if self.window != [-1, -1] => Some("an attention window"),
            _ => None,
        };
        let cut = match () {
            _ if inputs.get(VALID_KEYS).is_some() => Some("a number of valid keys"),
            _ if short => Some("a mask of fewer keys"),
            _ => None,
        };
        let query_role = ordered.map_or(Role::Free, Role::Blocked);
        let key_role = ordered.or(cut).map_or(Role::Mixed("a softmax over keys"), Role::Blocked);

        let b = factor(&mut map, &sizes.batch, Role::Free);
        let g = factor(&mut map, &sizes.kv_heads, Role::Free);
        let r = factor(&mut map, &sizes.repeats, Role::Free);
        let s = factor(&mut map, &sizes.queries, query_role);
        let t = factor(&mut map, &sizes.keys, key_role.clone());
        let d = factor(&mut map, &sizes.head, Role::Summed);
        let e = factor(&mut map, &sizes.v_head, Role::Free);
        let past = sizes.past.as_ref().map(|past| product(factor(&mut map, past, key_role)));
        let gr = [g.clone(), r].concat();
        let total = [past.clone().unwrap_or_default(), product(t.clone())].concat();

        let wide = |heads: &[AtomId], length: &Axis, width: &[AtomId]| {
            vec![product(b.clone()), product(heads), length.clone(), product(width)]
        };
        let layout = |heads: &[AtomId], length: &Axis, width: &[AtomId]| match sizes.packed {
            true => vec![product(b.clone()), length.clone(), product([heads, width].concat())],
            false => wide(heads, length, width),
        };
        let scores = vec![product(b.clone()), product(gr.clone()), product(s.clone()), total.clone()];
        let shortened = mask.and_then(<[Dim]>::last).map(|last| map.axis(last, Role::Blocked("a mask of fewer keys")));
        let mask_axes = mask.map(|mask| {
            let aligned = &scores[scores.len().saturating_sub(mask.len())..];
            let mut axes: Vec<Axis> = aligned
                .iter()
                .zip(mask)
                .map(|(axis, dim)| if dim.is(1) { unit_axis() } else { axis.clone() })
                .collect();
            if let (true, Some(last), Some(shortened)) = (short, axes.last_mut(), shortened) {
                *last = shortened;
            }
            axes
        });
        let by_input = [
            (0, Some(layout(&gr, &product(s.clone()), &d))),
            (1, Some(layout(&g, &product(t.clone()), &d))),
            (2, Some(layout(&g, &product(t), &e))),
            (MASK, mask_axes),
            (PAST_KEY, past.as_ref().map(|past| wide(&g, past, &d))),
            (PAST_VALUE, past.as_ref().map(|past| wide(&g, past, &e))),
            (VALID_KEYS, inputs.get(VALID_KEYS).map(|_| vec![product(b.clone())])),
        ];
        for (i, axes) in by_input {
            if inputs.get(i).is_some() {
                map.inputs[i] = axes;
            }
        }
        let by_output = [layout(&gr, &product(s), &e), wide(&g, &total, &d), wide(&g, &total, &e), scores];
        for (output, axes) in map.outputs.iter_mut().zip(by_output) {
            *output = Some(axes);
        }
        map
    }

    /// With the numbers of heads that are kept. The default scale, which follows the features of a head, is written
    /// down before some of them go.
    pub(in crate::ops) fn shrunk(&self, kept: &Kept) -> Result<Attention, OpError> {
        let Sizes { batch, kv_heads, repeats, queries, keys, head, v_head, .. } = self.sizes(&kept.inputs)?;
        let factors = [&batch, &kv_heads, &repeats, &queries, &keys, &head, &v_head];
        let [_, g, r, _, _, d, _] = kept_factors(kept, factors);
        let number = |old: Option<i64>, new: Dim| old.map(|old| new.known().unwrap_or(old));
        let default_scale = head.known().filter(|_| d != head).map(|head| 1.0 / (head as f32).sqrt());
        Ok(Attention {
            q_num_heads: number(self.q_num_heads, g.clone() * r),
            kv_num_heads: number(self.kv_num_heads, g),
            scale: self.scale.or(default_scale),
            ..self.clone()
        })
    }
}
