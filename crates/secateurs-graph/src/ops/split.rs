//! `Split`: consecutive parts of an axis. ONNX opset 1, 2, 11, 13, 18.
//!
//! The sizes are an attribute before opset 13 and an input since; without them the parts are equal.

use super::shared::content::{int_list, rearrange};
use super::shared::pieces::part;
use crate::op::prelude::*;

/// `Split`.
#[derive(Clone, Debug)]
pub struct Split {
    axis: i64,
    split: Option<Vec<i64>>,
    /// Since opset 18, where the last part may be smaller.
    num_outputs: Option<i64>,
    /// Since opset 13 the sizes are an input.
    sizes_are_input: bool,
}

impl Register for Split {
    const NAME: &'static str = "Split";
    const SINCE: &'static [i64] = &[1, 2, 11, 13, 18];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let num_outputs = attributes.int("num_outputs")?;
        if num_outputs.is_some_and(|n| n != cx.outputs as i64) {
            let text = format!("num_outputs is {} and there are {} outputs", num_outputs.unwrap_or(0), cx.outputs);
            return Err(OpError::Invalid(text));
        }
        let split = attributes.ints("split")?;
        // Some files keep the attribute where it is an input by now.
        let sizes_are_input = cx.opset >= 13 && split.is_none();
        Ok(Split { axis: attributes.int_or("axis", 0)?, split, num_outputs, sizes_are_input })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset: i64, n: usize| Case::new(opset).float([2, 6, 3]).attr("axis", 1i64).outputs(n);
        vec![
            case(13, 3),
            case(13, 2).int_values(&[2, 4]),
            case(11, 2),
            case(11, 2).attr("split", vec![5i64, 1]),
            case(18, 4).attr("num_outputs", 4i64),
            case(13, 3).int_values(&[2, 0, 4]),
            Case::new(13).int_values(&[3, 4, 5]).int_values(&[1, 2]).outputs(2),
            Case::new(18).float([5]).attr("num_outputs", 2i64).attr("axis", -1i64).outputs(2),
        ]
    }
}

impl Split {
    /// The axis and the sizes of the parts.
    fn sizes(&self, inputs: &Inputs) -> Result<(usize, Vec<Dim>), OpError> {
        let shape = inputs.shape(0)?;
        let axis = normalize_axis(self.axis, shape.len())?;
        let (size, n) = (&shape[axis], inputs.outputs);
        let sizes = match (&self.split, inputs.get(1)) {
            (Some(split), _) => split.iter().copied().map(Dim::from).collect(),
            (None, Some(_)) => match inputs.dims(1) {
                Ok(split) => split.to_vec(),
                Err(_) => return Ok((axis, (0..n).map(|_| Dim::unknown()).collect())),
            },
            (None, None) => return Ok((axis, self.equal(size, n)?)),
        };
        if sizes.len() != n {
            return Err(OpError::Invalid(format!("there are {} sizes for {n} outputs", sizes.len())));
        }
        let total = sizes.iter().fold(Dim::from(0), |sum, d| sum + d.clone());
        expect_same(&total, size, "the sum of the parts and the size of the axis")?;
        Ok((axis, sizes))
    }

    fn equal(&self, size: &Dim, n: usize) -> Result<Vec<Dim>, OpError> {
        let Some(before) = n.checked_sub(1) else { return Ok(Vec::new()) };
        if self.num_outputs.is_none() && size.known().is_some_and(|d| d % n as i64 != 0) {
            return Err(OpError::Invalid(format!("an axis of {size} does not split into {n} equal parts")));
        }
        let each = match self.num_outputs {
            Some(_) => size.ceil_div(&n.into()),
            None => size.floor_div(&n.into()),
        };
        let last = match self.num_outputs {
            Some(_) => size.clone() - each.clone() * before.into(),
            None => each.clone(),
        };
        Ok(std::iter::repeat_n(each, before).chain([last]).collect())
    }
}

impl Op for Split {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = Vec::new();
        if self.axis != 0 {
            list.push(("axis", self.axis.into()));
        }
        list.extend(self.split.iter().map(|split| ("split", split.clone().into())));
        list.extend(self.num_outputs.map(|n| ("num_outputs", n.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let input = inputs.fact(0)?;
        let (axis, sizes) = self.sizes(inputs)?;
        let mut offset = Some(0usize);
        let outputs = sizes.into_iter().map(|size| {
            let mut shape = input.shape.clone().unwrap_or_default();
            shape[axis] = size.clone();
            let content = offset.and_then(|offset| {
                rearrange(input, &shape, |to, at| {
                    at.copy_from_slice(to);
                    at[axis] += offset;
                })
            });
            let len = size.known().and_then(|n| usize::try_from(n).ok());
            offset = offset.zip(len).and_then(|(a, b)| a.checked_add(b));
            Fact::of(input.element_type, shape).with_content(content)
        });
        Ok(outputs.collect())
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let Ok(shape) = inputs.shape(0) else { return map };
        let Ok((axis, sizes)) = self.sizes(inputs) else { return map };
        if sizes.iter().any(|d| !d.is_determined()) {
            return AxisMap::blocked(inputs.facts, outputs, "split at run time");
        }
        let mut input: Vec<Axis> = Vec::with_capacity(shape.len());
        for (i, dim) in shape.iter().enumerate() {
            input.push(if i == axis { Vec::new() } else { map.axis(dim, Role::Free) });
        }
        for (size, output) in sizes.iter().zip(0..outputs.len()) {
            let mut axes = input.clone();
            axes[axis] = part(&mut map, size, Role::Free);
            input[axis].extend(axes[axis].clone());
            map.outputs[output] = Some(axes);
        }
        map.inputs[0] = Some(input);
        map
    }

    fn shrink(&self, kept: &Kept) -> Result<Shrunk, OpError> {
        let (axis, old) = self.sizes(&kept.inputs)?;
        let sizes = (0..old.len()).map(|i| kept.output_shape(i).map(|shape| shape[axis].clone()));
        let sizes = sizes.collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?;
        if kept.inputs.get(1).is_some() {
            return Ok(Shrunk::default().control(1, kept.inputs.get(1), sizes));
        }
        let total = sizes.iter().fold(Dim::from(0), |sum, size| sum + size.clone());
        let stays = match self.split {
            Some(_) => sizes == old,
            None => self.equal(&total, sizes.len()).is_ok_and(|equal| equal == sizes),
        };
        if stays {
            return Ok(Shrunk::default());
        }
        let numbers = sizes.iter().map(Dim::known).collect::<Option<Vec<_>>>().ok_or(OpError::Undetermined)?;
        let op = Split { num_outputs: None, ..self.clone() };
        Ok(match self.sizes_are_input {
            true => Shrunk::instead(op, vec![ShrunkInput::Old(0), ShrunkInput::New(int_list(&numbers))]),
            false => Shrunk::op(Split { split: Some(numbers), ..op }),
        })
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    fn mixed(&self) -> Mixed {
        Mixed::Follow
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::at_run::{at_run, known};
        let (axis, sizes) = at_run(args, &[1], |inputs| {
            let (axis, sizes) = self.sizes(inputs)?;
            Ok((axis, known(&sizes)?))
        })?;
        Ok(args.tensor(0)?.f_split_with_sizes(sizes, axis as i64)?)
    }
}
