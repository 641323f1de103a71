//! `Conv`: convolution of any rank with groups and dilation. ONNX opset 1, 11, 22.
//!
//! x: [N, C, D1, …], w: [M, C / group, k1, …], b: [M] → y: [N, M, D1', …].

use super::shared::convolution;
use super::shared::window::Window;
use crate::op::prelude::*;

/// `Conv`.
#[derive(Clone, Debug)]
pub struct Conv {
    window: Window,
    group: i64,
}

impl Register for Conv {
    const NAME: &'static str = "Conv";
    const SINCE: &'static [i64] = &[1, 11, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Conv {
            window: Window::parse(attributes)?,
            group: convolution::parse_group(attributes, "group")?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let conv = |x: &[i64], w: &[i64]| Case::new(11).float(x.to_vec()).param(w.to_vec());
        vec![
            conv(&[2, 3, 9, 8], &[4, 3, 3, 3]).param([4]).attr("pads", vec![1i64, 1, 1, 1]),
            conv(&[2, 4, 9, 8], &[6, 2, 3, 2]).attr("group", 2i64).attr("strides", vec![2i64, 1]),
            conv(&[1, 4, 9, 9], &[8, 1, 3, 3]).attr("group", 4i64).attr("dilations", vec![2i64, 2]),
            conv(&[1, 2, 7, 6], &[3, 2, 3, 3]).attr("pads", vec![0i64, 1, 2, 1]),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "SAME_UPPER").attr("strides", vec![2i64, 2]),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "SAME_LOWER"),
            conv(&[1, 2, 7, 6], &[3, 2, 2, 4]).attr("auto_pad", "VALID"),
            conv(&[2, 3, 11], &[4, 3, 5]).param([4]).attr("strides", vec![2i64]),
            conv(&[1, 2, 5, 6, 4], &[3, 2, 2, 3, 2]).attr("pads", vec![1i64, 0, 1, 0, 1, 1]),
            conv(&[2, 6, 11], &[4, 3, 3]).attr("group", 2i64).attr("dilations", vec![3i64]),
            conv(&[2, 4, 11], &[4, 1, 3]).attr("group", 4i64).attr("pads", vec![3i64, 0]),
            conv(&[1, 4, 5, 6, 4], &[6, 2, 2, 2, 2])
                .param([6])
                .attr("group", 2i64)
                .attr("dilations", vec![1i64, 2, 3])
                .attr("strides", vec![2i64, 1, 1]),
            conv(&[1, 2, 9, 8], &[3, 2, 3, 2])
                .attr("auto_pad", "SAME_UPPER")
                .attr("dilations", vec![2i64, 3])
                .attr("kernel_shape", vec![3i64, 2])
                .without_runtime(),
            conv(&[1, 2, 9], &[3, 2, 4])
                .attr("auto_pad", "SAME_LOWER")
                .attr("dilations", vec![2i64])
                .attr("strides", vec![2i64])
                .without_runtime(),
            conv(&[1, 2, 5, 6, 4], &[2, 1, 2, 3, 2]).attr("group", 2i64).attr("auto_pad", "SAME_LOWER"),
        ]
    }
}

impl Conv {
    /// With as many groups as are kept.
    pub(super) fn shrunk(&self, kept: &Kept) -> Conv {
        Conv { group: convolution::kept_groups(kept, self.group), ..self.clone() }
    }

    #[cfg(feature = "torch")]
    pub(super) fn convolve(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, OpError> {
        let (spatial, kernel) = (&x.size()[2..], &w.size()[2..]);
        let n = spatial.len();
        let padding = self.window.known_padding(spatial, kernel)?;
        let (x, padding) = super::shared::window::symmetric(x, &padding, 0.0)?;
        let each = |f: &dyn Fn(usize) -> i64| (0..n).map(f).collect::<Vec<_>>();
        let stride = each(&|i| self.window.stride(i));
        let dilation = each(&|i| self.window.dilation(i));
        Ok(x.f_convolution(w, bias, stride, padding, dilation, false, vec![0; n], self.group)?)
    }
}

impl Op for Conv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        if self.group != 1 {
            list.push(("group", self.group.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        let kernel = convolution::kernel(&self.window, x, w, self.group)?;
        expect_same(
            &x[1],
            &(w[1].clone() * self.group.into()),
            "channels of the input and of the weight times group",
        )?;
        convolution::check_bias(inputs.get(2), &w[0])?;
        let mut shape = vec![x[0].clone(), w[0].clone()];
        shape.extend(self.window.outputs(&x[2..], &kernel)?);
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// `x: [n, (g c), …], w: [(g o), c, …], b: [(g o)] → y: [n, (g o), …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        convolution::axes(inputs, outputs, self.group, 2, false)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(self.shrunk(kept)))
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        convolution::macs(outputs[0].shape.as_deref(), inputs.shape(1).ok())
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn affine(&self) -> Option<Affine> {
        Some(convolution::AFFINE)
    }

    fn rows(&self, weight: usize, inputs: &Inputs) -> Result<Rows, &'static str> {
        if weight != 1 {
            return Err("its weight is computed");
        }
        convolution::rows(inputs, self.group)
    }

    fn rows_by(&self, way: Way, groups: usize, inputs: &Inputs) -> Result<RowOps, &'static str> {
        let group = groups as i64;
        let rows = convolution::rows(inputs, self.group)?;
        let spatial = inputs.shape(0).ok().and_then(|x| x.get(2..)).unwrap_or_default();
        let kernel: Vec<i64> = inputs.shape(1).ok().and_then(|w| w.get(2..)).unwrap_or_default().iter()
            .filter_map(Dim::known)
            .collect();
        match way {
            Way::Same => Ok(RowOps::one(Conv { group, ..self.clone() })),
            Way::Pointwise if rows.taps == 1 => Err("its kernel has a single tap already"),
            Way::Pointwise => {
                let (window, crops) = self.window.pointwise(spatial, &kernel)?;
                Ok(RowOps { crops, ops: vec![Box::new(Conv { window, group })] })
            }
            Way::Factored { .. } if rows.taps > 1 => Err("its kernel has more than one tap"),
            Way::Factored { .. } if self.group > 1 => Err("it has groups"),
            Way::Factored { .. } => {
                let second = Conv { window: self.window.plain(spatial.len()), group: 1 };
                Ok(RowOps { crops: Vec::new(), ops: vec![Box::new(self.clone()), Box::new(second)] })
            }
        }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let Ok(w @ [filters, _, ..]) = inputs.shape(1) else { return Initial::Keep };
        convolution::initial(input, 2, w, &filters.floor_div(&self.group.into()))
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn prefers_channels_last(&self) -> bool {
        true
    }

    fn mixed(&self) -> Mixed {
        Mixed::Low
    }

    #[cfg(feature = "torch")]
    fn patches(&self, rows: &Rows, taps: Taps, x: &Tensor, w: &Tensor) -> Result<Tensor, OpError> {
        let (spatial, kernel) = (x.size()[2..].to_vec(), &w.size()[2..]);
        let n = spatial.len();
        let padding = self.window.known_padding(&spatial, kernel)?;
        let mut x = super::shared::window::pad(x, &padding, 0.0)?;
        for (axis, &taps) in kernel.iter().enumerate() {
            let extent = self.window.extent(axis, taps);
            x = x.f_unfold(axis as i64 + 2, extent, self.window.stride(axis))?;
            x = x.f_slice(-1, 0, extent, self.window.dilation(axis))?;
        }
        if taps == Taps::Centre {
            for (axis, place) in &rows.centre {
                x = x.f_narrow((axis + n) as i64, *place as i64, 1)?;
            }
        }
        let (groups, channels) = (rows.groups as i64, rows.channels as i64);
        let taps: i64 = x.size()[2 + n..].iter().product();
        // [n, groups, channels, positions …, taps …], of which nothing is copied so far.
        let (first, n) = (3, n as i64);
        let mut axes = vec![1, 0];
        axes.extend(first..first + n);
        axes.push(2);
        axes.extend(first + n..first + 2 * n);
        let x = x.f_unflatten(1, [groups, channels])?.f_permute(axes)?;
        Ok(x.f_reshape([groups, -1, channels * taps])?)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![self.convolve(args.tensor(0)?, args.tensor(1)?, args.get(2))?])
    }
}
