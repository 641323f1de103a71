//! `FusedMatMul`: alpha · a b, with transposed operands on request. ONNX Runtime, version 1.
//!
//! a: […, M, K] or transposed, b: […, K, N] or transposed → y: […, M, N]; a vector lacks M or N.

use super::shared::MICROSOFT;
use super::shared::equation::{Equation, Labelled};
use crate::op::prelude::*;

/// `FusedMatMul`.
#[derive(Clone, Debug)]
pub struct FusedMatMul {
    alpha: f32,
    transposed: [bool; 2],
}

const TRANSPOSED: [&str; 2] = ["transA", "transB"];

impl Register for FusedMatMul {
    const NAME: &'static str = "FusedMatMul";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        for name in ["transBatchA", "transBatchB"] {
            if attributes.flag(name, false)? {
                return Err(OpError::Unsupported(format!("attribute '{name}' of FusedMatMul")));
            }
        }
        let transposed = [attributes.flag(TRANSPOSED[0], false)?, attributes.flag(TRANSPOSED[1], false)?];
        Ok(FusedMatMul { alpha: attributes.float_or("alpha", 1.0)?, transposed })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |a: &[i64], b: &[i64]| Case::new(17).float(a.to_vec()).float(b.to_vec());
        vec![
            case(&[2, 3, 4], &[4, 5]),
            case(&[2, 4, 3], &[2, 4, 5]).attr("transA", 1i64).attr("alpha", 0.125f32),
            case(&[2, 3, 4], &[2, 5, 4]).attr("transB", 1i64),
            case(&[4, 3], &[2, 5, 4]).attr("transA", 1i64).attr("transB", 1i64).attr("alpha", -2.0f32),
        ]
    }
}

impl FusedMatMul {
    /// The names of the axes of operands of these ranks; vectors have none to transpose.
    fn labelled(&self, inputs: &Inputs) -> Result<Labelled, OpError> {
        let (a, b) = (inputs.shape(0)?.len(), inputs.shape(1)?.len());
        let left = match (a, self.transposed[0]) {
            (0, _) => return Err(OpError::invalid("an operand is a scalar; both need an axis to sum over")),
            (1, _) => "k",
            (_, false) => "...mk",
            (_, true) => "...km",
        };
        let right = match (b, self.transposed[1]) {
            (0, _) => return Err(OpError::invalid("an operand is a scalar; both need an axis to sum over")),
            (1, _) => "k",
            (_, false) => "...kn",
            (_, true) => "...nk",
        };
        let out = match (a, b) {
            (1, 1) => "",
            (1, _) => "...n",
            (_, 1) => "...m",
            _ => "...mn",
        };
        Equation::parse(&format!("{left},{right}->{out}"))?.label(&[a, b])
    }
}

impl Op for FusedMatMul {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn domain(&self) -> &str {
        Self::DOMAIN
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.alpha != 1.0 {
            list.push(("alpha", self.alpha.into()));
        }
        let flags = TRANSPOSED.into_iter().zip(self.transposed).filter(|(_, set)| *set);
        list.extend(flags.map(|(name, set)| (name, set.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        let labelled = self.labelled(inputs)?;
        let summed = |shape: &[Dim], last: bool| match (shape.len(), last) {
            (1, _) | (_, true) => shape[shape.len() - 1].clone(),
            (n, false) => shape[n - 2].clone(),
        };
        let [t, u] = self.transposed;
        expect_same(&summed(a, !t), &summed(b, u), "the axes that are summed over")?;
        let element_type = inputs.element_type(0)?.or(inputs.element_type(1)?);
        Ok(vec![Fact::of(element_type, labelled.output_shape(&[a, b])?)])
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

    fn mixed(&self) -> Mixed {
        Mixed::Low
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        self.labelled(inputs).map_or(Initial::Keep, |labelled| labelled.initial(input, inputs))
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let operand = |i: usize| -> Result<Tensor, OpError> {
            let x = args.tensor(i)?;
            Ok(if self.transposed[i] && x.dim() > 1 { x.f_transpose(-2, -1)? } else { x.shallow_clone() })
        };
        let y = operand(0)?.f_matmul(&operand(1)?)?;
        Ok(vec![if self.alpha == 1.0 { y } else { y.f_mul_scalar(f64::from(self.alpha))? }])
    }
}
