//! `Transpose`: permuted axes. ONNX opset 1, 13, 21, 23, 24, 25.

use super::shared::content::rearrange;
use crate::op::prelude::*;

/// `Transpose`.
#[derive(Clone, Debug)]
pub struct Transpose {
    /// Output axis i is input axis `perm[i]`; reversed by default.
    perm: Option<Vec<i64>>,
}

impl Register for Transpose {
    const NAME: &'static str = "Transpose";
    const SINCE: &'static [i64] = &[1, 13, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Transpose { perm: attributes.ints("perm")? })
    }

    #[cfg(test)]
    fn cases() -> Vec<Case> {
        let numbers = secateurs_onnx::Tensor::from_slice(vec![2, 3], &[1i64, 2, 3, 4, 5, 6]).unwrap();
        vec![
            Case::new(13).float([2, 3, 4]).attr("perm", vec![1i64, 2, 0]),
            Case::new(9).float([2, 3, 4]),
            Case::new(13).float([]),
            Case::new(21).constant(numbers),
        ]
    }
}

impl Transpose {
    fn permutation(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let Some(perm) = &self.perm else { return Ok((0..rank).rev().collect()) };
        if perm.len() != rank {
            return Err(OpError::Invalid(format!("perm has {} entries for {rank} axes", perm.len())));
        }
        normalize_axes(perm, rank)?;
        perm.iter().map(|&axis| normalize_axis(axis, rank)).collect()
    }
}

impl Op for Transpose {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.perm.iter().map(|perm| ("perm", perm.clone().into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let from = inputs.shape(0)?;
        let perm = self.permutation(from.len())?;
        let shape: Vec<Dim> = perm.iter().map(|&axis| from[axis].clone()).collect();
        let content = rearrange(input, &shape, |to, at| {
            for (&axis, &coordinate) in perm.iter().zip(to) {
                at[axis] = coordinate;
            }
        });
        Ok(vec![Fact::of(input.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(perm) = self.permutation(shape.len()) else { return map };
        let axes: Vec<Axis> = shape.iter().map(|dim| map.axis(dim, Role::Free)).collect();
        map.outputs[0] = Some(perm.into_iter().map(|axis| axes[axis].clone()).collect());
        map.inputs[0] = Some(axes);
        map
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let perm = self.permutation(x.dim())?;
        Ok(vec![x.f_permute(perm.into_iter().map(|axis| axis as i64).collect::<Vec<_>>())?])
    }
}
