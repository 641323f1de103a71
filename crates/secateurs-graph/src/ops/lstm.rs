//! `LSTM`: c ← f ⊙ c + i ⊙ c̃, h ← o ⊙ tanh(c), step by step. ONNX opset 7, 14, 22.
//!
//! Inputs, outputs and their axes: see [`super::shared::recurrent`], with the gates i, o, f, c̃, the states h and c, and
//! peephole weights of i, o, f.

use super::shared::recurrent::{Form, Layer};
use crate::op::prelude::*;

/// `LSTM`.
#[derive(Clone, Debug)]
pub struct Lstm {
    layer: Layer,
    /// The forget gate is 1 − i.
    input_forget: bool,
}

pub(super) const FORM: Form =
    Form { gates: 4, states: 2, peepholes: 3, activations: &["Sigmoid", "Tanh", "Tanh"] };

impl Register for Lstm {
    const NAME: &'static str = "LSTM";
    const SINCE: &'static [i64] = &[7, 14, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Lstm {
            input_forget: attributes.flag("input_forget", false)?,
            layer: Layer::parse(&FORM, attributes)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use super::shared::recurrent::cases;
        let peepholes = |case: Case, directions: i64| {
            let case = case.float([directions, 3, 6]).float([directions, 3, 6]);
            case.param([directions, 18]).outputs(3)
        };
        let mut list = cases::common(&FORM);
        list.extend([
            peepholes(cases::biased(&FORM, 14, 1).absent(), 1),
            peepholes(cases::biased(&FORM, 7, 2).fed(cases::lengths()), 2).attr("clip", 0.5f32),
            peepholes(cases::layer(&FORM, 22, 1).absent().absent(), 1).attr("input_forget", 1i64),
            cases::biased(&FORM, 14, 2).attr("input_forget", 1i64).outputs(3),
            cases::biased(&FORM, 14, 1).absent().absent().float([1, 3, 6]).attr("layout", 0i64),
        ]);
        list
    }
}

impl Op for Lstm {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.layer.attributes();
        if self.input_forget {
            list.push(("input_forget", true.into()));
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
        Ok(Shrunk::op(Lstm { layer: self.layer.shrunk(kept), ..self.clone() }))
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
        self.run(args, |h| Ok(h.shallow_clone()))
    }
}

#[cfg(feature = "torch")]
impl Lstm {
    /// `seen` gives what the recurrent weights multiply of a state.
    pub(super) fn run(
        &self,
        args: &Args,
        seen: impl Fn(&Tensor) -> Result<Tensor, OpError>,
    ) -> Result<Vec<Tensor>, OpError> {
        self.layer.run(args, false, |cell, x, states| {
            let (h, c) = (&states[0], &states[1]);
            let width = h.size()[1];
            let gates = x.f_add(&seen(h)?.f_matmul(&cell.recurrent)?)?;
            // A gate, with a look at the cells.
            let gate = |n: i64, c: Option<&Tensor>| {
                let gate = gates.f_narrow(1, n * width, width)?;
                match (&cell.peepholes, c) {
                    (Some(p), Some(c)) => gate.f_add(&c.f_mul(&p.f_narrow(0, n * width, width)?)?),
                    _ => Ok(gate),
                }
            };
            let input = cell.activate(0, &gate(0, Some(c))?)?;
            let forget = match self.input_forget {
                true => input.f_neg()?.f_add_scalar(1.0)?,
                false => cell.activate(0, &gate(2, Some(c))?)?,
            };
            let candidate = cell.activate(1, &gate(3, None)?)?;
            let c = forget.f_mul(c)?.f_add(&input.f_mul(&candidate)?)?;
            let output = cell.activate(0, &gate(1, Some(&c))?)?;
            Ok(vec![output.f_mul(&cell.activate_whole(2, &c)?)?, c])
        })
    }
}
