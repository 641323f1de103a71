//! `Concat`: inputs one after another along an axis. ONNX opset 1, 4, 11, 13.

use super::shared::content::{flat_index, join, pick, sizes};
use super::shared::pieces::part;
use crate::op::prelude::*;

/// `Concat`.
#[derive(Clone, Debug)]
pub struct Concat {
    axis: i64,
}

impl Register for Concat {
    const NAME: &'static str = "Concat";
    const SINCE: &'static [i64] = &[1, 4, 11, 13];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let axis = attributes.int("axis")?;
        Ok(Concat { axis: axis.ok_or_else(|| OpError::invalid("the attribute 'axis' is missing"))? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |axis: i64| Case::new(13).attr("axis", axis);
        vec![
            case(1).float([2, 3, 4]).float([2, 1, 4]).param([2, 5, 4]),
            case(-1).float([2, 3]).float([2, 3]),
            case(0).float([3]),
            case(0).int_values(&[1, 2]).int_values(&[]).int_values(&[3]),
            case(1).fed(int_matrix(2, 1)).constant(int_matrix(2, 3)),
            case(-2).constant(int_matrix(2, 2)).constant(int_matrix(3, 2)),
        ]
    }
}

#[cfg(any(test, feature = "harness"))]
fn int_matrix(rows: usize, columns: usize) -> secateurs_onnx::Tensor {
    let values: Vec<i64> = (0..(rows * columns) as i64).collect();
    secateurs_onnx::Tensor::from_slice(vec![rows, columns], &values).unwrap()
}

impl Concat {
    /// Along this axis.
    pub(crate) fn along(axis: usize) -> Concat {
        Concat { axis: axis as i64 }
    }

    /// The axis of values of this rank.
    pub(crate) fn axis(&self, rank: usize) -> Option<usize> {
        normalize_axis(self.axis, rank).ok()
    }
}

impl Op for Concat {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("axis", self.axis.into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let facts = (0..inputs.len()).map(|i| inputs.fact(i)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<ElementType> = facts.iter().filter_map(|f| f.element_type).collect();
        if let Some(other) = types.iter().find(|t| **t != types[0]) {
            let text = format!("its inputs have the element types {} and {other}; they must agree", types[0]);
            return Err(OpError::Invalid(text));
        }
        let shapes = (0..inputs.len()).map(|i| inputs.shape(i)).collect::<Result<Vec<_>, _>>()?;
        let (first, rest) = shapes.split_first().ok_or_else(|| OpError::invalid("it has no inputs"))?;
        let axis = normalize_axis(self.axis, first.len())?;
        let mut shape = first.to_vec();
        for other in rest {
            if other.len() != shape.len() {
                return Err(OpError::Invalid(format!(
                    "inputs of {} and {} axes cannot be joined",
                    shape.len(),
                    other.len()
                )));
            }
            for (i, (mine, theirs)) in shape.iter_mut().zip(*other).enumerate() {
                if i == axis {
                    *mine = mine.clone() + theirs.clone();
                    continue;
                }
                expect_same(mine, theirs, &format!("sizes of axis {i}"))?;
                if theirs.known().is_some() {
                    *mine = theirs.clone();
                }
            }
        }
        let content = content(&facts, axis, &shape);
        Ok(vec![Fact::of(types.first().copied(), shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Some(shape) = &outputs[0].shape else { return map };
        let Ok(axis) = normalize_axis(self.axis, shape.len()) else { return map };
        let mut output: Vec<Axis> = Vec::with_capacity(shape.len());
        for (i, dim) in shape.iter().enumerate() {
            output.push(if i == axis { Vec::new() } else { map.axis(dim, Role::Free) });
        }
        for i in 0..inputs.len() {
            let Ok(input) = inputs.shape(i) else { return AxisMap::new(inputs.len(), 1) };
            let mut axes = output.clone();
            axes[axis] = part(&mut map, &input[axis], Role::Free);
            output[axis].extend(axes[axis].clone());
            map.inputs[i] = Some(axes);
        }
        map.outputs[0] = Some(output);
        map
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let tensors =
            (0..args.tensors.len()).map(|i| args.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![Tensor::f_cat(&tensors, self.axis)?])
    }
}

fn content(facts: &[&Fact], axis: usize, shape: &[Dim]) -> Option<Content> {
    let contents = facts.iter().map(|f| f.content.as_ref()).collect::<Option<Vec<_>>>()?;
    let shapes = facts.iter().map(|f| sizes(f.shape.as_deref()?)).collect::<Option<Vec<_>>>()?;
    pick(&join(&contents)?, shape, |at| {
        let (mut at, mut offset) = (at.to_vec(), 0);
        for (content, shape) in contents.iter().zip(&shapes) {
            if at[axis] < shape[axis] {
                return Some(offset + flat_index(&at, shape)?);
            }
            at[axis] -= shape[axis];
            offset += content.len();
        }
        None
    })
}
