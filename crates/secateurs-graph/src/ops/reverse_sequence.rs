//! `ReverseSequence`: the start of each sequence of a batch in reverse order. ONNX opset 10, 28.

use crate::op::prelude::*;

/// `ReverseSequence`.
#[derive(Clone, Debug)]
pub struct ReverseSequence {
    batch_axis: i64,
    time_axis: i64,
}

impl Register for ReverseSequence {
    const NAME: &'static str = "ReverseSequence";
    const SINCE: &'static [i64] = &[10, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let op = ReverseSequence {
            batch_axis: attributes.int_or("batch_axis", 1)?,
            time_axis: attributes.int_or("time_axis", 0)?,
        };
        match op.batch_axis == op.time_axis {
            true => Err(OpError::invalid("batch_axis and time_axis are the same")),
            false => Ok(op),
        }
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(10).float([4, 3, 2]).int_values(&[1, 4, 2]),
            Case::new(10).float([3, 4]).ints([3], 1..5).attr("batch_axis", 0i64).attr("time_axis", 1i64),
        ]
    }
}

impl Op for ReverseSequence {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("batch_axis", self.batch_axis.into()), ("time_axis", self.time_axis.into())]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, shape) = (inputs.fact(0)?, inputs.shape(0)?);
        let batch = normalize_axis(self.batch_axis, shape.len())?;
        normalize_axis(self.time_axis, shape.len())?;
        if let Ok([lengths]) = inputs.shape(1) {
            expect_same(&shape[batch], lengths, "the batch and the number of lengths")?;
        }
        Ok(vec![Fact::of(fact.element_type, shape.to_vec())])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let Ok(shape) = inputs.shape(0) else { return map };
        let rank = shape.len();
        let (Ok(batch), Ok(time)) = (normalize_axis(self.batch_axis, rank), normalize_axis(self.time_axis, rank))
        else {
            return map;
        };
        let role = |axis| if axis == time { Role::Blocked("reversed in part") } else { Role::Free };
        let axes: Vec<Axis> = shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        if let Some(lengths) = map.inputs.get_mut(1) {
            *lengths = Some(vec![axes[batch].clone()]);
        }
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let batch = normalize_axis(self.batch_axis, x.dim())?;
        let time = normalize_axis(self.time_axis, x.dim())?;
        let column = |axis: usize| {
            let mut shape = vec![1i64; x.dim()];
            shape[axis] = -1;
            shape
        };
        let lengths = args.tensor(1)?.f_to_kind(Kind::Int64)?.f_reshape(column(batch))?;
        let steps = Tensor::f_arange(x.size()[time], (Kind::Int64, args.device))?.f_reshape(column(time))?;
        let mirrored = lengths.f_sub(&steps)?.f_sub_scalar(1i64)?;
        let source = mirrored.f_where_self(&mirrored.f_ge(0i64)?, &steps)?;
        Ok(vec![x.f_gather(time as i64, &source.f_expand(x.size(), false)?, false)?])
    }
}
