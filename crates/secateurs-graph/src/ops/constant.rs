//! `Constant`: a tensor held in the node. ONNX opset 1, 9, 11, 12, 13, 19, 21, 23, 24, 25.

use secateurs_onnx::Tensor as HostTensor;

use crate::op::prelude::*;

/// `Constant`, from whichever attribute holds it.
#[derive(Clone, Debug)]
pub struct Constant {
    tensor: HostTensor,
}

impl Constant {
    /// A node that holds this tensor.
    pub fn new(tensor: HostTensor) -> Constant {
        Constant { tensor }
    }
}

impl Register for Constant {
    const NAME: &'static str = "Constant";
    const SINCE: &'static [i64] = &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let invalid = |e: secateurs_onnx::TensorError| OpError::Invalid(e.to_string());
        let tensor = if let Some(tensor) = attributes.tensor("value")? {
            tensor
        } else if let Some(value) = attributes.float("value_float")? {
            HostTensor::from_slice(vec![], &[value]).map_err(invalid)?
        } else if let Some(values) = attributes.floats("value_floats")? {
            HostTensor::from_slice(vec![values.len()], &values).map_err(invalid)?
        } else if let Some(value) = attributes.int("value_int")? {
            HostTensor::from_slice(vec![], &[value]).map_err(invalid)?
        } else if let Some(values) = attributes.ints("value_ints")? {
            HostTensor::from_slice(vec![values.len()], &values).map_err(invalid)?
        } else {
            let text = "Constant without a numeric value (sparse and string constants are not supported)";
            return Err(OpError::Unsupported(text.into()));
        };
        Ok(Constant { tensor })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(12).attr("value_ints", vec![3i64, 1, 2]),
            Case::new(12).attr("value_float", 0.5f32),
            Case::new(9).attr("value", HostTensor::from_slice(vec![2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap()),
        ]
    }
}

impl Op for Constant {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        vec![("value", self.tensor.clone().into())]
    }

    fn infer(&self, _: &Inputs) -> Result<Vec<Fact>, OpError> {
        Ok(vec![Fact::from_tensor(&self.tensor)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), 1);
        let shape = outputs[0].shape.as_deref().unwrap_or_default();
        map.outputs[0] = Some(shape.iter().map(|dim| map.axis(dim, Role::Made)).collect());
        map
    }

    fn constant(&self) -> Option<&HostTensor> {
        Some(&self.tensor)
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![crate::session::to_device(&self.tensor, args.device, args.floats)?])
    }
}
