//! Window functions of signal processing: a sum of cosines over the window.

/// Defines a window `a0 − a1 cos t + a2 cos 2t`, t in 0..2π, from its coefficients.
macro_rules! window_op {
    ($(#[$doc:meta])* $op:ident, $coefficients:expr) => {
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            /// In ONNX's numbering.
            output_datatype: i64,
            periodic: bool,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &[17];

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                let output_datatype = attributes.int_or("output_datatype", 1)?;
                Ok($op { output_datatype, periodic: attributes.flag("periodic", true)? })
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                let size = |n: i64| secateurs_onnx::Tensor::from_slice(vec![], &[n]).unwrap();
                vec![
                    Case::new(17).constant(size(10)),
                    Case::new(17).constant(size(9)).attr("periodic", 0i64),
                    Case::new(17).constant(size(5)).attr("output_datatype", 11i64),
                ]
            }
        }

        impl $op {
            fn element_type(&self) -> Result<ElementType, OpError> {
                let number = i32::try_from(self.output_datatype).ok();
                number.and_then(ElementType::from_onnx).ok_or_else(|| {
                    OpError::Invalid(format!("output_datatype is {}, which is no type", self.output_datatype))
                })
            }
        }

        impl Op for $op {
            fn name(&self) -> &str {
                Self::NAME
            }

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                let mut list: Vec<(&str, Attribute)> = Vec::new();
                if self.output_datatype != 1 {
                    list.push(("output_datatype", self.output_datatype.into()));
                }
                if !self.periodic {
                    list.push(("periodic", false.into()));
                }
                list
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                let size = match inputs.fact(0)?.ints() {
                    Some([size]) => size.clone(),
                    _ => Dim::unknown(),
                };
                Ok(vec![Fact::new(self.element_type()?, vec![size])])
            }

            fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
                let mut map = AxisMap::new(inputs.len(), 1);
                let shape = outputs[0].shape.iter().flatten();
                map.outputs[0] = Some(shape.map(|size| map.axis(size, Role::Blocked("a window of this length"))).collect());
                map
            }

            fn role(&self, _: usize) -> InputRole {
                InputRole::Control
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let [size] = args.ints(0)?[..] else { return Err(OpError::invalid("the size must be one number")) };
                if size < 0 {
                    return Err(OpError::Invalid(format!("the size is {size}; it cannot be negative")));
                }
                let period = if self.periodic { size } else { size.saturating_sub(1) };
                let step = std::f64::consts::TAU / period.max(1) as f64;
                let t = Tensor::f_arange(size, (Kind::Double, args.device))?.f_mul_scalar(step)?;
                let [a0, a1, a2]: [f64; 3] = $coefficients;
                let first = t.f_cos()?.f_mul_scalar(-a1)?;
                let second = t.f_mul_scalar(2.0)?.f_cos()?.f_mul_scalar(a2)?;
                let window = first.f_add(&second)?.f_add_scalar(a0)?;
                Ok(vec![window.f_to_kind(args.kind(self.element_type()?)?)?])
            }
        }
    };
}
