//! `CumSum`: running sums along an axis. ONNX opset 11, 14.

use super::shared::content::{flat_index, sizes};
use crate::op::prelude::*;

/// `CumSum`.
#[derive(Clone, Debug)]
pub struct CumSum {
    exclusive: bool,
    reverse: bool,
}

impl Register for CumSum {
    const NAME: &'static str = "CumSum";
    const SINCE: &'static [i64] = &[11, 14];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(CumSum { exclusive: attributes.flag("exclusive", false)?, reverse: attributes.flag("reverse", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let axis = |n: i64| secateurs_onnx::Tensor::scalar(n);
        vec![
            Case::new(14).float([2, 4]).constant(axis(1)),
            Case::new(11).float([2, 4]).constant(axis(-2)).attr("exclusive", 1i64),
            Case::new(14).float([2, 4]).constant(axis(-1)).attr("reverse", 1i64),
            Case::new(14).ints([4], 0..9).constant(axis(0)).attr("reverse", 1i64).attr("exclusive", 1i64),
            Case::new(14).int_values(&[3, 4, 5]).constant(axis(0)),
            Case::new(14).float([2, 4]).fed(axis(1)),
        ]
    }
}

impl CumSum {
    fn axis(&self, inputs: &Inputs) -> Result<usize, OpError> {
        match inputs.ints(1)?[..] {
            [axis] => normalize_axis(axis, inputs.shape(0)?.len()),
            _ => Err(OpError::invalid("the axis must be one number")),
        }
    }

    /// The sums of known integers.
    fn content(&self, inputs: &Inputs) -> Option<Content> {
        let ints = inputs.get(0)?.ints()?;
        let shape = inputs.shape(0).ok()?;
        let axis = self.axis(inputs).ok()?;
        let sizes = sizes(shape)?;
        let taken = |to: usize, from: usize| match (self.reverse, self.exclusive) {
            (false, false) => from <= to,
            (false, true) => from < to,
            (true, false) => from >= to,
            (true, true) => from > to,
        };
        // Quadratic along the axis, so only for short lists.
        if sizes[axis] > 256 {
            return None;
        }
        let sums = super::shared::content::coordinates(shape)?.map(|to| {
            let mut at = to.clone();
            (0..sizes[axis]).filter(|&i| taken(to[axis], i)).try_fold(Dim::from(0), |sum, i| {
                at[axis] = i;
                Some(sum + ints.get(flat_index(&at, &sizes)?)?.clone())
            })
        });
        Some(Content::from(sums.collect::<Option<Vec<_>>>()?))
    }
}

impl Op for CumSum {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let flags = [("exclusive", self.exclusive), ("reverse", self.reverse)];
        flags.into_iter().filter(|(_, set)| *set).map(|(name, set)| (name, set.into())).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        let of = Fact { element_type: fact.element_type, shape: fact.shape.clone(), content: None };
        Ok(vec![of.with_content(self.content(inputs))])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok(summed) = self.axis(inputs) else {
            return AxisMap::blocked(inputs.facts, outputs, "a running sum along an axis told at run time");
        };
        let role = |axis| if axis == summed { Role::Blocked("a running sum") } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let axis = super::shared::at_run::at_run(args, &[1], |inputs| self.axis(inputs))? as i64;
        let x = args.tensor(0)?;
        let flip = |x: Tensor| if self.reverse { x.f_flip([axis]) } else { Ok(x) };
        let mut x = flip(x.shallow_clone())?;
        let size = x.size()[axis as usize];
        if self.exclusive && size > 0 {
            let first = x.f_narrow(axis, 0, 1)?.f_zeros_like()?;
            x = Tensor::f_cat(&[first, x.f_narrow(axis, 0, size - 1)?], axis)?;
        }
        Ok(vec![flip(x.f_cumsum(axis, x.f_kind()?)?)?])
    }
}
