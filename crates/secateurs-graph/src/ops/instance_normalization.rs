//! `InstanceNormalization`: zero mean and unit variance of each channel of each sample. ONNX opset 1, 6, 22.
//!
//! x: [N, C, D1, …], scale: [C], bias: [C] → y like x.

use super::shared::channel_norm;
use crate::op::prelude::*;

/// `InstanceNormalization`.
#[derive(Clone, Debug)]
pub struct InstanceNormalization {
    epsilon: f32,
}

impl Register for InstanceNormalization {
    const NAME: &'static str = "InstanceNormalization";
    const SINCE: &'static [i64] = &[1, 6, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(InstanceNormalization { epsilon: attributes.float_or("epsilon", 1e-5)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64]| Case::new(9).float(x.to_vec()).param([3]).param([3]);
        vec![
            case(&[2, 3, 4, 5]),
            case(&[2, 3, 6]).attr("epsilon", 0.01f32),
            case(&[1, 3, 2, 3, 4]),
            Case::new(22).float([2, 1, 5]).param([1]).param([1]),
        ]
    }
}

impl Op for InstanceNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.epsilon == 1e-5 { Vec::new() } else { vec![("epsilon", self.epsilon.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![channel_norm::infer(inputs, 3, Dim::clone)?])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let role = |axis| if axis < 2 { Role::Free } else { Role::Mixed("instance normalization") };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        for i in 1..inputs.len() {
            map.inputs[i] = axes.get(1).map(|channels| vec![channels.clone()]);
        }
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn annihilates(&self) -> &'static [(usize, usize)] {
        SCALED
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Parameter }
    }

    fn initial(&self, input: usize, _: &Inputs) -> Initial {
        match input {
            1 => Initial::Constant(1.0),
            2 => Initial::Constant(0.0),
            _ => Initial::Keep,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (x, scale, bias) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
        let epsilon = self.epsilon.into();
        let none = None::<&Tensor>;
        Ok(vec![x.f_instance_norm(Some(scale), Some(bias), none, none, true, 0.0, epsilon, true)?])
    }
}
