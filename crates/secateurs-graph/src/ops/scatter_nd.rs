//! `ScatterND`: `updates` take the place of (or combine with) the slices that the rows of `indices` name.
//! ONNX opset 11, 13, 16, 18.
//!
//! x: [n1, …, nk, D…], indices: [I…, k], updates: [I…, D…] → y as x.

use super::shared::content::{flat_index, join, pick, sizes, wrap};
use super::shared::scatter::Reduction;
use crate::op::prelude::*;

/// `ScatterND`.
#[derive(Clone, Debug)]
pub struct ScatterND {
    reduction: Reduction,
}

impl Register for ScatterND {
    const NAME: &'static str = "ScatterND";
    const SINCE: &'static [i64] = &[11, 13, 16, 18];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(ScatterND { reduction: Reduction::parse(attributes)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let rows = |shape: Vec<usize>, v: &[i64]| secateurs_onnx::Tensor::from_slice(shape, v).unwrap();
        let case = |opset: i64| Case::new(opset).float([4, 3]).constant(rows(vec![3, 1], &[2, 0, -1])).float([3, 3]);
        let twice = || Case::new(18).float([4, 3]).constant(rows(vec![2, 1], &[1, 1])).float([2, 3]);
        vec![
            case(11),
            case(16).attr("reduction", "mul"),
            twice().attr("reduction", "add"),
            twice().attr("reduction", "max"),
            twice().attr("reduction", "min"),
            Case::new(13).float([4, 3, 2]).constant(rows(vec![2, 2], &[1, 2, 3, -3])).float([2, 2]),
            Case::new(13).int_values(&[5, 6, 7]).constant(rows(vec![2, 1], &[2, 0])).int_values(&[8, 9]),
            Case::new(13).float([4]).ints([1, 1], 0..4).float([1]),
        ]
    }
}

/// How many axes are indexed.
fn depth(shape: &[Dim], indices: &[Dim]) -> Result<usize, OpError> {
    let depth = indices.last().ok_or_else(|| OpError::invalid("the indices are a scalar"))?;
    let depth = depth.known().ok_or(OpError::Undetermined)?;
    usize::try_from(depth).ok().filter(|n| *n <= shape.len()).ok_or_else(|| {
        OpError::Invalid(format!("rows of {depth} indices do not fit an input of {} axes", shape.len()))
    })
}

impl ScatterND {
    fn content(&self, inputs: &Inputs, shape: &[Dim]) -> Option<Content> {
        if self.reduction != Reduction::Replace {
            return None;
        }
        let (x, updates) = (inputs.get(0)?, inputs.get(2)?);
        let all = join(&[x.content.as_ref()?, updates.content.as_ref()?])?;
        let from = sizes(shape)?;
        let depth = depth(shape, inputs.shape(1).ok()?).ok()?;
        let slice: usize = from[depth..].iter().product();
        let count = x.content.as_ref()?.len();
        // For each slice the update that takes its place, the last one if there are several.
        let mut replaced = std::collections::HashMap::new();
        let indices = inputs.get(1)?.known_ints()?;
        for (update, row) in indices.chunks(depth.max(1)).enumerate() {
            let row = row.iter().zip(&from).map(|(&i, &size)| wrap(i, size)).collect::<Option<Vec<_>>>()?;
            replaced.insert(row, count + update * slice);
        }
        pick(&all, shape, |at| match replaced.get(&at[..depth]) {
            Some(start) => Some(start + flat_index(&at[depth..], &from[depth..])?),
            None => flat_index(at, &from),
        })
    }
}

impl Op for ScatterND {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.reduction.attribute().into_iter().collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        let shape = inputs.shape(0)?.to_vec();
        if let (Ok(indices), Ok(updates)) = (inputs.shape(1), inputs.shape(2))
            && let Ok(depth) = depth(&shape, indices)
            && updates.len() != indices.len() - 1 + shape.len() - depth
        {
            return Err(OpError::invalid("the updates have another number of axes than the indices ask for"));
        }
        if let (Ok(indices), Ok(at)) = (inputs.ints(1), inputs.shape(1))
            && let Ok(depth) = depth(&shape, at)
        {
            let sizes = shape[..depth].iter().cycle();
            let out = |(i, size): &(&i64, &Dim)| size.known().is_some_and(|n| **i < -n || **i >= n);
            if let Some((index, size)) = indices.iter().zip(sizes).find(out) {
                return Err(OpError::Invalid(format!("index {index} is out of range for an axis of {size}")));
            }
        }
        let content = self.content(inputs, &shape);
        Ok(vec![Fact::of(fact.element_type, shape).with_content(content)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(shape), Ok(indices)) = (inputs.shape(0), inputs.shape(1)) else { return map };
        let Ok(depth) = depth(shape, indices) else {
            return AxisMap::blocked(inputs.facts, outputs, "scattered to places told at run time");
        };
        let (indexed, rows) = (Role::Blocked("scattered by rows of indices"), Role::Blocked("rows of updates"));
        let role = |axis| if axis < depth { indexed.clone() } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        let mut index: Vec<Axis> = indices.iter().map(|dim| map.axis(dim, rows.clone())).collect();
        if let [_, at, updates, ..] = &mut map.inputs[..] {
            *at = Some(index.clone());
            index.pop();
            *updates = Some([&index[..], &axes[depth..]].concat());
        }
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 1 { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{check_range, wrapped};
        let known = args.inputs.get(1).is_some_and(|f| f.content.as_ref().is_some_and(Content::is_known));
        let (x, indices, updates) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
        let shape = x.size();
        let depth = depth(
            &shape.iter().copied().map(Dim::from).collect::<Vec<_>>(),
            &indices.size().into_iter().map(Dim::from).collect::<Vec<_>>(),
        )?;
        let (head, tail) = shape.split_at(depth);
        let indices = indices.f_reshape([-1, depth as i64])?;
        let mut flat = Tensor::f_zeros([indices.size()[0]], (Kind::Int64, args.device))?;
        for (i, &size) in head.iter().enumerate() {
            let column = wrapped(&indices.f_select(1, i as i64)?, size)?;
            if !known {
                check_range(&column, size)?;
            }
            flat = flat.f_mul_scalar(size)?.f_add(&column)?;
        }
        let rows = x.f_reshape([&[head.iter().product()], tail].concat())?;
        let updates = updates.f_reshape([&[indices.size()[0]], tail].concat())?;
        Ok(vec![self.reduction.apply(&rows, &flat, &updates)?.f_reshape(shape)?])
    }
}
