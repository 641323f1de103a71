//! `AffineGrid`: positions for GridSample by affine maps. ONNX opset 20.
//!
//! theta: [N, r, r + 1], size: [N, C, D1, …] as numbers → grid: [N, D1, …, r]; r is 2 or 3.

use crate::op::prelude::*;

/// `AffineGrid`.
#[derive(Clone, Debug)]
pub struct AffineGrid {
    align_corners: bool,
}

impl Register for AffineGrid {
    const NAME: &'static str = "AffineGrid";
    const SINCE: &'static [i64] = &[20];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(AffineGrid { align_corners: attributes.flag("align_corners", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(20).float([2, 2, 3]).int_values(&[2, 3, 4, 5]),
            Case::new(20).float([1, 3, 4]).int_values(&[1, 3, 2, 4, 5]).attr("align_corners", 1i64),
        ]
    }
}

impl AffineGrid {
    fn shape(&self, inputs: &Inputs) -> Result<Shape, OpError> {
        let size = inputs.dims(1)?;
        match size {
            [n, _, space @ ..] if (2..=3).contains(&space.len()) => {
                Ok([std::slice::from_ref(n), space, &[space.len().into()]].concat())
            }
            _ => Err(OpError::Invalid(format!("the size has {} entries; it must have 4 or 5", size.len()))),
        }
    }
}

impl Op for AffineGrid {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.align_corners { vec![("align_corners", true.into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::of(inputs.element_type(0)?, self.shape(inputs)?)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "a grid of positions")
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let theta = args.tensor(0)?;
        let kind = theta.f_kind()?;
        let half = matches!(kind, Kind::Half | Kind::BFloat16);
        let theta = if half { theta.f_to_kind(Kind::Float)? } else { theta.shallow_clone() };
        let grid = Tensor::f_affine_grid_generator(&theta, args.ints(1)?, self.align_corners)?;
        Ok(vec![grid.f_to_kind(kind)?])
    }
}
