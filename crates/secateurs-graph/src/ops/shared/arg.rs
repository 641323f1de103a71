//! The index of the largest or smallest element: ArgMax and ArgMin.

/// Defines an op that finds an index along an axis; `eval` takes a tensor and the axis, keeps the axis and finds the first
/// index among equals.
macro_rules! arg_op {
    ($(#[$doc:meta])* $op:ident, blocks: $reason:expr, eval: $eval:expr $(,)?) => {
        use crate::op::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $op {
            axis: i64,
            keepdims: bool,
            select_last_index: bool,
        }

        impl Register for $op {
            const NAME: &'static str = stringify!($op);
            const SINCE: &'static [i64] = &[1, 11, 12, 13];

            fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
                Ok($op {
                    axis: attributes.int_or("axis", 0)?,
                    keepdims: attributes.flag("keepdims", true)?,
                    select_last_index: attributes.flag("select_last_index", false)?,
                })
            }

            #[cfg(any(test, feature = "harness"))]
            fn cases() -> Vec<Case> {
                let case = |opset| Case::new(opset).float([2, 3, 4]);
                vec![
                    case(13),
                    case(13).attr("axis", -1i64).attr("keepdims", 0i64),
                    case(11).attr("axis", 1i64),
                    case(13).attr("axis", 1i64).attr("select_last_index", 1i64),
                    Case::new(13).ints([3, 8], 0..3).attr("axis", 1i64).attr("select_last_index", 1i64),
                    Case::new(13).ints([3, 8], 0..3).attr("axis", 1i64),
                ]
            }
        }

        impl Op for $op {
            fn name(&self) -> &str {
                Self::NAME
            }

            fn attributes(&self) -> Vec<(&str, Attribute)> {
                let mut list: Vec<(&str, Attribute)> = Vec::new();
                if self.axis != 0 {
                    list.push(("axis", self.axis.into()));
                }
                if !self.keepdims {
                    list.push(("keepdims", false.into()));
                }
                if self.select_last_index {
                    list.push(("select_last_index", true.into()));
                }
                list
            }

            fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
                let mut shape = inputs.shape(0)?.to_vec();
                let axis = normalize_axis(self.axis, shape.len())?;
                match self.keepdims {
                    true => shape[axis] = 1.into(),
                    false => drop(shape.remove(axis)),
                }
                Ok(vec![Fact::new(ElementType::Int64, shape)])
            }

            fn axes(&self, inputs: &Inputs, _: &[Fact]) -> AxisMap {
                let mut map = AxisMap::new(inputs.len(), 1);
                let Ok(shape) = inputs.shape(0) else { return map };
                let Ok(over) = normalize_axis(self.axis, shape.len()) else { return map };
                let role = |axis| if axis == over { Role::Blocked($reason) } else { Role::Free };
                let input: Vec<Axis> =
                    shape.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
                let mut output = input.clone();
                match self.keepdims {
                    true => output[over] = unit_axis(),
                    false => drop(output.remove(over)),
                }
                (map.inputs[0], map.outputs[0]) = (Some(input), Some(output));
                map
            }

            #[cfg(feature = "torch")]
            fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
                let find: fn(&Tensor, i64) -> Result<Tensor, secateurs_torch::tch::TchError> = $eval;
                let x = args.tensor(0)?;
                let axis = normalize_axis(self.axis, x.dim())?;
                let mut index = match self.select_last_index {
                    false => find(x, axis as i64)?,
                    true => {
                        let last = x.size()[axis] - 1;
                        find(&x.f_flip([axis as i64])?, axis as i64)?.f_neg()?.f_add_scalar(last)?
                    }
                };
                if !self.keepdims {
                    index = index.f_squeeze_dim(axis as i64)?;
                }
                Ok(vec![index])
            }
        }
    };
}
