//! `MeanVarianceNormalization`: zero mean and unit variance over axes, by default all but the channels. ONNX opset 9, 13.

use crate::op::prelude::*;

/// `MeanVarianceNormalization`.
#[derive(Clone, Debug)]
pub struct MeanVarianceNormalization {
    axes: Vec<i64>,
}

const DEFAULT_AXES: [i64; 3] = [0, 2, 3];

impl Register for MeanVarianceNormalization {
    const NAME: &'static str = "MeanVarianceNormalization";
    const SINCE: &'static [i64] = &[9, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let axes = attributes.ints("axes")?.unwrap_or_else(|| DEFAULT_AXES.to_vec());
        Ok(MeanVarianceNormalization { axes })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).float([2, 3, 4, 3]),
            Case::new(9).float([2, 3, 4]).attr("axes", vec![1i64, -1]),
        ]
    }
}

impl Op for MeanVarianceNormalization {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axes == DEFAULT_AXES { Vec::new() } else { vec![("axes", self.axes.clone().into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        if let Some(rank) = fact.rank() {
            normalize_axes(&self.axes, rank)?;
        }
        Ok(vec![Fact { content: None, ..fact.clone() }])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(over) = normalize_axes(&self.axes, shape.len()) else { return map };
        let role = |i| if over.contains(&i) { Role::Mixed("mean-variance normalization") } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        if self.axes.is_empty() {
            return Ok(vec![x.f_zeros_like()?]);
        }
        let centred = x.f_sub(&x.f_mean_dim(&self.axes[..], true, None)?)?;
        let deviation = centred.f_square()?.f_mean_dim(&self.axes[..], true, None)?.f_sqrt()?;
        Ok(vec![centred.f_div(&deviation.f_add_scalar(1e-9)?)?])
    }
}
