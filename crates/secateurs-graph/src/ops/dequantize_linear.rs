//! `DequantizeLinear`: (x − zero point) · scale. ONNX opset 10, 13, 19, 21, 23, 24, 25.
//!
//! x: any shape, scale and zero point: a scalar, [c] along `axis`, or like x with `axis` divided into blocks → y like x.

use super::shared::quantize::Granularity;
use crate::op::prelude::*;

/// `DequantizeLinear`.
#[derive(Clone, Debug)]
pub struct DequantizeLinear {
    granularity: Granularity,
    /// In ONNX's numbering; that of the scale where it is 0.
    output_dtype: i64,
}

impl Register for DequantizeLinear {
    const NAME: &'static str = "DequantizeLinear";
    const SINCE: &'static [i64] = &[10, 13, 19, 21, 23, 24, 25];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        let granularity = Granularity::parse(attributes)?;
        Ok(DequantizeLinear { granularity, output_dtype: attributes.int_or("output_dtype", 0)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        use secateurs_onnx::Tensor;
        let bytes: Vec<i8> = (0..24).map(|i| (i * 11 - 128) as i8).collect();
        let x = |shape: &[usize]| Tensor::from_slice(shape.to_vec(), &bytes).unwrap();
        let zeros = Tensor::from_slice(vec![3], &[-3i8, 0, 100]).unwrap();
        vec![
            Case::new(13).fed(x(&[2, 3, 4])).constant(Tensor::scalar(0.013f32)).constant(Tensor::scalar(-7i8)),
            Case::new(13).fed(x(&[2, 3, 4])).float_values(&[0.02, 0.3, 0.007]).constant(zeros),
            Case::new(10).fed(x(&[24])).constant(Tensor::scalar(0.011f32)),
            Case::new(13)
                .constant(Tensor::from_slice(vec![2], &[1i32 << 24, -9]).unwrap())
                .float_values(&[0.02, 0.3])
                .attr("axis", 0i64),
            Case::new(21).fed(x(&[4, 6])).param([2, 6]).attr("block_size", 2i64).attr("axis", 0i64),
        ]
    }
}

impl Op for DequantizeLinear {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list = self.granularity.attributes();
        if self.output_dtype != 0 {
            list.push(("output_dtype", self.output_dtype.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let element_type = match self.output_dtype {
            0 => inputs.element_type(1)?,
            n => i32::try_from(n).ok().and_then(ElementType::from_onnx),
        };
        Ok(vec![Fact { element_type, shape: inputs.fact(0)?.shape.clone(), content: None }])
    }

    fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
        self.granularity.axis_map(inputs)
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let small = args.inputs.element_type(0)?.is_some_and(|t| t.is_small_float());
        let x = args.tensor(0)?;
        let kind = match small {
            true => args.floats.single,
            // Integers through which a gradient passes.
            false if x.f_is_floating_point()? => x.f_kind()?,
            false => Kind::Int64,
        };
        let x = x.f_to_kind(kind)?;
        let steps = match args.get(2) {
            Some(zero_point) => x.f_sub(&self.granularity.spread(zero_point, &x)?.f_to_kind(kind)?)?,
            None => x,
        };
        let scale = self.granularity.spread(args.tensor(1)?, &steps)?;
        let y = steps.f_to_kind(scale.f_kind()?)?.f_mul(&scale)?;
        Ok(vec![super::shared::promote(args, 0, y)?])
    }
}
