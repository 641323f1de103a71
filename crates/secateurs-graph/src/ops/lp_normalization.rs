//! `LpNormalization`: division by the sum of absolute values, or the Euclidean norm, along an axis. ONNX opset 1, 22.

use crate::op::prelude::*;

/// `LpNormalization`.
#[derive(Clone, Debug)]
pub struct LpNormalization {
    axis: i64,
    /// 1 or 2.
    p: i64,
}

impl Register for LpNormalization {
    const NAME: &'static str = "LpNormalization";
    const SINCE: &'static [i64] = &[1, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let p = attributes.int_or("p", 2)?;
        if p != 1 && p != 2 {
            return Err(OpError::Invalid(format!("p is {p}; it must be 1 or 2")));
        }
        Ok(LpNormalization { axis: attributes.int_or("axis", -1)?, p })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(22).float([2, 3, 4]);
        vec![case(), case().attr("p", 1i64).attr("axis", 1i64), Case::new(9).float([3]).attr("axis", 0i64)]
    }
}

impl Op for LpNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.axis != -1 {
            list.push(("axis", self.axis.into()));
        }
        if self.p != 2 {
            list.push(("p", self.p.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        if let Some(rank) = fact.rank() {
            normalize_axis(self.axis, rank)?;
        }
        Ok(vec![Fact { content: None, ..fact.clone() }])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(over) = normalize_axis(self.axis, shape.len()) else { return map };
        let role = |i| if i == over { Role::Summed } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let norm = x.f_norm_scalaropt_dim(self.p, self.axis, true)?;
        // Zeros stay zeros.
        let divisor = norm.f_masked_fill(&norm.f_eq(0)?, 1.0)?;
        Ok(vec![x.f_div(&divisor)?])
    }
}
