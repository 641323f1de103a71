//! `CumProd`: the product of all elements up to each along an axis. ONNX opset 26.

use crate::op::prelude::*;

/// `CumProd`.
#[derive(Clone, Debug)]
pub struct CumProd {
    /// An element does not count for itself.
    exclusive: bool,
    reverse: bool,
}

impl Register for CumProd {
    const NAME: &'static str = "CumProd";
    const SINCE: &'static [i64] = &[26];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let exclusive = attributes.flag("exclusive", false)?;
        Ok(CumProd { exclusive, reverse: attributes.flag("reverse", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |axis: i64| Case::new(26).float([2, 3, 4]).constant(secateurs_onnx::Tensor::scalar(axis));
        vec![
            case(1),
            case(-1).attr("exclusive", 1i64),
            case(0).attr("reverse", 1i64),
            case(2).attr("reverse", 1i64).attr("exclusive", 1i64),
        ]
    }
}

impl Op for CumProd {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let flags = [("exclusive", self.exclusive), ("reverse", self.reverse)];
        flags.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name, on.into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        if let (Some(rank), Some([axis])) = (fact.rank(), inputs.fact(1)?.known_ints().as_deref()) {
            normalize_axis(*axis, rank)?;
        }
        Ok(vec![Fact { content: None, ..fact.clone() }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let axis = inputs.ints(1).ok().and_then(|axes| normalize_axis(*axes.first()?, shape.len()).ok());
        let Some(over) = axis else {
            return AxisMap::blocked(inputs.facts, outputs, "a product along an axis only a run can tell");
        };
        let role = |i| if i == over { Role::Blocked("a cumulative product") } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let mut x = args.tensor(0)?.shallow_clone();
        let axis = args.ints(1)?.first().copied().ok_or_else(|| OpError::invalid("the axis is missing"))?;
        if self.reverse {
            x = x.f_flip([axis])?;
        }
        let n = x.size()[normalize_axis(axis, x.dim())?];
        if self.exclusive && n > 0 {
            let ones = x.f_narrow(axis, 0, 1)?.f_ones_like()?;
            x = Tensor::f_cat(&[ones, x.f_narrow(axis, 0, n - 1)?], axis)?;
        }
        let mut y = x.f_cumprod(axis, x.f_kind()?)?;
        if self.reverse {
            y = y.f_flip([axis])?;
        }
        Ok(vec![y])
    }
}
