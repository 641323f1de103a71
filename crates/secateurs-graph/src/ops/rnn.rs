//! `RNN`: h ← f(x Wᵀ + h Rᵀ + b), step by step. ONNX opset 7, 14, 22.
//!
//! Inputs, outputs and their axes: see [`super::shared::recurrent`], with one gate and one state.

use super::shared::recurrent::{Form, Layer};
use crate::op::prelude::*;

/// `RNN`.
#[derive(Clone, Debug)]
pub struct Rnn(Layer);

const FORM: Form = Form { gates: 1, states: 1, peepholes: 0, activations: &["Tanh"] };

impl Register for Rnn {
    const NAME: &'static str = "RNN";
    const SINCE: &'static [i64] = &[7, 14, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Rnn(Layer::parse(&FORM, attributes)?))
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use super::shared::recurrent::cases;
        cases::common(&FORM)
    }
}

impl Op for Rnn {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.0.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        self.0.infer(inputs)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.0.axes(inputs, outputs)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::op(Rnn(self.0.shrunk(kept))))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        self.0.macs(inputs)
    }

    fn role(&self, input: usize) -> InputRole {
        self.0.role(input)
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        self.0.initial(input, inputs)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        self.0.run(args, false, |cell, x, states| {
            let gate = x.f_add(&states[0].f_matmul(&cell.recurrent)?)?;
            Ok(vec![cell.activate(0, &gate)?])
        })
    }
}
