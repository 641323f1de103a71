//! Scatter and ScatterElements, which differ in name and reductions only.

use super::pieces::part;
use crate::axes::{Axis, AxisMap, Role};
use crate::fact::Fact;
use crate::op::{Inputs, OpError, normalize_axis};

/// The updates take the place of elements of x along `axis`. x, indices: [I…], updates: [I…] → y as x.
pub(in crate::ops) fn infer(axis: i64, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
    let (fact, shape) = (inputs.fact(0)?, inputs.shape(0)?);
    normalize_axis(axis, shape.len())?;
    for i in 1..3 {
        if inputs.fact(i)?.rank().is_some_and(|rank| rank != shape.len()) {
            return Err(OpError::Invalid(format!("input {i} has another number of axes than the data")));
        }
    }
    Ok(vec![Fact::of(fact.element_type, shape.to_vec())])
}

pub(in crate::ops) fn axes(axis: i64, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
    let mut map = AxisMap::new(inputs.len(), 1);
    let (Ok(shape), Ok(indices)) = (inputs.shape(0), inputs.shape(1)) else {
        return AxisMap::blocked(inputs.facts, outputs, "scattered to places told at run time");
    };
    let Ok(axis) = normalize_axis(axis, shape.len()) else { return map };
    let (mut data, mut update): (Vec<Axis>, Vec<Axis>) = (Vec::new(), Vec::new());
    for (i, (size, len)) in shape.iter().zip(indices).enumerate() {
        let (whole, start) = match i == axis {
            true => {
                let reason = "scattered element by element";
                (map.axis(size, Role::Blocked(reason)), map.axis(len, Role::Blocked(reason)))
            }
            // The updates may cover only the start of an axis; the rest passes through.
            false => {
                let rest = part(&mut map, &(size.clone() - len.clone()), Role::Free);
                let start = part(&mut map, len, Role::Free);
                ([start.clone(), rest].concat(), start)
            }
        };
        data.push(whole);
        update.push(start);
    }
    map.inputs = vec![Some(data.clone()), Some(update.clone()), Some(update)];
    map.outputs[0] = Some(data);
    map
}

#[cfg(feature = "torch")]
pub(in crate::ops) fn eval(
    axis: i64,
    reduction: super::scatter::Reduction,
    args: &crate::op::Args,
) -> Result<Vec<secateurs_torch::tch::Tensor>, OpError> {
    use super::at_run::{check_range, wrapped};
    use super::scatter::Reduction;
    use secateurs_torch::tch::{Kind, Tensor};
    let (x, updates) = (args.tensor(0)?, args.tensor(2)?);
    let shape = x.size();
    let axis = normalize_axis(axis, shape.len())?;
    let indices = wrapped(args.tensor(1)?, shape[axis])?;
    match reduction {
        Reduction::Replace => return Ok(vec![x.f_scatter(axis as i64, &indices, updates)?]),
        Reduction::Add => return Ok(vec![x.f_scatter_add(axis as i64, &indices, updates)?]),
        Reduction::Mul | Reduction::Max | Reduction::Min => {}
    }
    // Other reductions work on whole rows: of the flattened tensor, which has one element a row.
    check_range(&indices, shape[axis])?;
    let mut flat = Tensor::f_zeros([1i64; 0], (Kind::Int64, args.device))?;
    for (i, &size) in shape.iter().enumerate() {
        let mut column = vec![1i64; shape.len()];
        column[i] = -1;
        let at = match i == axis {
            true => indices.shallow_clone(),
            false => {
                let range = Tensor::f_arange(indices.size()[i], (Kind::Int64, args.device))?;
                range.f_reshape(column)?
            }
        };
        flat = flat.f_mul_scalar(size)?.f_add(&at)?;
    }
    let y = reduction.apply(&x.f_reshape([-1])?, &flat.f_reshape([-1])?, &updates.f_reshape([-1])?)?;
    Ok(vec![y.f_reshape(shape)?])
}
