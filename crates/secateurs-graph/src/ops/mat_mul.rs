//! `MatMul`: matrix product with NumPy's rules for batches and vectors. ONNX opset 1, 9, 13.
//!
//! a: […, M, K], b: […, K, N] → y: […, M, N]; a vector lacks M or N.

use super::shared::equation::{Equation, Labelled};
use crate::op::prelude::*;

/// `MatMul`.
#[derive(Clone, Debug)]
pub struct MatMul;

impl Register for MatMul {
    const NAME: &'static str = "MatMul";
    const SINCE: &'static [i64] = &[1, 9, 13];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(MatMul)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |a: &[i64], b: &[i64]| Case::new(13).float(a.to_vec()).float(b.to_vec());
        vec![
            Case::new(9).float([3, 4]).param([4, 5]),
            case(&[2, 3, 4], &[4, 5]),
            case(&[2, 1, 3, 4], &[6, 4, 5]),
            case(&[3, 4], &[2, 4, 5]),
            case(&[4], &[4]),
            case(&[4], &[2, 4, 5]),
            case(&[2, 3, 4], &[4]),
            case(&[1, 4], &[4, 1]),
            case(&[3, 1], &[1, 5]),
            Case::new(13).ints([2, 3], -9..9).ints([3, 4], -9..9),
        ]
    }
}

/// The names of the axes of operands of these ranks.
fn labelled(inputs: &Inputs) -> Result<Labelled, OpError> {
    let (a, b) = (inputs.shape(0)?.len(), inputs.shape(1)?.len());
    let equation = match (a, b) {
        (0, _) | (_, 0) => return Err(OpError::invalid("an operand is a scalar; both need an axis to sum over")),
        (1, 1) => "k,k->",
        (1, _) => "k,...kn->...n",
        (_, 1) => "...mk,k->...m",
        _ => "...mk,...kn->...mn",
    };
    Equation::parse(equation)?.label(&[a, b])
}

impl Op for MatMul {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let labelled = labelled(inputs)?;
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        expect_same(&a[a.len() - 1], &b[b.len().saturating_sub(2)], "the axes that are summed over")?;
        let element_type = inputs.element_type(0)?.or(inputs.element_type(1)?);
        Ok(vec![Fact::of(element_type, labelled.output_shape(&[a, b])?)])
    }

    /// `a: […, m, k], b: […, k, n] → y: […, m, n]`.
    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        labelled(inputs).map_or_else(|_| AxisMap::new(inputs.len(), 1), |labelled| labelled.axes(inputs))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> Dim {
        labelled(inputs).map_or_else(|_| Dim::unknown(), |labelled| labelled.macs(inputs))
    }

    fn role(&self, _: usize) -> InputRole {
        InputRole::Parameter
    }

    fn mixed(&self) -> Mixed {
        Mixed::Product
    }

    fn affine(&self) -> Option<Affine> {
        Some(Affine { bias: None, bias_factor: 1.0 })
    }

    /// The columns of a matrix on the right, or the rows of one on the left.
    fn rows(&self, weight: usize, inputs: &Inputs) -> Result<Rows, &'static str> {
        let matrix = inputs.get(weight).and_then(Fact::known_shape);
        let rank = inputs.get(1 - weight).and_then(Fact::rank);
        let (Some(&[m, n]), Some(rank)) = (matrix.as_deref(), rank) else {
            return Err("its weight is not one matrix of known shape");
        };
        let Some(axis) = rank.checked_sub(if weight == 1 { 1 } else { 2 }) else {
            return Err("it multiplies a vector");
        };
        let (rows, channels) = if weight == 1 { (n, m) } else { (m, n) };
        Ok(Rows {
            data: 1 - weight,
            data_axis: axis,
            weight,
            weight_axis: weight,
            channel_axis: 1 - weight,
            centre: Vec::new(),
            factor: 1.0,
            bias: None,
            output_axis: axis,
            groups: 1,
            rows: rows as usize,
            channels: channels as usize,
            taps: 1,
        })
    }

    fn rows_by(&self, way: Way, _: usize, _: &Inputs) -> Result<RowOps, &'static str> {
        match way {
            Way::Same => Ok(RowOps::one(MatMul)),
            Way::Pointwise => Err("it is a matrix product, which looks at one position already"),
            Way::Factored { .. } => {
                Ok(RowOps { crops: Vec::new(), ops: vec![Box::new(MatMul), Box::new(MatMul)] })
            }
        }
    }

    fn initial(&self, input: usize, inputs: &Inputs) -> Initial {
        labelled(inputs).map_or(Initial::Keep, |labelled| labelled.initial(input, inputs))
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![args.tensor(0)?.f_matmul(args.tensor(1)?)?])
    }
}
