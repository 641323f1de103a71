//! `QuantizeLinear`: round(x / scale) + zero point, limited to the integers of a type. ONNX opset 10, 13, 19, 21, 23, 24, 25.
//!
//! x: any shape, scale and zero point: a scalar, [c] along `axis`, or like x with `axis` divided into blocks → y like x.

use super::shared::quantize::Granularity;
use crate::op::prelude::*;

/// `QuantizeLinear`.
#[derive(Clone, Debug)]
pub struct QuantizeLinear {
    granularity: Granularity,
    saturate: bool,
    /// In ONNX's numbering; that of the zero point, or uint8, where it is 0.
    output_dtype: i64,
    /// Of the division, in ONNX's numbering; that of the scale where it is 0.
    precision: i64,
}

impl Register for QuantizeLinear {
    const NAME: &'static str = "QuantizeLinear";
    const SINCE: &'static [i64] = &[10, 13, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(QuantizeLinear {
            granularity: Granularity::parse(attributes)?,
            saturate: attributes.flag("saturate", true)?,
            output_dtype: attributes.int_or("output_dtype", 0)?,
            precision: attributes.int_or("precision", 0)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let zeros = |zeros: &[i8]| Tensor::from_slice(vec![zeros.len()], zeros).unwrap();
        vec![
            Case::new(13).float([2, 3, 4]).constant(Tensor::scalar(0.013f32)).constant(Tensor::scalar(120u8)),
            Case::new(13).float([2, 3, 4]).float_values(&[0.0213, 0.297, 0.00711]).constant(zeros(&[-3, 0, 100])),
            Case::new(13)
                .float([2, 3, 4])
                .float_values(&[0.0213, 0.297])
                .constant(zeros(&[5, 0]))
                .attr("axis", -3i64),
            Case::new(10).float([7]).constant(Tensor::scalar(0.011f32)),
            Case::new(21).float([7]).constant(Tensor::scalar(0.5f32)).attr("output_dtype", 5i64),
            Case::new(21)
                .float([2, 6])
                .param_in([2, 2], 0.01, 0.05)
                .constant(Tensor::from_slice(vec![2, 2], &[3u16, 0, 400, 9]).unwrap())
                .attr("block_size", 3i64),
        ]
    }
}

impl QuantizeLinear {
    fn element_type(&self, inputs: &Inputs) -> Result<Option<ElementType>, OpError> {
        if let Some(zero_point) = inputs.get(2) {
            return Ok(zero_point.element_type);
        }
        match self.output_dtype {
            0 => Ok(Some(ElementType::Uint8)),
            n => i32::try_from(n)
                .ok()
                .and_then(ElementType::from_onnx)
                .map(Some)
                .ok_or_else(|| OpError::Invalid(format!("output_dtype is {n}, which is no element type of ONNX"))),
        }
    }
}

impl Op for QuantizeLinear {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.granularity.attributes();
        if !self.saturate {
            list.push(("saturate", false.into()));
        }
        let numbers = [("output_dtype", self.output_dtype), ("precision", self.precision)];
        list.extend(numbers.into_iter().filter(|(_, n)| *n != 0).map(|(name, n)| (name, n.into())));
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let shape = inputs.fact(0)?.shape.clone();
        Ok(vec![Fact { element_type: self.element_type(inputs)?, shape, content: None }])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        self.granularity.axis_map(inputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        use super::shared::quantize::quantized;
        use secateurs_onnx::{PowerRounding, SmallRounding};
        let (x, scale) = (args.tensor(0)?, args.tensor(1)?);
        let zero_point = args.get(2).map(|zero_point| self.granularity.spread(zero_point, x)).transpose()?;
        let scale = self.granularity.spread(scale, x)?;
        let precision = match self.precision {
            0 => args.inputs.element_type(1)?,
            n => i32::try_from(n).ok().and_then(ElementType::from_onnx),
        };
        let kind = args.kind(precision.filter(|t| t.is_float()).unwrap_or(ElementType::Float32))?;
        let steps = x.f_to_kind(kind)?.f_div(&scale.f_to_kind(kind)?)?.f_to_kind(args.floats.single)?;
        let element_type = self.element_type(&args.inputs)?.unwrap_or(ElementType::Uint8);
        if element_type.is_small_float() {
            let rounding = SmallRounding { saturate: self.saturate, powers: PowerRounding::Nearest };
            let moved = match &zero_point {
                Some(zero_point) => steps.f_add(&zero_point.f_to_kind(steps.f_kind()?)?)?,
                None => steps,
            };
            return Ok(vec![crate::session::rounded(&moved, element_type, rounding, args.floats)?]);
        }
        Ok(vec![quantized(&steps, zero_point.as_ref(), element_type)?])
    }
}
