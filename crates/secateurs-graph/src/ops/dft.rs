//! `DFT`: discrete Fourier transform along an axis. ONNX opset 17, 20.
//!
//! x: […, n, …, 1] (real) or […, n, …, 2] (complex), length: one, axis (since opset 20): one → […, n', …, 2].

use crate::op::prelude::*;

/// `DFT`.
#[derive(Clone, Debug)]
pub struct Dft {
    /// The attribute of opset 17.
    axis: Option<i64>,
    inverse: bool,
    onesided: bool,
    /// Where the axis is not given.
    default_axis: i64,
}

const LENGTH: usize = 1;
const AXIS: usize = 2;

impl Register for Dft {
    const NAME: &'static str = "DFT";
    const SINCE: &'static [i64] = &[17, 20];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        Ok(Dft {
            axis: attributes.int("axis")?,
            inverse: attributes.flag("inverse", false)?,
            onesided: attributes.flag("onesided", false)?,
            default_axis: if cx.opset < 20 { 1 } else { -2 },
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let axis = |axis: i64| Tensor::scalar(axis);
        vec![
            Case::new(17).float([2, 6, 1]),
            Case::new(17).float([2, 6, 2]).attr("inverse", 1i64),
            Case::new(17).float([2, 3, 5, 1]).attr("axis", 2i64).attr("onesided", 1i64),
            Case::new(20).float([2, 6, 3, 2]).absent().constant(axis(1)),
            Case::new(20).float([2, 6, 1]).constant(Tensor::scalar(4i64)).attr("onesided", 1i64),
            Case::new(20)
                .float([2, 6, 2])
                .absent()
                .constant(axis(1))
                .attr("onesided", 1i64)
                .attr("inverse", 1i64)
                .without_runtime(),
            Case::new(20).float([2, 3, 1]).constant(Tensor::scalar(5i64)).constant(axis(-2)),
        ]
    }
}

impl Dft {
    fn axis(&self, inputs: &Inputs, rank: usize) -> Result<usize, OpError> {
        let given = match inputs.get(AXIS) {
            Some(_) => inputs.ints(AXIS)?.first().copied(),
            None => self.axis,
        };
        normalize_axis(given.unwrap_or(self.default_axis), rank)
    }
}

impl Op for Dft {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        list.extend(self.axis.map(|axis| ("axis", axis.into())));
        let flags = [("inverse", self.inverse), ("onesided", self.onesided)];
        list.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, set)| (name, set.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let mut shape = inputs.shape(0)?.to_vec();
        let axis = self.axis(inputs, shape.len())?;
        if axis + 1 == shape.len() {
            return Err(OpError::invalid("the last axis holds real and imaginary parts and cannot be transformed"));
        }
        if inputs.get(LENGTH).is_some() {
            let length = inputs.dims(LENGTH).ok().and_then(|dims| dims.first().cloned());
            shape[axis] = length.unwrap_or_else(Dim::unknown);
        }
        let last = shape.len() - 1;
        match (self.onesided, self.inverse) {
            // Of a real signal, whose other half mirrors this one.
            (true, true) if inputs.get(LENGTH).is_none() => {
                shape[axis] = shape[axis].clone() * 2.into() - 2.into();
            }
            (true, false) => shape[axis] = shape[axis].floor_div(&2.into()) + 1.into(),
            _ => {}
        }
        shape[last] = if self.onesided && self.inverse { 1 } else { 2 }.into();
        Ok(vec![Fact::of(inputs.element_type(0)?, shape)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a Fourier transform")
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::fourier::{signal, transform};
        let x = args.tensor(0)?;
        let axis = super::shared::at_run::at_run(args, &[AXIS], |inputs| self.axis(inputs, x.dim()))?;
        let length = args.get(LENGTH).map(|_| args.ints(LENGTH)).transpose()?;
        let mirrored = self.inverse && self.onesided;
        let own = if mirrored { 2 * x.size()[axis] - 2 } else { x.size()[axis] };
        let length = length.and_then(|list| list.first().copied()).unwrap_or(own);
        let x = signal(x)?;
        let y = match self.inverse {
            true if mirrored => x.f_fft_irfft(Some(length), axis as i64, "backward")?.f_unsqueeze(-1)?,
            true => x.f_fft_ifft(Some(length), axis as i64, "backward")?.f_view_as_real()?.f_contiguous()?,
            false => transform(&x, length, axis as i64, self.onesided)?,
        };
        Ok(vec![super::shared::promote(args, 0, y)?])
    }
}
