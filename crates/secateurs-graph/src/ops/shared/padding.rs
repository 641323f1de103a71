//! Padding of whole axes: Pad and CenterCropPad.

/// Where the indices added by padding come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Border {
    /// They hold a constant.
    Constant,
    /// Mirrored at the first and last index.
    Reflect,
    /// The first and last index repeated.
    Edge,
    /// From the other end.
    Wrap,
}

impl Border {
    /// The index in `0..size` that stands at position `i`, which may lie outside; `None` for a constant.
    pub fn source(self, i: i64, size: i64) -> Option<i64> {
        if (0..size).contains(&i) {
            return Some(i);
        }
        if size < 1 {
            return None;
        }
        match self {
            Border::Constant => None,
            Border::Edge => Some(i.clamp(0, size - 1)),
            Border::Wrap => Some(i.rem_euclid(size)),
            Border::Reflect => {
                let period = (2 * (size - 1)).max(1);
                let at = i.rem_euclid(period);
                Some(at.min(period - at))
            }
        }
    }
}

/// Pads axis i by `pads[i]` at both ends; negative numbers crop. Bounded in size by the caller.
#[cfg(feature = "torch")]
pub(in crate::ops) fn constant_pad(
    x: &secateurs_torch::tch::Tensor,
    pads: &[(i64, i64)],
    value: f64,
) -> Result<secateurs_torch::tch::Tensor, crate::op::OpError> {
    // libtorch lists the last axis first.
    let pads: Vec<i64> = pads.iter().rev().flat_map(|&(start, end)| [start, end]).collect();
    Ok(x.f_pad(pads, "constant", value)?)
}
