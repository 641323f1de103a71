//! `SoftmaxCrossEntropyLoss`: minus the logarithm of the right class's softmax. ONNX opset 12, 13.
//!
//! scores: [N, C, D1, …], classes: [N, D1, …], class weights: [C] → loss: [N, D1, …], or one number; and on request the
//! log-probabilities, shaped as the scores.

use super::shared::loss::ClassLoss;
use crate::op::prelude::*;

/// `SoftmaxCrossEntropyLoss`.
#[derive(Clone, Debug)]
pub struct SoftmaxCrossEntropyLoss {
    loss: ClassLoss,
}

impl Register for SoftmaxCrossEntropyLoss {
    const NAME: &'static str = "SoftmaxCrossEntropyLoss";
    const SINCE: &'static [i64] = &[12, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(SoftmaxCrossEntropyLoss { loss: ClassLoss::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(13).float([3, 5, 2]).ints([3, 2], 0..5);
        vec![
            case(),
            case().param_in([5], 0.5, 1.5).attr("ignore_index", 1i64).outputs(2),
            case().attr("reduction", "sum"),
            case().attr("reduction", "none").outputs(2),
            Case::new(12).float([4, 3]).ints([4], 0..3),
        ]
    }
}

impl Op for SoftmaxCrossEntropyLoss {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.loss.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let log_probabilities = Fact { content: None, ..inputs.fact(0)?.clone() };
        Ok(vec![self.loss.infer(inputs)?, log_probabilities])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.loss.axis_map(inputs, outputs, false)
    }

    fn role(&self, input: usize) -> InputRole {
        ClassLoss::role(input)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let log_probabilities = args.tensor(0)?.f_log_softmax(1, None)?;
        let loss = self.loss.eval(&log_probabilities, args.tensor(1)?, args.get(2))?;
        Ok(vec![loss, log_probabilities])
    }
}
