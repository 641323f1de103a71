//! `Einsum`: products summed over the letters that the output lacks. ONNX opset 12, 28.
//!
//! `...ij,jk->...ik`: a: […, I, J], b: [J, K] → y: […, I, K].

use super::shared::equation::{Equation, Labelled};
use crate::op::prelude::*;

/// `Einsum`.
#[derive(Clone, Debug)]
pub struct Einsum {
    /// As the file has it.
    text: String,
    equation: Equation,
}

impl Register for Einsum {
    const NAME: &'static str = "Einsum";
    const SINCE: &'static [i64] = &[12, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let text = attributes.string("equation")?.ok_or_else(|| OpError::invalid("equation is missing"))?;
        Ok(Einsum { equation: Equation::parse(&text)?, text })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |equation: &str, shapes: &[&[i64]]| {
            shapes.iter().fold(Case::new(12).attr("equation", equation), |case, s| case.float(s.to_vec()))
        };
        vec![
            case("bij, bjk -> bik", &[&[2, 3, 4], &[2, 4, 5]]),
            case("ij,jk", &[&[3, 4], &[4, 5]]),
            case("kj,ik", &[&[3, 4], &[5, 3]]),
            case("...ij,...jk->...ik", &[&[2, 3, 4], &[2, 4, 5]]),
            case("b...k,k->b...", &[&[2, 3, 5, 4], &[4]]),
            case("bnqd,bnkd->bnqk", &[&[2, 3, 4, 5], &[2, 3, 6, 5]]),
            case("...ii->...i", &[&[2, 3, 3]]),
            case("ii", &[&[3, 3]]),
            case("ij->ji", &[&[2, 3]]),
            case("ij->i", &[&[2, 3]]),
            case("i,j,k->kji", &[&[2], &[3], &[4]]),
            case("aB,Bc->ac", &[&[2, 3], &[3, 4]]),
            case("->", &[&[]]),
            case("ij,ij->i", &[&[3, 4], &[1, 4]]),
        ]
    }
}

impl Einsum {
    fn labelled(&self, inputs: &Inputs) -> Result<Labelled, OpError> {
        let ranks = (0..inputs.len()).map(|i| Ok(inputs.shape(i)?.len())).collect::<Result<Vec<_>, OpError>>()?;
        self.equation.label(&ranks)
    }
}

impl Op for Einsum {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("equation", self.text.as_str().into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let labelled = self.labelled(inputs)?;
        let shapes = (0..inputs.len()).map(|i| inputs.shape(i)).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![Fact::of(inputs.element_type(0)?, labelled.output_shape(&shapes)?)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        self.labelled(inputs).map_or_else(|_| AxisMap::new(inputs.len(), 1), |labelled| labelled.axes(inputs))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        self.labelled(inputs).map_or_else(|_| Dim::unknown(), |labelled| labelled.macs(inputs))
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Parameter
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        self.labelled(inputs).map_or(Initial::Keep, |labelled| labelled.initial(input, inputs))
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let operands = (0..args.tensors.len()).map(|i| args.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        let y = Tensor::f_einsum(&self.equation.to_string(), &operands, None::<i64>)?;
        Ok(vec![super::shared::promote(args, 0, y)?])
    }
}
