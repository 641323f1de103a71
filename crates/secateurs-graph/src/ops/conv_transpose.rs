//! `ConvTranspose`: the gradient of a convolution, which enlarges its input. ONNX opset 1, 11, 22.
//!
//! x: [N, C, D1, …], w: [C, M / group, k1, …], b: [M] → y: [N, M, D1', …].

use super::shared::convolution;
use super::shared::window::{AutoPad, Window, in_range};
use crate::op::prelude::*;

/// `ConvTranspose`.
#[derive(Clone, Debug)]
pub struct ConvTranspose {
    window: Window,
    group: i64,
    output_padding: Vec<i64>,
    output_shape: Vec<i64>,
}

impl Register for ConvTranspose {
    const NAME: &'static str = "ConvTranspose";
    const SINCE: &'static [i64] = &[1, 11, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let op = ConvTranspose {
            window: Window::parse(attributes)?,
            group: convolution::parse_group(attributes, "group")?,
            output_padding: attributes.ints("output_padding")?.unwrap_or_default(),
            output_shape: attributes.ints("output_shape")?.unwrap_or_default(),
        };
        in_range("output_padding", &op.output_padding, 0)?;
        in_range("output_shape", &op.output_shape, 0)?;
        Ok(op)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], w: &[i64]| Case::new(11).float(x.to_vec()).param(w.to_vec());
        let shaped = || case(&[1, 2, 5, 4], &[2, 3, 3, 3]).attr("strides", vec![2i64, 2]);
        vec![
            case(&[2, 3, 5, 4], &[3, 4, 2, 2]).param([4]).attr("strides", vec![2i64, 2]),
            case(&[2, 4, 5, 4], &[4, 3, 3, 2]).attr("group", 2i64).attr("pads", vec![1i64, 1, 1, 1]),
            case(&[1, 4, 5, 4], &[4, 1, 3, 3]).param([4]).attr("group", 4i64).attr("dilations", vec![2i64, 1]),
            shaped().param([3]).attr("pads", vec![1i64; 4]).attr("output_padding", vec![1i64, 1]),
            shaped().param([3]).attr("pads", vec![0i64, 2, 1, 0]),
            shaped().param([3]).attr("output_padding", vec![1i64, 0]),
            shaped().param([3]).attr("pads", vec![1i64, 0, 0, 0]).attr("output_padding", vec![1i64, 0]),
            shaped().attr("output_shape", vec![10i64, 8]),
            shaped().param([3]).attr("output_shape", vec![12i64, 9]),
            shaped().param([3]).attr("output_shape", vec![12i64, 10]).attr("auto_pad", "SAME_LOWER"),
            shaped().attr("output_shape", vec![10i64, 8]).attr("auto_pad", "SAME_UPPER"),
            shaped().attr("auto_pad", "SAME_UPPER"),
            shaped().attr("auto_pad", "SAME_LOWER").attr("output_padding", vec![1i64, 0]),
            shaped().attr("auto_pad", "VALID"),
            case(&[1, 2, 5], &[2, 3, 1]).attr("strides", vec![2i64]).attr("auto_pad", "SAME_UPPER"),
            case(&[2, 3, 7], &[3, 2, 4]).param([2]).attr("strides", vec![3i64]).attr("kernel_shape", vec![4i64]),
            case(&[1, 2, 3, 4, 2], &[2, 1, 2, 3, 2]).attr("group", 2i64).attr("strides", vec![1i64, 2, 2]),
        ]
    }
}

impl ConvTranspose {
    fn output_padding(&self, axis: usize) -> i64 {
        self.output_padding.get(axis).copied().unwrap_or(0)
    }

    /// Padding at the start and the end of a spatial axis of this input size, and the output size.
    fn geometry(&self, axis: usize, n: usize, input: &Dim, kernel: i64) -> (Dim, Dim, Dim) {
        let stride = self.window.stride(axis);
        let reach = Dim::from(self.window.extent(axis, kernel)) + self.output_padding(axis).into();
        let full = (input.clone() - 1.into()) * stride.into() + reach.clone();
        let total = match (self.output_shape.get(axis), self.window.auto_pad) {
            (Some(&size), _) => full.clone() - size.into(),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => (reach - stride.into()).max_with(&0.into()),
            (None, _) => {
                let (start, end) = self.window.padding(axis, n, input, kernel);
                return (start.clone(), end.clone(), full - start - end);
            }
        };
        // What no window reaches is filled at the end.
        if total.known().is_some_and(|total| total < 0) {
            return (0.into(), total.clone(), full - total);
        }
        let half = total.floor_div(&2.into());
        let rest = total.clone() - half.clone();
        let (start, end) = if self.window.auto_pad == AutoPad::SameUpper { (half, rest) } else { (rest, half) };
        (start, end, full - total)
    }
}

impl Op for ConvTranspose {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        if self.group != 1 {
            list.push(("group", self.group.into()));
        }
        for (name, values) in
            [("output_padding", &self.output_padding), ("output_shape", &self.output_shape)]
        {
            if !values.is_empty() {
                list.push((name, values.clone().into()));
            }
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        let kernel = convolution::kernel(&self.window, x, w, self.group)?;
        expect_same(&x[1], &w[0], "channels of the input and of the weight")?;
        let n = kernel.len();
        let lists = [("output_padding", &self.output_padding), ("output_shape", &self.output_shape)];
        if let Some((name, list)) = lists.iter().find(|(_, list)| !list.is_empty() && list.len() != n) {
            return Err(OpError::Invalid(format!("{name} has {} entries for {n} spatial axes", list.len())));
        }
        let channels = w[1].clone() * self.group.into();
        convolution::check_bias(inputs.get(2), &channels)?;
        let mut shape = vec![x[0].clone(), channels];
        for (i, (dim, &k)) in x[2..].iter().zip(&kernel).enumerate() {
            let (start, end, size) = self.geometry(i, n, dim, k);
            let unreached = (-(start + end)).known().filter(|_| !self.output_shape.is_empty());
            if size.known().is_some_and(|size| size < 1) || unreached >= Some(self.window.stride(i)) {
                let text = format!("size {size} of spatial axis {i} does not follow from an input of size {dim}");
                return Err(OpError::Invalid(text));
            }
            shape.push(size);
        }
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// `x: [n, (g c), …], w: [(g c), o, …], b: [(g o)] → y: [n, (g o), …]`.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        convolution::axes(inputs, outputs, self.group, 2, true)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(ConvTranspose { group: convolution::kept_groups(kept, self.group), ..self.clone() }))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        convolution::macs(inputs.shape(0).ok(), inputs.shape(1).ok())
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn affine(&self) -> Option<Affine> {
        Some(convolution::AFFINE)
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let Ok(w @ [_, filters, ..]) = inputs.shape(1) else { return Initial::Keep };
        convolution::initial(input, 2, w, filters)
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
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, w) = (args.tensor(0)?, args.tensor(1)?);
        let (spatial, kernel) = (&x.size()[2..], &w.size()[2..]);
        let n = spatial.len();
        let each = |f: &dyn Fn(usize) -> i64| (0..n).map(f).collect::<Vec<_>>();
        let (strides, dilations) = (each(&|i| self.window.stride(i)), each(&|i| self.window.dilation(i)));
        let run = |bias: Option<&Tensor>, padding: Vec<i64>, output_padding: Vec<i64>| {
            x.f_convolution(w, bias, &strides, padding, &dilations, true, output_padding, self.group)
        };
        let pads = (0..n).map(|i| {
            let (start, end, _) = self.geometry(i, n, &spatial[i].into(), kernel[i]);
            start.known().zip(end.known()).ok_or(OpError::Undetermined)
        });
        let pads = pads.collect::<Result<Vec<_>, _>>()?;
        let extra = each(&|i| self.output_padding(i));
        let direct = |i: usize| {
            pads[i].0 == pads[i].1 && pads[i].0 >= 0 && (extra[i] < strides[i] || extra[i] < dilations[i])
        };
        if (0..n).all(direct) {
            return Ok(vec![run(args.get(2), each(&|i| pads[i].0), extra)?]);
        }
        // libtorch crops both ends alike; the rest is cropped, or filled where no window reaches, afterwards.
        let common = each(&|i| pads[i].0.min(pads[i].1 - extra[i]).max(0));
        let rest: Vec<(i64, i64)> =
            (0..n).map(|i| (common[i] - pads[i].0, common[i] + extra[i] - pads[i].1)).collect();
        let y = super::shared::window::pad(&run(None, common, vec![0; n])?, &rest, 0.0)?;
        let Some(bias) = args.get(2) else { return Ok(vec![y]) };
        let mut shape = vec![1; n + 2];
        shape[1] = -1;
        Ok(vec![y.f_add(&bias.f_reshape(shape)?)?])
    }
}
