//! `STFT`: Fourier transforms of windows of a signal. ONNX opset 17.
//!
//! signal: [b, n, 1] (real) or [b, n, 2] (complex), step between frames: one, window: [l], length of a frame: one →
//! [b, frames, l' , 2].

use crate::op::prelude::*;

/// `STFT`.
#[derive(Clone, Debug)]
pub struct Stft {
    onesided: bool,
}

const STEP: usize = 1;
const WINDOW: usize = 2;
const LENGTH: usize = 3;

impl Register for Stft {
    const NAME: &'static str = "STFT";
    const SINCE: &'static [i64] = &[17];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Stft { onesided: attributes.flag("onesided", true)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let case = || Case::new(17).float([2, 20, 1]).constant(Tensor::scalar(3i64));
        vec![
            case().param([8]),
            case().absent().constant(Tensor::scalar(6i64)).attr("onesided", 0i64),
            case().param([6]).constant(Tensor::scalar(6i64)),
        ]
    }
}

impl Stft {
    fn frame(&self, inputs: &Inputs) -> Result<i64, OpError> {
        let given = match (inputs.get(LENGTH), inputs.get(WINDOW)) {
            (Some(_), _) => inputs.ints(LENGTH)?.first().copied(),
            (None, Some(_)) => inputs.shape(WINDOW)?.first().and_then(Dim::known),
            (None, None) => return Err(OpError::invalid("a window or the length of a frame is needed")),
        };
        given.filter(|length| *length > 0).ok_or(OpError::Undetermined)
    }
}

impl Op for Stft {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.onesided { Vec::new() } else { vec![("onesided", false.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let [batch, length, _] = inputs.shape(0)? else {
            return Err(OpError::invalid("the signal needs 3 axes: batch, length, and real and imaginary parts"));
        };
        let (frame, step) = (self.frame(inputs)?, inputs.ints(STEP)?.first().copied().unwrap_or(0));
        if step < 1 {
            return Err(OpError::Invalid(format!("the step between frames is {step}; it must be at least 1")));
        }
        let frames = (length.clone() - frame.into()).floor_div(&step.into()) + 1.into();
        let bins = if self.onesided { frame / 2 + 1 } else { frame };
        Ok(vec![Fact::of(inputs.element_type(0)?, vec![batch.clone(), frames, bins.into(), 2.into()])])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a Fourier transform")
    }

    fn role(&self, input: usize) -> InputRole {
        match input {
            0 => InputRole::Data,
            WINDOW => InputRole::Statistic,
            _ => InputRole::Control,
        }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::fourier::{signal, transform};
        let frame = super::shared::at_run::at_run(args, &[LENGTH], |inputs| self.frame(inputs))?;
        let step = args.ints(STEP)?.first().copied().unwrap_or(0);
        let frames = signal(args.tensor(0)?)?.f_unfold(1, frame, step)?;
        let frames = match args.get(WINDOW) {
            Some(window) => frames.f_mul(&window.f_to_kind(args.floats.single)?)?,
            None => frames,
        };
        Ok(vec![super::shared::promote(args, 0, transform(&frames, frame, -1, self.onesided)?)?])
    }
}
