//! `GRU`: h ← (1 − z) ⊙ h̃ + z ⊙ h, step by step, with an update gate z and a reset gate. ONNX opset 7, 14, 22.
//!
//! Inputs, outputs and their axes: see [`super::shared::recurrent`], with the gates z, r, h̃ and one state.

use super::shared::recurrent::{Form, Layer};
use crate::op::prelude::*;

/// `GRU`.
#[derive(Clone, Debug)]
pub struct Gru {
    layer: Layer,
    /// h̃ sees r ⊙ (h Rᵀ + b), not (r ⊙ h) Rᵀ + b.
    linear_before_reset: bool,
}

const FORM: Form = Form { gates: 3, states: 1, peepholes: 0, activations: &["Sigmoid", "Tanh"] };

const LINEAR_BEFORE_RESET: &str = "linear_before_reset";

impl Register for Gru {
    const NAME: &'static str = "GRU";
    const SINCE: &'static [i64] = &[7, 14, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Gru {
            linear_before_reset: attributes.flag(LINEAR_BEFORE_RESET, false)?,
            layer: Layer::parse(&FORM, attributes)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use super::shared::recurrent::cases;
        let linear = |case: Case| case.attr(LINEAR_BEFORE_RESET, 1i64).outputs(2);
        let mut list = cases::common(&FORM);
        list.extend([
            linear(cases::layer(&FORM, 7, 1)),
            linear(cases::biased(&FORM, 14, 1)).attr("clip", 0.5f32),
            linear(cases::biased(&FORM, 14, 1).fed(cases::lengths()).float([1, 3, 6])).attr("direction", "reverse"),
            linear(cases::biased(&FORM, 22, 2).fed(cases::lengths()).float([2, 3, 6])),
            linear(cases::biased(&FORM, 14, 1)).attr("layout", 0i64),
        ]);
        list
    }
}

impl Op for Gru {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.layer.attributes();
        if self.linear_before_reset {
            list.push((LINEAR_BEFORE_RESET, true.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        self.layer.infer(inputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.layer.axes(inputs, outputs)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(Gru { layer: self.layer.shrunk(kept), ..self.clone() }))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        self.layer.macs(inputs)
    }

    fn role(&self, input: usize) -> InputRole {
        self.layer.role(input)
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        self.layer.initial(input, inputs)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        self.layer.run(args, self.linear_before_reset, |cell, x, states| {
            let h = &states[0];
            let width = h.size()[1];
            let part = |t: &Tensor, first: i64, count: i64| t.f_narrow(1, first * width, count * width);
            let (gates, candidate) = if self.linear_before_reset {
                let product = h.f_matmul(&cell.recurrent)?;
                let candidate = part(&product, 2, 1)?;
                let candidate = match &cell.bias {
                    Some(bias) => candidate.f_add(bias)?,
                    None => candidate,
                };
                (part(&product, 0, 2)?, Some(candidate))
            } else {
                (h.f_matmul(&part(&cell.recurrent, 0, 2)?)?, None)
            };
            let gates = cell.activate(0, &part(x, 0, 2)?.f_add(&gates)?)?;
            let (z, r) = (part(&gates, 0, 1)?, part(&gates, 1, 1)?);
            let candidate = match candidate {
                Some(candidate) => r.f_mul(&candidate)?,
                None => r.f_mul(h)?.f_matmul(&part(&cell.recurrent, 2, 1)?)?,
            };
            let candidate = cell.activate(1, &part(x, 2, 1)?.f_add(&candidate)?)?;
            // (1 − z) ⊙ h̃ + z ⊙ h
            Ok(vec![candidate.f_add(&z.f_mul(&h.f_sub(&candidate)?)?)?])
        })
    }
}
