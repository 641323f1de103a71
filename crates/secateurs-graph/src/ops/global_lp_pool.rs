//! `GlobalLpPool`: the p-norm over all spatial axes. ONNX opset 2, 22. x: [N, C, D1, …] → y: [N, C, 1, …].

use super::shared::global_pool;
use crate::op::prelude::*;

/// `GlobalLpPool`.
#[derive(Clone, Debug)]
pub struct GlobalLpPool {
    p: i64,
}

impl Register for GlobalLpPool {
    const NAME: &'static str = "GlobalLpPool";
    const SINCE: &'static [i64] = &[1, 2, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(GlobalLpPool { p: global_pool::parse_p(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let third = |case: Case| case.attr("p", 3i64);
        global_pool::cases().into_iter().chain(global_pool::cases().into_iter().map(third)).collect()
    }
}

impl Op for GlobalLpPool {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("p", self.p.into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![global_pool::infer(inputs)?])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        global_pool::axes(inputs, Role::Summed)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let y = super::shared::pool::widened(args.tensor(0)?, |x| {
            let spatial: Vec<i64> = (2..x.dim() as i64).collect();
            let powers = x.f_abs()?.f_pow_tensor_scalar(self.p)?;
            let sums = powers.f_sum_dim_intlist(spatial, true, None)?;
            Ok(sums.f_pow_tensor_scalar(1.0 / self.p as f64)?)
        });
        Ok(vec![y?])
    }
}
