//! `FusedMatMul`: alpha · a b, with transposed operands on request. ONNX Runtime, version 1.
//!
//! a: […, M, K] or transposed, b: […, K, N] or transposed → y: […, M, N]; a vector lacks M or N. With transposed batches the first
//! axis of an operand is the last but one: a: [M, …, K], transposed besides [K, …, M].

use super::shared::MICROSOFT;
use super::shared::equation::{Equation, Labelled};
use crate::op::prelude::*;

/// `FusedMatMul`.
#[derive(Clone, Debug)]
pub struct FusedMatMul {
    alpha: f32,
    transposed: [bool; 2],
    /// Whether the first axis of an operand is to stand behind its batches, before they are transposed.
    batch_last: [bool; 2],
}

const TRANSPOSED: [&str; 2] = ["transA", "transB"];
const BATCH_LAST: [&str; 2] = ["transBatchA", "transBatchB"];

impl Register for FusedMatMul {
    const NAME: &'static str = "FusedMatMul";
    const DOMAIN: &'static str = MICROSOFT;
    const SINCE: &'static [i64] = &[1];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let mut flags = |[a, b]: [&str; 2]| Ok::<_, OpError>([attributes.flag(a, false)?, attributes.flag(b, false)?]);
        let (transposed, batch_last) = (flags(TRANSPOSED)?, flags(BATCH_LAST)?);
        Ok(FusedMatMul { alpha: attributes.float_or("alpha", 1.0)?, transposed, batch_last })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |a: &[i64], b: &[i64]| Case::new(17).float(a.to_vec()).float(b.to_vec());
        vec![
            case(&[2, 3, 4], &[4, 5]),
            case(&[2, 4, 3], &[2, 4, 5]).attr("transA", 1i64).attr("alpha", 0.125f32),
            case(&[2, 3, 4], &[2, 5, 4]).attr("transB", 1i64),
            case(&[4, 3], &[2, 5, 4]).attr("transA", 1i64).attr("transB", 1i64).attr("alpha", -2.0f32),
            case(&[3, 2, 4], &[2, 4, 5]).attr("transBatchA", 1i64),
            case(&[4, 2, 3], &[2, 4, 5]).attr("transBatchA", 1i64).attr("transA", 1i64),
            case(&[2, 3, 4], &[4, 2, 5]).attr("transBatchB", 1i64),
            case(&[3, 6, 2, 4], &[5, 6, 2, 4])
                .attr("transBatchA", 1i64)
                .attr("transBatchB", 1i64)
                .attr("transB", 1i64),
        ]
    }
}

impl FusedMatMul {
    /// The names of the axes of an operand, of which `outer` stands before `inner` once it is transposed; a vector has none to transpose.
    fn term(&self, operand: usize, rank: usize, [outer, inner]: [char; 2]) -> Result<String, OpError> {
        let [first, last] = if self.transposed[operand] { [inner, outer] } else { [outer, inner] };
        match (rank, self.batch_last[operand]) {
            (0, _) => Err(OpError::invalid("an operand is a scalar; both need an axis to sum over")),
            (1, _) => Ok("k".into()),
            (_, false) => Ok(format!("...{first}{last}")),
            (_, true) => Ok(format!("{first}...{last}")),
        }
    }

    /// The equation of operands of these ranks.
    fn terms(&self, inputs: &Inputs) -> Result<[String; 2], OpError> {
        let (a, b) = (inputs.shape(0)?.len(), inputs.shape(1)?.len());
        Ok([self.term(0, a, ['m', 'k'])?, self.term(1, b, ['k', 'n'])?])
    }

    fn labelled(&self, inputs: &Inputs) -> Result<Labelled, OpError> {
        let (a, b) = (inputs.shape(0)?.len(), inputs.shape(1)?.len());
        let [left, right] = self.terms(inputs)?;
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
        let flags = TRANSPOSED.into_iter().zip(self.transposed).chain(BATCH_LAST.into_iter().zip(self.batch_last));
        list.extend(flags.filter(|(_, set)| *set).map(|(name, set)| (name, set.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        let labelled = self.labelled(inputs)?;
        let summed = |shape: &[Dim], term: &str| match term.find('k') {
            Some(0) => shape[0].clone(),
            Some(at) if at + 1 < term.len() => shape[shape.len() - 2].clone(),
            _ => shape[shape.len() - 1].clone(),
        };
        let [left, right] = self.terms(inputs)?;
        expect_same(&summed(a, &left), &summed(b, &right), "the axes that are summed over")?;
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
            let moved = (self.batch_last[i] && x.dim() > 1).then(|| x.f_movedim_int(0, -2)).transpose()?;
            let x = moved.as_ref().unwrap_or(x);
            Ok(if self.transposed[i] && x.dim() > 1 { x.f_transpose(-2, -1)? } else { x.shallow_clone() })
        };
        let y = operand(0)?.f_matmul(&operand(1)?)?;
        Ok(vec![if self.alpha == 1.0 { y } else { y.f_mul_scalar(f64::from(self.alpha))? }])
    }
}
