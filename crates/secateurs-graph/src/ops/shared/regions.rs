//! What `RoiAlign` and `MaxRoiPool` share: x: [N, C, H, W], rois: [R, …] → y: [R, C, …].

use crate::axes::{Axis, AxisMap, Role};
use crate::fact::Fact;
use crate::op::Inputs;

/// `x: [n, c, h, w], rois: [r, …], … [r] → y: [r, c, …]`; images, pixels and corners blocked.
pub(in crate::ops) fn axes(inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
    let mut map = AxisMap::blocked(inputs.facts, outputs, "regions of interest");
    let (Ok([_, channels, ..]), Ok([regions, ..])) = (inputs.shape(0), inputs.shape(1)) else { return map };
    let (c, r) = (map.axis(channels, Role::Free), map.axis(regions, Role::Free));
    let set = |axes: &mut Option<Vec<Axis>>, at: usize, axis: &Axis| {
        if let Some(slot) = axes.as_mut().and_then(|axes| axes.get_mut(at)) {
            *slot = axis.clone();
        }
    };
    set(&mut map.inputs[0], 1, &c);
    map.inputs.iter_mut().skip(1).for_each(|input| set(input, 0, &r));
    set(&mut map.outputs[0], 0, &r);
    set(&mut map.outputs[0], 1, &c);
    map
}

/// Puts pooled regions of `x` together.
#[cfg(feature = "torch")]
pub(in crate::ops) fn stack(
    pooled: &[secateurs_torch::tch::Tensor],
    x: &secateurs_torch::tch::Tensor,
    [height, width]: [i64; 2],
) -> Result<secateurs_torch::tch::Tensor, crate::op::OpError> {
    use secateurs_torch::tch::Tensor;
    if pooled.is_empty() {
        return Ok(Tensor::f_zeros([0, x.size()[1], height, width], (x.f_kind()?, x.device()))?);
    }
    Ok(Tensor::f_stack(pooled, 0)?)
}
