//! `Clip`: max(min(x, max), min), either bound optional. ONNX opset 1, 6, 11, 12, 13.
//!
//! The bounds are attributes before opset 11 and scalar inputs since.

use super::shared::elementwise_content::first_only;
use crate::op::prelude::*;

/// `Clip`.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The bounds where they are attributes.
    min: Option<f32>,
    max: Option<f32>,
}

impl Register for Clip {
    const NAME: &'static str = "Clip";
    const SINCE: &'static [i64] = &[1, 6, 11, 12, 13];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        if cx.opset >= 11 {
            return Ok(Clip { min: None, max: None });
        }
        Ok(Clip { min: attributes.float("min")?, max: attributes.float("max")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let float = |value: f32| Tensor::from_slice(vec![], &[value]).unwrap();
        let int = |value: i64| Tensor::from_slice(vec![], &[value]).unwrap();
        vec![
            Case::new(13).float([2, 3, 4]).constant(float(-0.5)).constant(float(1.0)),
            Case::new(13).float([5]).absent().constant(float(0.5)),
            Case::new(11).float([5]).fed(float(0.5)),
            Case::new(13).float([5]),
            Case::new(13).float([5]).constant(float(1.0)).constant(float(-1.0)),
            Case::new(9).float([5]).attr("min", 0.0f32).attr("max", 1.5f32),
            Case::new(9).float([5]).attr("max", 1.5f32),
            Case::new(12).ints([5], -9..9).constant(int(-3)).constant(int(3)),
            Case::new(12).int_values(&[-5, 0, 5]).constant(int(-3)).constant(int(3)),
            Case::new(12).float_values(&[-5.0, 0.5]).constant(float(-0.1)),
        ]
    }
}

impl Clip {
    fn content(&self, inputs: &Inputs) -> Option<Content> {
        let (min, max) = (inputs.get(1), inputs.get(2));
        match inputs.get(0)?.content.as_ref()? {
            Content::Ints(v) => {
                let bound = |fact: Option<&Fact>| match fact {
                    Some(fact) => fact.ints().and_then(<[Dim]>::first).map(|d| Some(d.clone())),
                    None => Some(None),
                };
                let (min, max) = (bound(min)?, bound(max)?);
                let clip = |x: &Dim| {
                    let x = min.as_ref().map_or_else(|| x.clone(), |min| x.max_with(min));
                    max.as_ref().map_or_else(|| x.clone(), |max| x.min_with(max))
                };
                Some(v.iter().map(clip).collect::<Vec<Dim>>().into())
            }
            Content::Floats(v) => {
                let bound = |fact: Option<&Fact>, attribute: Option<f32>, default: f64| match fact {
                    Some(fact) => fact.floats().and_then(<[f64]>::first).copied(),
                    None => Some(attribute.map_or(default, f64::from)),
                };
                let min = bound(min, self.min, f64::NEG_INFINITY)?;
                let max = bound(max, self.max, f64::INFINITY)?;
                let clip = |x: &f64| if x.is_nan() { *x } else { x.max(min).min(max) };
                Some(v.iter().map(clip).collect::<Vec<f64>>().into())
            }
        }
    }
}

impl Op for Clip {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let bounds = [("min", self.min), ("max", self.max)];
        bounds.into_iter().filter_map(|(name, bound)| Some((name, bound?.into()))).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let x = inputs.fact(0)?;
        for (i, name) in [(1, "min"), (2, "max")] {
            let shape = inputs.get(i).and_then(|f| f.shape.as_deref()).unwrap_or_default();
            if element_count(shape).known().is_some_and(|n| n != 1) {
                return Err(OpError::Invalid(format!("{name} must be one number")));
            }
        }
        Ok(vec![Fact { content: None, ..x.clone() }.with_content(self.content(inputs))])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::elementwise(&first_only(inputs), &outputs[0])
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use secateurs_torch::tch::Scalar;
        let x = args.tensor(0)?;
        let float = x.f_is_floating_point()?;
        let bound = |input: usize, attribute: Option<f32>| -> Result<Option<Scalar>, OpError> {
            Ok(match args.get(input) {
                Some(_) if float => args.floats(input)?.first().map(|&b| Scalar::float(b)),
                Some(_) => args.ints(input)?.first().map(|&b| Scalar::int(b)),
                None => attribute.map(|b| Scalar::float(f64::from(b))),
            })
        };
        let y = match (bound(1, self.min)?, bound(2, self.max)?) {
            (Some(min), Some(max)) => x.f_clamp(min, max)?,
            (Some(min), None) => x.f_clamp_min(min)?,
            (None, Some(max)) => x.f_clamp_max(max)?,
            (None, None) => x.f_alias()?,
        };
        Ok(vec![y])
    }
}
