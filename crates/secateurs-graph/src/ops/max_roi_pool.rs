//! `MaxRoiPool`: the maxima of a grid of bins laid over regions of feature maps. ONNX opset 1, 22.
//!
//! x: [N, C, H, W], rois: [R, 5] as (image, x1, y1, x2, y2) → y: [R, C, pooled_height, pooled_width].

use crate::op::prelude::*;

/// `MaxRoiPool`.
#[derive(Clone, Debug)]
pub struct MaxRoiPool {
    pooled: [i64; 2],
    spatial_scale: f32,
}

impl Register for MaxRoiPool {
    const NAME: &'static str = "MaxRoiPool";
    const SINCE: &'static [i64] = &[1, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let pooled = attributes.ints("pooled_shape")?.unwrap_or_default();
        super::shared::window::in_range("pooled_shape", &pooled, 1)?;
        let [height, width] = pooled[..] else {
            return Err(OpError::Invalid(format!("pooled_shape is {pooled:?}; it must be height and width")));
        };
        Ok(MaxRoiPool { pooled: [height, width], spatial_scale: attributes.float_or("spatial_scale", 1.0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let rois = [1f32, 0.0, 1.0, 6.0, 7.0, 0.0, -4.0, 3.0, 12.0, 4.0, 1.0, 3.0, 3.0, 3.0, 3.0];
        let case = || {
            Case::new(9)
                .float([2, 3, 8, 9])
                .constant(Tensor::from_slice(vec![3, 5], &rois).unwrap())
                .attr("pooled_shape", vec![3i64, 2])
        };
        vec![case(), case().attr("spatial_scale", 0.5f32)]
    }
}

impl Op for MaxRoiPool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("pooled_shape", self.pooled.to_vec().into()), ("spatial_scale", self.spatial_scale.into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let ([_, channels, _, _], [regions, five]) = (inputs.shape(0)?, inputs.shape(1)?) else {
            return Err(OpError::invalid("the input must have 4 axes and the regions 2"));
        };
        expect_same(five, &5.into(), "the numbers of a region")?;
        let shape = vec![regions.clone(), channels.clone(), self.pooled[0].into(), self.pooled[1].into()];
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    /// `x: [n, c, h, w], rois: [r, 5] → y: [r, c, …]`; images, pixels and corners blocked.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        super::shared::regions::axes(inputs, outputs)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let rois = args.floats(1)?;
        let y = super::shared::pool::widened(args.tensor(0)?, |x| {
            let pooled = rois.chunks_exact(5).map(|roi| self.pool(x, roi)).collect::<Result<Vec<_>, _>>()?;
            super::shared::regions::stack(&pooled, x, self.pooled)
        });
        Ok(vec![y?])
    }
}

#[cfg(feature = "torch")]
impl MaxRoiPool {
    /// One region: [C, pooled_height, pooled_width].
    fn pool(&self, x: &Tensor, roi: &[f64]) -> Result<Tensor, OpError> {
        let x = x.f_select(0, roi[0] as i64)?;
        let rows = self.bins(&x, 1, roi[2], roi[4], self.pooled[0])?;
        self.bins(&rows, 2, roi[1], roi[3], self.pooled[1])
    }

    /// Maxima over the bins of one axis; 0 for an empty bin.
    fn bins(&self, x: &Tensor, axis: usize, from: f64, to: f64, bins: i64) -> Result<Tensor, OpError> {
        let size = x.size()[axis] as f64;
        let at = |corner: f64| (corner * f64::from(self.spatial_scale)).round();
        let width = (at(to) - at(from) + 1.0).max(1.0) / bins as f64;
        let edge = |offset: f64| (offset + at(from)).clamp(0.0, size) as i64;
        let maxima = (0..bins).map(|bin| {
            let (start, end) = (edge((bin as f64 * width).floor()), edge(((bin + 1) as f64 * width).ceil()));
            match end > start {
                true => x.f_narrow(axis as i64, start, end - start)?.f_amax(axis as i64, true),
                false => x.f_narrow(axis as i64, 0, 1)?.f_zeros_like(),
            }
        });
        Ok(Tensor::f_cat(&maxima.collect::<Result<Vec<_>, _>>()?, axis as i64)?)
    }
}
