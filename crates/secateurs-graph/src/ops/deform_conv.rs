//! `DeformConv`: a 2-d convolution that reads its input at learned offsets. ONNX opset 19, 22.
//!
//! x: [N, C, H, W], w: [M, C / group, kh, kw], offset: [N, offset_group · kh · kw · 2, H', W'], b: [M],
//! mask: [N, offset_group · kh · kw, H', W'] → y: [N, M, H', W'].

use super::shared::convolution;
use super::shared::window::Window;
use crate::op::prelude::*;

/// `DeformConv`.
#[derive(Clone, Debug)]
pub struct DeformConv {
    window: Window,
    group: i64,
    offset_group: i64,
}

impl Register for DeformConv {
    const NAME: &'static str = "DeformConv";
    const SINCE: &'static [i64] = &[19, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(DeformConv {
            window: Window::parse(attributes)?,
            group: convolution::parse_group(attributes, "group")?,
            offset_group: convolution::parse_group(attributes, "offset_group")?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |w: &[i64], offset: &[i64]| {
            Case::new(19).float([2, 4, 6, 5]).param(w.to_vec()).float(offset.to_vec())
        };
        vec![
            case(&[3, 4, 2, 3], &[2, 12, 5, 3]),
            case(&[6, 2, 3, 2], &[2, 12, 3, 5])
                .param([6])
                .float([2, 6, 3, 5])
                .attr("group", 2i64)
                .attr("pads", vec![1i64, 0, 0, 1])
                .attr("strides", vec![2i64, 1]),
            case(&[3, 4, 2, 2], &[2, 16, 4, 4])
                .absent()
                .float([2, 8, 4, 4])
                .attr("offset_group", 2i64)
                .attr("dilations", vec![2i64, 1]),
        ]
    }
}

impl Op for DeformConv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        for (name, group) in [("group", self.group), ("offset_group", self.offset_group)] {
            if group != 1 {
                list.push((name, group.into()));
            }
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        let kernel = convolution::kernel(&self.window, x, w, self.group)?;
        if kernel.len() != 2 {
            return Err(OpError::Undetermined);
        }
        expect_same(
            &x[1],
            &(w[1].clone() * self.group.into()),
            "channels of the input and of the weight times group",
        )?;
        if let Some(c) = x[1].known().filter(|c| c % self.offset_group != 0) {
            let text = format!("{c} channels are not a multiple of offset_group {}", self.offset_group);
            return Err(OpError::Invalid(text));
        }
        convolution::check_bias(inputs.get(3), &w[0])?;
        let spatial = self.window.outputs(&x[2..], &kernel)?;
        let positions = element_count(&w[2..]) * self.offset_group.into();
        for (i, name, each) in [(2, "offset", 2), (4, "mask", 1)] {
            let Some(shape) = inputs.get(i).and_then(|fact| fact.shape.as_deref()) else { continue };
            let wanted = [&[x[0].clone(), positions.clone() * each.into()], spatial.as_slice()].concat();
            if shape.len() != wanted.len() {
                return Err(OpError::Invalid(format!("the {name} has {} axes; it must have 4", shape.len())));
            }
            for (size, wanted) in shape.iter().zip(&wanted) {
                expect_same(size, wanted, &format!("the {name} and the windows"))?;
            }
        }
        let shape = [&[x[0].clone(), w[0].clone()], spatial.as_slice()].concat();
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// As `Conv`; with several offset groups, and over other than two spatial axes, all is blocked.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let reason = "learned offsets";
        if self.offset_group != 1 || inputs.get(0).and_then(Fact::rank) != Some(4) {
            return AxisMap::blocked(inputs.facts, outputs, reason);
        }
        let mut map = convolution::axes(inputs, outputs, self.group, 3, false);
        let batch = map.inputs[0].as_ref().map(|axes| axes[0].clone());
        for i in [2, 4] {
            let Some((fact, batch)) = inputs.get(i).zip(batch.clone()) else { continue };
            let mut axes = map.blocked_axes(fact, reason);
            if let Some(first) = axes.as_mut().and_then(|axes| axes.first_mut()) {
                *first = batch;
            }
            map.inputs[i] = axes;
        }
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(DeformConv { group: convolution::kept_groups(kept, self.group), ..self.clone() }))
    }

    fn channel_axis(&self, _rank: usize) -> usize {
        1
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> Dim {
        convolution::macs(outputs[0].shape.as_deref(), inputs.shape(1).ok())
    }

    fn role(&self, input: usize) -> InputRole {
        if matches!(input, 1 | 3) { InputRole::Parameter } else { InputRole::Data }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        let Ok(w @ [filters, _, ..]) = inputs.shape(1) else { return Initial::Keep };
        convolution::initial(input, 3, w, &filters.floor_div(&self.group.into()))
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let y = super::shared::pool::widened(args.tensor(0)?, |x| self.convolve(args, x));
        Ok(vec![y?])
    }
}

#[cfg(feature = "torch")]
impl DeformConv {
    fn convolve(&self, args: &Args, x: &Tensor) -> Result<Tensor, OpError> {
        let cast = |i: usize| Ok::<_, OpError>(args.tensor(i)?.f_to_kind(x.f_kind()?)?);
        let (w, offset) = (cast(1)?, cast(2)?);
        let (&[n, c, height, width], &[m, _, kh, kw], &[_, _, oh, ow]) =
            (&x.size()[..], &w.size()[..], &offset.size()[..])
        else {
            return Err(OpError::Unsupported("DeformConv over other than two spatial axes".into()));
        };
        let (g, og) = (self.group, self.offset_group);
        // Sampling points, in pixels, then in the −1..1 of grid_sampler.
        let offset = offset.f_reshape([n, og, kh, kw, 2, oh, ow])?;
        let padding = self.window.known_padding(&[height, width], &[kh, kw])?;
        let along = |axis: usize, size: i64, taps: i64, outputs: i64| -> Result<Tensor, OpError> {
            let options = (x.f_kind()?, x.device());
            let taps = Tensor::f_arange(taps, options)?.f_mul_scalar(self.window.dilation(axis))?;
            let starts = Tensor::f_arange(outputs, options)?.f_mul_scalar(self.window.stride(axis))?;
            let shape = |length: i64, first: usize| {
                let mut shape = [1; 4];
                shape[first + axis] = length;
                shape
            };
            let grid = taps.f_reshape(shape(taps.size()[0], 0))?.f_add(&starts.f_reshape(shape(outputs, 2))?)?;
            let pixels = grid.f_sub_scalar(padding[axis].0)?.f_add(&offset.f_select(4, axis as i64)?)?;
            Ok(pixels.f_mul_scalar(2.0)?.f_add_scalar(1.0)?.f_div_scalar(size as f64)?.f_sub_scalar(1.0)?)
        };
        let grid = Tensor::f_stack(&[along(1, width, kw, ow)?, along(0, height, kh, oh)?], -1)?;
        let grid = grid.f_reshape([n * og, kh * kw * oh, ow, 2])?;
        let (bilinear, zeros) = (0, 0);
        let images = x.f_reshape([n * og, c / og, height, width])?;
        let mut samples = images.f_grid_sampler(&grid, bilinear, zeros, false)?;
        if args.get(4).is_some() {
            let mask = cast(4)?.f_reshape([n * og, 1, kh * kw * oh, ow])?;
            samples = samples.f_mul(&mask)?;
        }
        let columns = samples.f_reshape([n, g, c / g * kh * kw, oh * ow])?;
        let y = w.f_reshape([g, m / g, c / g * kh * kw])?.f_matmul(&columns)?.f_reshape([n, m, oh, ow])?;
        match args.get(3) {
            Some(_) => Ok(y.f_add(&cast(3)?.f_reshape([1, -1, 1, 1])?)?),
            None => Ok(y),
        }
    }
}
