//! Sliding windows over spatial axes: what Conv, ConvTranspose and the pools have in common.

use crate::attribute::{Attribute, Attributes};
use crate::dim::Dim;
use crate::op::OpError;
use crate::rows::Crop;

/// Padding by rule instead of by numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum AutoPad {
    /// `pads` say.
    NotSet,
    /// None.
    Valid,
    /// Output size ⌈input / stride⌉; an odd element goes to the end.
    SameUpper,
    /// The same; an odd element goes to the start.
    SameLower,
}

/// Larger entries of a window are refused, so that arithmetic with them cannot overflow.
const MAX_ENTRY: i64 = i32::MAX as i64;

/// Checks that every entry of an attribute is at least `low` and not absurdly large.
pub(in crate::ops) fn in_range(name: &str, values: &[i64], low: i64) -> Result<(), OpError> {
    match values.iter().find(|n| !(low..=MAX_ENTRY).contains(n)) {
        Some(n) => Err(OpError::Invalid(format!("{name} contains {n}; each must be in {low}..={MAX_ENTRY}"))),
        None => Ok(()),
    }
}

/// Strides, dilations and padding of a window. Empty lists stand for the defaults (1, 1, 0).
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Window {
    pub kernel_shape: Option<Vec<i64>>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub pads: Vec<i64>,
    pub auto_pad: AutoPad,
    pub ceil_mode: bool,
}

impl Window {
    pub fn parse(attributes: &mut Attributes) -> Result<Window, OpError> {
        let auto_pad = match attributes.string("auto_pad")?.as_deref() {
            None | Some("NOTSET") => AutoPad::NotSet,
            Some("VALID") => AutoPad::Valid,
            Some("SAME_UPPER") => AutoPad::SameUpper,
            Some("SAME_LOWER") => AutoPad::SameLower,
            Some(other) => {
                return Err(OpError::Invalid(format!("auto_pad is '{other}', which ONNX does not define")));
            }
        };
        let window = Window {
            kernel_shape: attributes.ints("kernel_shape")?,
            strides: attributes.ints("strides")?.unwrap_or_default(),
            dilations: attributes.ints("dilations")?.unwrap_or_default(),
            pads: attributes.ints("pads")?.unwrap_or_default(),
            auto_pad,
            ceil_mode: attributes.flag("ceil_mode", false)?,
        };
        let kernel = window.kernel_shape.as_deref().unwrap_or_default();
        in_range("strides", &window.strides, 1)?;
        in_range("dilations", &window.dilations, 1)?;
        in_range("kernel_shape", kernel, 1)?;
        in_range("pads", &window.pads, -MAX_ENTRY)?;
        Ok(window)
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        match self.auto_pad {
            AutoPad::NotSet => {}
            AutoPad::Valid => list.push(("auto_pad", "VALID".into())),
            AutoPad::SameUpper => list.push(("auto_pad", "SAME_UPPER".into())),
            AutoPad::SameLower => list.push(("auto_pad", "SAME_LOWER".into())),
        }
        let lists = [("strides", &self.strides), ("dilations", &self.dilations), ("pads", &self.pads)];
        for (name, values) in lists {
            if !values.is_empty() {
                list.push((name, values.clone().into()));
            }
        }
        if let Some(kernel) = &self.kernel_shape {
            list.push(("kernel_shape", kernel.clone().into()));
        }
        if self.ceil_mode {
            list.push(("ceil_mode", true.into()));
        }
        list
    }

    /// Checks that every list fits `n` spatial axes.
    pub fn check(&self, n: usize) -> Result<(), OpError> {
        let fits = |name: &str, len: usize, want: usize| match len == 0 || len == want {
            true => Ok(()),
            false => Err(OpError::Invalid(format!("{name} has {len} entries for {n} spatial axes"))),
        };
        fits("strides", self.strides.len(), n)?;
        fits("dilations", self.dilations.len(), n)?;
        fits("pads", self.pads.len(), 2 * n)
    }

    pub fn stride(&self, axis: usize) -> i64 {
        self.strides.get(axis).copied().unwrap_or(1)
    }

    pub fn dilation(&self, axis: usize) -> i64 {
        self.dilations.get(axis).copied().unwrap_or(1)
    }

    /// Padding at the start and the end of a spatial axis of this input size, for a window of this kernel size.
    pub fn padding(&self, axis: usize, n: usize, input: &Dim, kernel: i64) -> (Dim, Dim) {
        match self.auto_pad {
            AutoPad::NotSet => {
                let at = |i: usize| Dim::from(self.pads.get(i).copied().unwrap_or(0));
                (at(axis), at(n + axis))
            }
            AutoPad::Valid => (0.into(), 0.into()),
            same => {
                let stride = self.stride(axis);
                let extent = self.extent(axis, kernel);
                let output = input.ceil_div(&stride.into());
                let total = (output - 1.into()) * stride.into() + extent.into() - input.clone();
                let total = match total.known() {
                    Some(t) => Dim::from(t.max(0)),
                    None => total,
                };
                let small = total.floor_div(&2.into());
                let large = total - small.clone();
                if same == AutoPad::SameUpper { (small, large) } else { (large, small) }
            }
        }
    }

    /// The output size along a spatial axis.
    pub fn output(&self, axis: usize, n: usize, input: &Dim, kernel: i64) -> Dim {
        let stride = Dim::from(self.stride(axis));
        if matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            return input.ceil_div(&stride);
        }
        let (start, end) = self.padding(axis, n, input, kernel);
        let extent = self.extent(axis, kernel);
        let padded = input.clone() + start.clone();
        let room = padded.clone() + end.clone() - extent.into();
        if !self.ceil_mode {
            return room.floor_div(&stride) + 1.into();
        }
        let size = room.ceil_div(&stride) + 1.into();
        // A last window that would start in the end padding is left out.
        match end.known() {
            Some(end) if extent - end >= self.stride(axis) => size,
            _ => size.min_with(&padded.ceil_div(&stride)),
        }
    }

    /// The output sizes along all spatial axes.
    pub fn outputs(&self, spatial: &[Dim], kernel: &[i64]) -> Result<Vec<Dim>, OpError> {
        let n = spatial.len();
        let sizes: Vec<Dim> =
            spatial.iter().zip(kernel).enumerate().map(|(i, (dim, &k))| self.output(i, n, dim, k)).collect();
        match sizes.iter().position(|size| size.known().is_some_and(|size| size < 1)) {
            Some(i) => Err(OpError::Invalid(format!(
                "the window, {} wide, does not fit the padded input of size {} on spatial axis {i}",
                self.extent(i, kernel[i]),
                spatial[i]
            ))),
            None => Ok(sizes),
        }
    }

    /// A window of one element at every position.
    pub fn plain(&self, n: usize) -> Window {
        Window {
            kernel_shape: self.kernel_shape.as_ref().map(|_| vec![1; n]),
            strides: Vec::new(),
            dilations: Vec::new(),
            pads: Vec::new(),
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
        }
    }

    /// The window of one element that looks where this one has its centre, the element ⌊(k − 1) / 2⌋ along every axis: padded by
    /// pads − dilation · centre at the start and by what is left of them at the end. Where that is less than nothing, the data are
    /// cut; not at the end if the window does not get there anyway.
    pub fn pointwise(&self, spatial: &[Dim], kernel: &[i64]) -> Result<(Window, Vec<Crop>), &'static str> {
        let n = spatial.len();
        let mut pads = vec![0; 2 * n];
        let mut crops = Vec::new();
        for (i, (size, &k)) in spatial.iter().zip(kernel).enumerate() {
            let (start, end) = self.padding(i, n, size, k);
            let (Some(start), Some(end)) = (start.known(), end.known()) else {
                return Err("its padding depends on sizes that only a run can tell");
            };
            let (dilation, stride, centre) = (self.dilation(i), self.stride(i), (k - 1) / 2);
            let (start, mut end) = (start - dilation * centre, end - dilation * (k - 1 - centre));
            let last = |end: i64| size.known().map(|size| (size + start + end - 1).div_euclid(stride));
            if end < 0 && size.known().is_some() && last(0) == last(end) {
                end = 0;
            }
            (pads[i], pads[n + i]) = (start.max(0), end.max(0));
            if start < 0 || end < 0 {
                crops.push(Crop { axis: i + 2, start: (-start).max(0), end: (-end).max(0) });
            }
        }
        let pads = if pads.iter().all(|p| *p == 0) { Vec::new() } else { pads };
        Ok((Window { strides: self.strides.clone(), pads, ..self.plain(n) }, crops))
    }

    /// From the first to the last element that the window covers.
    pub fn extent(&self, axis: usize, kernel: i64) -> i64 {
        (kernel - 1).saturating_mul(self.dilation(axis)).saturating_add(1)
    }

    /// Padding at both ends as numbers, for evaluation.
    #[cfg(feature = "torch")]
    pub fn known_padding(&self, spatial: &[i64], kernel: &[i64]) -> Result<Vec<(i64, i64)>, OpError> {
        let n = spatial.len();
        (0..n)
            .map(|i| {
                let (start, end) = self.padding(i, n, &spatial[i].into(), kernel[i]);
                start.known().zip(end.known()).ok_or(OpError::Undetermined)
            })
            .collect()
    }
}

/// libtorch pads both ends alike: what is uneven is padded beforehand with `value`. Negative padding crops.
#[cfg(feature = "torch")]
pub(in crate::ops) fn symmetric(
    x: &secateurs_torch::tch::Tensor,
    padding: &[(i64, i64)],
    value: f64,
) -> Result<(secateurs_torch::tch::Tensor, Vec<i64>), OpError> {
    if padding.iter().all(|(a, b)| a == b && *a >= 0) {
        return Ok((x.shallow_clone(), padding.iter().map(|p| p.0).collect()));
    }
    Ok((pad(x, padding, value)?, vec![0; padding.len()]))
}

/// Pads the last axes.
#[cfg(feature = "torch")]
pub(in crate::ops) fn pad(
    x: &secateurs_torch::tch::Tensor,
    padding: &[(i64, i64)],
    value: f64,
) -> Result<secateurs_torch::tch::Tensor, OpError> {
    // libtorch lists the last axis first.
    let pads: Vec<i64> = padding.iter().rev().flat_map(|&(start, end)| [start, end]).collect();
    Ok(x.f_pad(pads, "constant", value)?)
}
