//! `NegativeLogLikelihoodLoss`: minus the log-probability of the right class. ONNX opset 12, 13, 22.
//!
//! log-probabilities: [N, C, D1, …], classes: [N, D1, …], class weights: [C] → loss: [N, D1, …], or one number.

use super::shared::loss::ClassLoss;
use crate::op::prelude::*;

/// `NegativeLogLikelihoodLoss`.
#[derive(Clone, Debug)]
pub struct NegativeLogLikelihoodLoss {
    loss: ClassLoss,
}

impl Register for NegativeLogLikelihoodLoss {
    const NAME: &'static str = "NegativeLogLikelihoodLoss";
    const SINCE: &'static [i64] = &[12, 13, 22];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(NegativeLogLikelihoodLoss { loss: ClassLoss::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(13).float([3, 5, 2]).ints([3, 2], 0..5);
        vec![
            case(),
            case().param_in([5], 0.5, 1.5).attr("ignore_index", 1i64),
            case().attr("reduction", "sum"),
            case().param_in([5], 0.5, 1.5).attr("reduction", "none"),
            Case::new(12).float([4, 3]).ints([4], 0..3).attr("reduction", "none"),
        ]
    }
}

impl Op for NegativeLogLikelihoodLoss {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.loss.attributes()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![self.loss.infer(inputs)?])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        self.loss.axis_map(inputs, outputs, true)
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::default().scaled(kept.averaged_share()))
    }

    fn role(&self, input: usize) -> InputRole {
        ClassLoss::role(input)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![self.loss.eval(args.tensor(0)?, args.tensor(1)?, args.get(2))?])
    }
}
