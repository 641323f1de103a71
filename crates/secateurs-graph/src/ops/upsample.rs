//! `Upsample`: enlargement by scales, the forerunner of Resize. ONNX opset 1, 7, 9, 10 (deprecated there).

use super::shared::resample::{Coordinates, Line, Mode, Nearest, Rules, resample_axes, resample_shrunk, scaled_size};
use crate::op::prelude::*;

/// `Upsample`.
#[derive(Clone, Debug)]
pub struct Upsample {
    linear: bool,
    /// Before opset 9, where they are an input since.
    scales: Option<Vec<f32>>,
}

impl Register for Upsample {
    const NAME: &'static str = "Upsample";
    const SINCE: &'static [i64] = &[1, 7, 9, 10];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let linear = match attributes.string("mode")?.as_deref() {
            None | Some("nearest") => false,
            Some("linear" | "bilinear") => true,
            Some(other) => {
                return Err(OpError::Invalid(format!("mode is '{other}', which ONNX does not define")));
            }
        };
        Ok(Upsample { linear, scales: attributes.floats("scales")? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset: i64| Case::new(opset).float([1, 2, 3, 4]).float_values(&[1.0, 1.0, 2.0, 1.5]);
        vec![
            case(9),
            case(9).attr("mode", "linear"),
            Case::new(7).float([1, 2, 3]).attr("scales", vec![1.0f32, 1.0, 3.0]),
        ]
    }
}

impl Upsample {
    fn rules(&self) -> Rules {
        Rules {
            mode: if self.linear { Mode::Linear } else { Mode::Nearest(Nearest::Floor) },
            coordinates: Coordinates::Asymmetric,
            antialias: false,
            exclude_outside: false,
            extrapolation_value: 0.0,
        }
    }

    fn scales(&self, inputs: &Inputs) -> Result<Vec<f32>, OpError> {
        let scales = match &self.scales {
            Some(scales) => scales.clone(),
            None => {
                let known = inputs.fact(1)?.floats().ok_or(OpError::Undetermined)?;
                known.iter().map(|&s| s as f32).collect()
            }
        };
        let rank = inputs.shape(0)?.len();
        if scales.len() != rank || !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(OpError::Invalid(format!("scales are {scales:?}; {rank} positive numbers are needed")));
        }
        Ok(scales)
    }

    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let from = inputs.shape(0)?;
        match self.scales(inputs) {
            Ok(scales) => Ok(from.iter().zip(scales).map(|(size, scale)| scaled_size(size, scale)).collect()),
            Err(OpError::Undetermined) => Ok(from.iter().map(|_| Dim::unknown()).collect()),
            Err(e) => Err(e),
        }
    }

    fn lines(&self, inputs: &Inputs) -> Result<Vec<Line>, OpError> {
        let (from, to, scales) = (inputs.shape(0)?, self.shape(inputs)?, self.scales(inputs)?);
        let lines = from.iter().zip(&to).zip(scales).map(|((size, len), scale)| {
            let (input, output) = size.known().zip(len.known())?;
            Some(Line { input, output, scale, roi: None })
        });
        lines.collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)
    }
}

impl Op for Upsample {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.linear {
            list.push(("mode", "linear".into()));
        }
        list.extend(self.scales.iter().map(|scales| ("scales", scales.clone().into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::of(inputs.element_type(0)?, self.shape(inputs)?)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        resample_axes(inputs, &outputs[0], &self.rules(), self.lines(inputs).ok().as_deref())
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let lines = self.lines(&kept.inputs).unwrap_or_default();
        Ok(resample_shrunk(kept, &self.rules(), &lines).unwrap_or_default())
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let lines = super::shared::at_run::at_run(args, &[1], |inputs| self.lines(inputs))?;
        Ok(vec![super::shared::resample::resample(args.tensor(0)?, &self.rules(), &lines)?])
    }
}
