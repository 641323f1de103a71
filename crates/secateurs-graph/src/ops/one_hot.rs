//! `OneHot`: `on` at the place each index names along a new axis, `off` elsewhere. ONNX opset 9, 11, 28.
//!
//! indices: [I…], depth: a number, values: [off, on] → y: [I…] with an axis of `depth`.

use crate::op::prelude::*;

/// `OneHot`.
#[derive(Clone, Debug)]
pub struct OneHot {
    axis: i64,
}

impl Register for OneHot {
    const NAME: &'static str = "OneHot";
    const SINCE: &'static [i64] = &[9, 11, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(OneHot { axis: attributes.int_or("axis", -1)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let depth = secateurs_onnx::Tensor::scalar(4i64);
        let case = || Case::new(11).ints([2, 3], -5..5).constant(depth.clone()).float_values(&[0.5, 2.0]);
        vec![
            case(),
            case().attr("axis", 1i64),
            case().attr("axis", -3i64),
            Case::new(11).ints([3], 0..4).fed(depth.clone()).int_values(&[0, 1]).without_axes(),
        ]
    }
}

impl OneHot {
    fn depth(&self, inputs: &Inputs) -> Result<Dim, OpError> {
        let fact = inputs.fact(1)?;
        match (fact.ints(), fact.floats()) {
            (Some([depth]), _) => Ok(depth.clone()),
            (_, Some([depth])) => Ok(Dim::from(*depth as i64)),
            (None, None) => Ok(Dim::unknown()),
            _ => Err(OpError::invalid("the depth must be one number")),
        }
    }
}

impl Op for OneHot {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        if self.axis == -1 { Vec::new() } else { vec![("axis", self.axis.into())] }
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let mut shape = inputs.shape(0)?.to_vec();
        let axis = normalize_axis(self.axis, shape.len() + 1)?;
        shape.insert(axis, self.depth(inputs)?);
        Ok(vec![Fact::of(inputs.element_type(2)?, shape)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let (Ok(shape), Some(to)) = (inputs.shape(0), &outputs[0].shape) else { return map };
        let Ok(axis) = normalize_axis(self.axis, to.len()) else { return map };
        let mut axes: Vec<Axis> = shape.iter().map(|dim| map.axis(dim, Role::Free)).collect();
        map.inputs[0] = Some(axes.clone());
        axes.insert(axis, map.axis(&to[axis], Role::Blocked("one index for each class")));
        map.outputs[0] = Some(axes);
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let depth = super::shared::at_run::at_run(args, &[1], |inputs| self.depth(inputs))?;
        let depth = depth.known().ok_or(OpError::Undetermined)?;
        let indices = args.tensor(0)?.f_to_kind(Kind::Int64)?;
        let axis = normalize_axis(self.axis, indices.dim() + 1)?;
        let mut column = vec![1i64; indices.dim() + 1];
        column[axis] = -1;
        let places = Tensor::f_arange(depth, (Kind::Int64, args.device))?.f_reshape(column)?;
        // Indices count from either end; what is out of range is off everywhere.
        let indices = super::shared::at_run::wrapped(&indices, depth)?.f_unsqueeze(axis as i64)?;
        let values = args.tensor(2)?;
        let (off, on) = (values.f_select(0, 0)?, values.f_select(0, 1)?);
        Ok(vec![on.f_where_self(&indices.f_eq_tensor(&places)?, &off)?])
    }
}
