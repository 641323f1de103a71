//! `RoiAlign`: regions of feature maps, bilinearly sampled on a grid. ONNX opset 10, 16, 22.
//!
//! x: [N, C, H, W], rois: [R, 4] as (x1, y1, x2, y2), batch_indices: [R] → y: [R, C, output_height, output_width].
//! As in ONNX Runtime, mode `max` takes the largest of the weighted corners of all samples.

use crate::op::prelude::*;

/// `RoiAlign`.
#[derive(Clone, Debug)]
pub struct RoiAlign {
    max: bool,
    /// Whether regions are shifted by half a pixel.
    half_pixel: bool,
    /// Before opset 16 they never were, and no attribute said so.
    shift_is_attribute: bool,
    output_height: i64,
    output_width: i64,
    sampling_ratio: i64,
    spatial_scale: f32,
}

impl Register for RoiAlign {
    const NAME: &'static str = "RoiAlign";
    const SINCE: &'static [i64] = &[10, 16, 22];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let unknown = |name: &str, value: &str| Err(OpError::Invalid(format!("{name} is '{value}'")));
        let op = RoiAlign {
            max: match attributes.string("mode")?.as_deref() {
                None | Some("avg") => false,
                Some("max") => true,
                Some(other) => return unknown("mode", other),
            },
            half_pixel: match attributes.string("coordinate_transformation_mode")?.as_deref() {
                None => cx.opset >= 16,
                Some("half_pixel") => true,
                Some("output_half_pixel") => false,
                Some(other) => return unknown("coordinate_transformation_mode", other),
            },
            shift_is_attribute: cx.opset >= 16,
            output_height: attributes.int_or("output_height", 1)?,
            output_width: attributes.int_or("output_width", 1)?,
            sampling_ratio: attributes.int_or("sampling_ratio", 0)?,
            spatial_scale: attributes.float_or("spatial_scale", 1.0)?,
        };
        super::shared::window::in_range("the output size", &[op.output_height, op.output_width], 1)?;
        super::shared::window::in_range("sampling_ratio", &[op.sampling_ratio], 0)?;
        Ok(op)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let rois = [0.5f32, 1.0, 6.25, 7.5, -2.0, 3.0, 12.0, 4.5, 3.0, 3.0, 3.25, 3.5];
        let case = |opset: i64| {
            Case::new(opset)
                .float([2, 3, 8, 9])
                .constant(Tensor::from_slice(vec![3, 4], &rois).unwrap())
                .int_values(&[1, 0, 1])
                .attr("output_height", 3i64)
                .attr("output_width", 2i64)
        };
        vec![
            case(10),
            case(16).attr("sampling_ratio", 2i64),
            case(16).attr("spatial_scale", 0.5f32).attr("coordinate_transformation_mode", "output_half_pixel"),
            case(16).attr("mode", "max").attr("sampling_ratio", 3i64),
        ]
    }
}

impl Op for RoiAlign {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = vec![
            ("mode", if self.max { "max" } else { "avg" }.into()),
            ("output_height", self.output_height.into()),
            ("output_width", self.output_width.into()),
            ("sampling_ratio", self.sampling_ratio.into()),
            ("spatial_scale", self.spatial_scale.into()),
        ];
        if self.shift_is_attribute {
            let mode = if self.half_pixel { "half_pixel" } else { "output_half_pixel" };
            list.push(("coordinate_transformation_mode", mode.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let ([_, channels, _, _], [regions, four]) = (inputs.shape(0)?, inputs.shape(1)?) else {
            return Err(OpError::invalid("the input must have 4 axes and the regions 2"));
        };
        expect_same(four, &4.into(), "the numbers of a region")?;
        let [images] = inputs.shape(2)? else { return Err(OpError::invalid("batch_indices must have one axis")) };
        expect_same(images, regions, "the regions and their batch_indices")?;
        let shape = vec![regions.clone(), channels.clone(), self.output_height.into(), self.output_width.into()];
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// `x: [n, c, h, w], rois: [r, 4], batch_indices: [r] → y: [r, c, …]`; images, pixels and corners blocked.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        super::shared::regions::axes(inputs, outputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 2 { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (rois, batch) = (args.floats(1)?, args.ints(2)?);
        let y = super::shared::pool::widened(args.tensor(0)?, |x| {
            let pooled = rois.chunks_exact(4).zip(&batch).map(|(roi, &image)| self.pool(x, roi, image));
            let pooled = pooled.collect::<Result<Vec<_>, _>>()?;
            super::shared::regions::stack(&pooled, x, [self.output_height, self.output_width])
        });
        Ok(vec![y?])
    }
}

/// Where the samples along one axis lie: two neighbouring pixels each, with their weights.
#[cfg(feature = "torch")]
struct Samples {
    corners: [(Vec<i64>, Vec<f64>); 2],
    per_bin: i64,
}

/// A region that asks for more samples than this along an axis is refused.
#[cfg(feature = "torch")]
const MAX_SAMPLES: i64 = 1 << 16;

#[cfg(feature = "torch")]
impl RoiAlign {
    fn samples(&self, from: f64, to: f64, bins: i64, size: i64) -> Result<Samples, OpError> {
        let scale = f64::from(self.spatial_scale);
        let start = from * scale - if self.half_pixel { 0.5 } else { 0.0 };
        let length = (to - from) * scale;
        let bin = (if self.half_pixel { length } else { length.max(1.0) }) / bins as f64;
        let per_bin = if self.sampling_ratio > 0 { self.sampling_ratio } else { bin.ceil().max(0.0) as i64 };
        if per_bin.saturating_mul(bins) > MAX_SAMPLES {
            return Err(OpError::Invalid(format!("a region from {from} to {to} takes too many samples")));
        }
        let mut samples = Samples { corners: Default::default(), per_bin };
        for i in 0..per_bin * bins {
            let position = start + bin * ((i / per_bin) as f64 + ((i % per_bin) as f64 + 0.5) / per_bin as f64);
            let inside = (-1.0..=size as f64).contains(&position);
            let low = position.clamp(0.0, (size - 1).max(0) as f64);
            let weight = low.fract();
            let pixel = low as i64;
            for ((pixels, weights), (pixel, weight)) in
                samples.corners.iter_mut().zip([(pixel, 1.0 - weight), ((pixel + 1).min(size - 1), weight)])
            {
                pixels.push(pixel);
                weights.push(if inside { weight } else { 0.0 });
            }
        }
        Ok(samples)
    }

    /// One region of one image: [C, output_height, output_width].
    fn pool(&self, x: &Tensor, roi: &[f64], image: i64) -> Result<Tensor, OpError> {
        let (size, options) = (x.size(), (x.f_kind()?, x.device()));
        let rows = self.samples(roi[1], roi[3], self.output_height, size[2])?;
        let columns = self.samples(roi[0], roi[2], self.output_width, size[3])?;
        let grid = [size[1], self.output_height, rows.per_bin, self.output_width, columns.per_bin];
        if grid.contains(&0) {
            return Ok(Tensor::f_zeros([size[1], self.output_height, self.output_width], options)?);
        }
        let x = x.f_select(0, image)?;
        let mut corners = Vec::with_capacity(4);
        for (row, row_weight) in &rows.corners {
            let row = Tensor::f_from_slice(row)?.f_to_device(options.1)?;
            let row_weight = Tensor::f_from_slice(row_weight)?.f_to_device(options.1)?.f_unsqueeze(1)?;
            let picked = x.f_index_select(1, &row)?;
            for (column, weight) in &columns.corners {
                let column = Tensor::f_from_slice(column)?.f_to_device(options.1)?;
                let weight = Tensor::f_from_slice(weight)?.f_to_device(options.1)?.f_mul(&row_weight)?;
                let weighted = picked.f_index_select(2, &column)?.f_mul(&weight.f_to_kind(options.0)?)?;
                corners.push(weighted.f_reshape(grid)?);
            }
        }
        let corners = Tensor::f_stack(&corners, 0)?;
        Ok(match self.max {
            true => corners.f_amax([0, 3, 5], false)?,
            false => corners.f_sum_dim_intlist(0, false, None)?.f_mean_dim([2, 4].as_slice(), false, None)?,
        })
    }
}
