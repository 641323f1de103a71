//! `LRN`: local response normalization across channels. ONNX opset 1, 13.
//!
//! x: [N, C, …] → y: x / (bias + alpha / size · Σ x²)^beta, the sum over the `size` channels around each.

use crate::op::prelude::*;

/// `LRN`.
#[derive(Clone, Debug)]
pub struct Lrn {
    alpha: f32,
    beta: f32,
    bias: f32,
    size: i64,
}

impl Register for Lrn {
    const NAME: &'static str = "LRN";
    const SINCE: &'static [i64] = &[1, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let size = attributes.int("size")?.ok_or_else(|| OpError::invalid("size is missing"))?;
        super::shared::window::in_range("size", &[size], 1)?;
        Ok(Lrn {
            alpha: attributes.float_or("alpha", 1e-4)?,
            beta: attributes.float_or("beta", 0.75)?,
            bias: attributes.float_or("bias", 1.0)?,
            size,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let strong = |size: i64| {
            Case::new(9).attr("size", size).attr("alpha", 0.5f32).attr("beta", 0.5f32).attr("bias", 2f32).ordered()
        };
        vec![
            strong(3).float([2, 5, 3, 4]),
            strong(9).float([1, 4, 3, 2]),
            strong(4).float([2, 6, 3]).without_runtime(),
            Case::new(13).attr("size", 1i64).float([2, 3, 2, 2]),
        ]
    }
}

impl Op for Lrn {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![
            ("alpha", self.alpha.into()),
            ("beta", self.beta.into()),
            ("bias", self.bias.into()),
            ("size", self.size.into()),
        ]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let x = inputs.shape(0)?;
        if x.len() < 2 {
            return Err(OpError::Invalid(format!("the input has {} axes; there must be 2 or more", x.len())));
        }
        Ok(vec![Fact::of(inputs.element_type(0)?, x.to_vec())])
    }

    fn is_ordered(&self) -> bool {
        true
    }

    /// `x: [n, c, …] → y: [n, c, …]`, channels mixed.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(x) = inputs.shape(0) else { return map };
        let role = |i: usize| if i == 1 { Role::Mixed("a window over channels") } else { Role::Free };
        let axes: Vec<Axis> = x.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        map.inputs[0] = Some(axes.clone());
        map.outputs[0] = Some(axes);
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let y = super::shared::pool::widened(args.tensor(0)?, |x| {
            // No more neighbours than there are channels.
            let reach = |n: i64| n.min(x.size()[1]);
            let around = [reach((self.size - 1) / 2), reach(self.size / 2)];
            let mut pads = vec![0; 2 * (x.dim() - 2)];
            pads.extend(around);
            let squares = x.f_square()?.f_pad(pads, "constant", 0.0)?;
            let sums = squares.f_unfold(1, around[0] + around[1] + 1, 1)?.f_sum_dim_intlist(-1, false, None)?;
            let base = sums.f_mul_scalar(f64::from(self.alpha) / self.size as f64)?;
            Ok(x.f_div(&base.f_add_scalar(f64::from(self.bias))?.f_pow_tensor_scalar(f64::from(self.beta))?)?)
        });
        Ok(vec![y?])
    }
}
