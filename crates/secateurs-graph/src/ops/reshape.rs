//! `Reshape`: the same elements under another shape. ONNX opset 5, 13, 14, 19, 21, 23, 24, 25.
//!
//! In the target 0 copies the input's size (unless `allowzero`), −1 takes what is left.

use super::shared::content::unknown_sizes;
use super::shared::regroup::regroup;
use crate::op::prelude::*;

/// `Reshape`.
#[derive(Clone, Debug)]
pub struct Reshape {
    allowzero: bool,
}

impl Register for Reshape {
    const NAME: &'static str = "Reshape";
    const SINCE: &'static [i64] = &[5, 13, 14, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Reshape { allowzero: attributes.flag("allowzero", false)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |x: &[i64], to: &[i64]| Case::new(13).float(x.to_vec()).int_values(to);
        vec![
            case(&[2, 6, 4], &[2, 3, 2, 4]),
            case(&[2, 3, 2, 4], &[2, 6, -1]),
            case(&[2, 6, 4], &[0, -1]),
            case(&[6, 4], &[8, 3]),
            case(&[4, 6], &[2, -1, 3]),
            case(&[2, 6, 4], &[0, 0, 2, 2]),
            case(&[2, 6, 4], &[0, -1, 4]),
            case(&[1, 6, 1], &[6]),
            case(&[2, 6], &[1, 2, 1, 6, 1]),
        ]
    }
}

impl Reshape {
    /// One that copies the sizes where its target has a 0.
    pub(crate) const COPYING: Reshape = Reshape { allowzero: false };

    fn target(&self, from: &[Dim], to: &[Dim]) -> Result<Shape, OpError> {
        let mut shape = Vec::with_capacity(to.len());
        let mut inferred = None;
        for (i, dim) in to.iter().enumerate() {
            shape.push(match dim.known() {
                Some(0) if !self.allowzero => from
                    .get(i)
                    .cloned()
                    .ok_or_else(|| OpError::invalid("a 0 in the shape stands beyond the input's axes"))?,
                Some(-1) => match inferred.replace(i) {
                    None => Dim::from(1),
                    Some(_) => return Err(OpError::invalid("the shape has more than one -1")),
                },
                Some(n) if n < -1 => return Err(OpError::Invalid(format!("the shape contains {n}"))),
                _ => dim.clone(),
            });
        }
        let (total, rest) = (element_count(from), element_count(&shape));
        match inferred {
            Some(i) => {
                if let (Some(t), Some(r)) = (total.known(), rest.known())
                    && (r == 0 || t % r != 0)
                {
                    return Err(OpError::Invalid(format!("{t} elements do not divide into rows of {r}")));
                }
                // Sizes copied from the input cancel even where they are not known.
                shape[i] = cancel(from, &shape, i).unwrap_or_else(|| total.floor_div(&rest));
            }
            None => expect_same(&total, &rest, "the elements of the input and of the shape")?,
        }
        Ok(shape)
    }

    /// The target that gives the shape `to`: the entries 0 and −1 of the old one where they still do, and in place of
    /// sizes that a constant cannot hold.
    pub(crate) fn retarget(&self, from: &[Dim], to: &[Dim], old: &[Dim]) -> Vec<Dim> {
        let copied = |i: usize| !self.allowzero && from.get(i) == Some(&to[i]);
        let entry = |i: usize| match (old.get(i).and_then(Dim::known), to[i].known()) {
            (Some(-1), _) => (-1).into(),
            (Some(0), _) if copied(i) => 0.into(),
            (_, None) if copied(i) => 0.into(),
            _ => to[i].clone(),
        };
        let mut target: Vec<Dim> = (0..to.len()).map(entry).collect();
        if let Some(open) = target.iter().position(|d| d.known().is_none()) {
            let inferred = target.iter().position(|d| d.is(-1));
            if inferred.is_none_or(|i| to[i].known().is_some()) {
                let mut with_open = target.clone();
                inferred.into_iter().for_each(|i| with_open[i] = to[i].clone());
                with_open[open] = (-1).into();
                // What is left need not be the same size by name, as where another batch is broadcast.
                let differs = |(a, b): (&Dim, &Dim)| a != b && a.is_determined() && b.is_determined();
                if self.target(from, &with_open).is_ok_and(|shape| !shape.iter().zip(to).any(differs)) {
                    target = with_open;
                }
            }
        }
        target
    }
}

/// `∏ from / ∏ to` without the axis `skip`, by cancelling equal sizes one by one.
fn cancel(from: &[Dim], to: &[Dim], skip: usize) -> Option<Dim> {
    let mut left = from.to_vec();
    let mut divisor = Dim::from(1);
    for (_, dim) in to.iter().enumerate().filter(|(i, _)| *i != skip) {
        match left.iter().position(|d| d == dim) {
            Some(at) => {
                left.remove(at);
            }
            None => divisor = divisor * dim.clone(),
        }
    }
    let rest = element_count(&left);
    match (rest.known(), divisor.known()) {
        (Some(a), Some(b)) => (b != 0 && a % b == 0).then(|| Dim::from(a / b)),
        _ => rest.divide_exactly(&divisor),
    }
}

impl Op for Reshape {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.allowzero { vec![("allowzero", true.into())] } else { Vec::new() }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let target = inputs.fact(1)?;
        let shape = match (&input.shape, target.ints()) {
            (Some(from), Some(to)) => self.target(from, to)?,
            // Only the rank follows from how many sizes there are.
            _ => match target.shape.as_deref() {
                Some([rank]) => unknown_sizes(rank)?,
                _ => return Err(OpError::Undetermined),
            },
        };
        Ok(vec![Fact::of(input.element_type, shape).with_content(input.content.clone())])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        match inputs.get(0) {
            Some(input) => regroup(inputs.len(), input, &outputs[0]),
            None => AxisMap::new(inputs.len(), 1),
        }
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (Some(from), Some(to)) = (kept.input_shape(0), kept.output_shape(0)) else {
            return Ok(Shrunk::default());
        };
        let old = kept.inputs.get(1);
        let target = self.retarget(&from, &to, old.and_then(Fact::ints).unwrap_or_default());
        Ok(Shrunk::default().control(1, old, target).target(1, true))
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn is_view(&self) -> bool {
        true
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let shape = match args.output_shape(0) {
            Some(shape) => shape,
            None => {
                let from: Vec<Dim> = x.size().into_iter().map(Dim::from).collect();
                let to: Vec<Dim> = args.ints(1)?.into_iter().map(Dim::from).collect();
                let shape = self.target(&from, &to)?;
                shape.iter().map(Dim::known).collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?
            }
        };
        Ok(vec![x.f_reshape(shape)?])
    }
}
