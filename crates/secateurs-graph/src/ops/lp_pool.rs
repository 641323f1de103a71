//! `LpPool`: the p-norm of each window. ONNX opset 2, 11, 18, 22. x: [N, C, D1, …] → y: [N, C, D1', …].

use super::shared::pool;
use super::shared::window::Window;
use crate::op::prelude::*;

/// `LpPool`.
#[derive(Clone, Debug)]
pub struct LpPool {
    window: Window,
    p: i64,
}

impl Register for LpPool {
    const NAME: &'static str = "LpPool";
    const SINCE: &'static [i64] = &[1, 2, 11, 18, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(LpPool { window: pool::parse(attributes)?, p: super::shared::global_pool::parse_p(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], kernel: &[i64]| Case::new(18).float(x.to_vec()).attr("kernel_shape", kernel.to_vec());
        vec![
            case(&[2, 3, 9, 8], &[3, 3]).attr("pads", vec![1i64; 4]).attr("strides", vec![2i64, 2]),
            case(&[2, 3, 9, 8], &[2, 3]).attr("dilations", vec![2i64, 2]).attr("p", 3i64),
            case(&[1, 2, 7, 6], &[2, 2]).attr("auto_pad", "SAME_LOWER").attr("p", 1i64),
            case(&[1, 2, 8, 5], &[3, 2]).attr("ceil_mode", 1i64).attr("strides", vec![2i64, 3]),
            case(&[2, 3, 7], &[3]).attr("pads", vec![2i64, 0]),
            case(&[2, 1, 4, 5, 6], &[2, 3, 2]),
        ]
    }
}

impl Op for LpPool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.window.attributes();
        list.push(("p", self.p.into()));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![pool::infer(&self.window, inputs)?])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        pool::axes(inputs, outputs)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let geometry = pool::Geometry::new(&self.window, args.tensor(0)?)?;
        if geometry.kernel.len() > 3 {
            return Err(OpError::Unsupported(format!("LpPool over {} spatial axes", geometry.kernel.len())));
        }
        let y = pool::widened(args.tensor(0)?, |x| {
            let powers = x.f_abs()?.f_pow_tensor_scalar(self.p)?;
            Ok(geometry.sums(&geometry.padded(&powers, 0.0)?)?.f_pow_tensor_scalar(1.0 / self.p as f64)?)
        });
        Ok(vec![y?])
    }
}
