//! `TensorScatter`: new entries written into a key or value cache. ONNX opset 24.
//!
//! past: [N, …, S, …], update: [N, …, s, …], write_indices: [N] → present as past.

use crate::op::prelude::*;

/// `TensorScatter`.
#[derive(Clone, Debug)]
pub struct TensorScatter {
    axis: i64,
    circular: bool,
}

impl Register for TensorScatter {
    const NAME: &'static str = "TensorScatter";
    const SINCE: &'static [i64] = &[24];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let circular = match attributes.string("mode")?.as_deref() {
            None | Some("linear") => false,
            Some("circular") => true,
            Some(other) => {
                return Err(OpError::Invalid(format!("mode is '{other}', which ONNX does not define")));
            }
        };
        Ok(TensorScatter { axis: attributes.int_or("axis", -2)?, circular })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = || Case::new(24).float([2, 3, 5, 2]).float([2, 3, 2, 2]).without_runtime();
        vec![
            case().int_values(&[1, 3]),
            case().int_values(&[4, 3]).attr("mode", "circular"),
            case(),
            Case::new(24).float([2, 5, 3]).float([2, 1, 3]).ints([2], 0..5).attr("axis", 1i64).without_runtime(),
        ]
    }
}

impl Op for TensorScatter {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if self.axis != -2 {
            list.push(("axis", self.axis.into()));
        }
        if self.circular {
            list.push(("mode", "circular".into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let (fact, shape) = (inputs.fact(0)?, inputs.shape(0)?);
        if normalize_axis(self.axis, shape.len())? == 0 {
            return Err(OpError::invalid("the axis cannot be the batch"));
        }
        Ok(vec![Fact::of(fact.element_type, shape.to_vec())])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(past), Ok(update)) = (inputs.shape(0), inputs.shape(1)) else { return map };
        let Ok(axis) = normalize_axis(self.axis, past.len()) else { return map };
        let written = Role::Blocked("written at run time");
        let mut axes: Vec<Axis> = Vec::with_capacity(past.len());
        for (i, dim) in past.iter().enumerate() {
            axes.push(map.axis(dim, if i == axis { written.clone() } else { Role::Free }));
        }
        (map.inputs[0], map.outputs[0]) = (Some(axes.clone()), Some(axes.clone()));
        if inputs.get(2).is_some() {
            map.inputs[2] = Some(axes[..1].to_vec());
        }
        if let Some(size) = update.get(axis) {
            axes[axis] = map.axis(size, written);
            map.inputs[1] = Some(axes);
        }
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 2 { InputRole::Control } else { InputRole::Data }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let (past, update) = (args.tensor(0)?, args.tensor(1)?);
        let axis = normalize_axis(self.axis, past.dim())?;
        let column = |axis: usize| {
            let mut shape = vec![1i64; past.dim()];
            shape[axis] = -1;
            shape
        };
        let new = *update.size().get(axis).ok_or_else(|| OpError::invalid("the update has too few axes"))?;
        let mut places = Tensor::f_arange(new, (Kind::Int64, args.device))?.f_reshape(column(axis))?;
        if let Some(start) = args.get(2) {
            places = places.f_add(&start.f_to_kind(Kind::Int64)?.f_reshape(column(0))?)?;
        }
        if self.circular {
            places = places.f_remainder(past.size()[axis])?;
        }
        Ok(vec![past.f_scatter(axis as i64, &places.f_expand(update.size(), false)?, update)?])
    }
}
