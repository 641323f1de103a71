//! `AveragePool`: the mean of each window. ONNX opset 1, 7, 10, 11, 19, 22.
//!
//! x: [N, C, D1, …] → y: [N, C, D1', …]. Padding enters the divisor with `count_include_pad`; what a last window of
//! `ceil_mode` covers beyond the padding never does.

use super::shared::pool;
use super::shared::window::Window;
use crate::op::prelude::*;

/// `AveragePool`.
#[derive(Clone, Debug)]
pub struct AveragePool {
    window: Window,
    count_include_pad: bool,
}

impl Register for AveragePool {
    const NAME: &'static str = "AveragePool";
    const SINCE: &'static [i64] = &[1, 7, 10, 11, 19, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(AveragePool {
            window: pool::parse(attributes)?,
            count_include_pad: attributes.flag("count_include_pad", false)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], kernel: &[i64]| Case::new(19).float(x.to_vec()).attr("kernel_shape", kernel.to_vec());
        let mut cases = vec![
            case(&[2, 3, 8, 8], &[2, 2]).attr("strides", vec![2i64, 2]),
            case(&[2, 3, 7], &[3]).attr("strides", vec![2i64]),
        ];
        for count in [0i64, 1] {
            let both = [
                case(&[2, 3, 9, 8], &[3, 3]).attr("pads", vec![1i64; 4]).attr("strides", vec![2i64, 2]),
                case(&[2, 3, 9, 8], &[2, 3]).attr("dilations", vec![2i64, 2]).attr("pads", vec![0i64, 2, 1, 0]),
                case(&[1, 2, 5, 6], &[2, 3])
                    .attr("ceil_mode", 1i64)
                    .attr("strides", vec![3i64, 2])
                    .attr("pads", vec![1i64; 4]),
                case(&[1, 2, 7, 6], &[3, 3])
                    .attr("ceil_mode", 1i64)
                    .attr("strides", vec![2i64, 2])
                    .attr("pads", vec![1i64, 0, 0, 2]),
                case(&[1, 2, 7, 6], &[3, 2]).attr("auto_pad", "SAME_UPPER").attr("strides", vec![2i64, 1]),
                case(&[1, 2, 7, 6], &[3, 2]).attr("auto_pad", "SAME_LOWER"),
                case(&[2, 1, 4, 5, 6], &[2, 3, 2]).attr("pads", vec![1i64, 1, 0, 0, 1, 1]),
            ];
            cases.extend(both.into_iter().map(|case| case.attr("count_include_pad", count)));
        }
        cases
    }
}

impl Op for AveragePool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        if self.count_include_pad {
            list.push(("count_include_pad", true.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![pool::infer(&self.window, inputs)?])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        pool::axes(inputs, outputs)
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let geometry = pool::Geometry::new(&self.window, args.tensor(0)?)?;
        let y = pool::widened(args.tensor(0)?, |x| {
            let (kernel, strides) = (&geometry.kernel, &geometry.strides);
            let (ceil, count) = (geometry.ceil_mode, self.count_include_pad);
            let plain = geometry.even_padding().filter(|_| geometry.dilations.iter().all(|d| *d == 1));
            Ok(match (plain, kernel.len()) {
                (Some(padding), 1) => x.f_avg_pool1d(kernel, strides, padding, ceil, count)?,
                (Some(padding), 2) => x.f_avg_pool2d(kernel, strides, padding, ceil, count, None)?,
                (Some(padding), 3) => x.f_avg_pool3d(kernel, strides, padding, ceil, count, None)?,
                (_, 1..=3) => geometry.sums(&geometry.padded(x, 0.0)?)?.f_div(&geometry.counts(x, count)?)?,
                (_, n) => return Err(OpError::Unsupported(format!("AveragePool over {n} spatial axes"))),
            })
        });
        Ok(vec![y?])
    }
}
