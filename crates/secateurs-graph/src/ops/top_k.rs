//! `TopK`: the k largest or smallest elements along an axis, and their indices. ONNX opset 1, 10, 11, 24.
//!
//! x: […, n, …], k: [1] (an attribute before opset 10) → values and indices: […, k, …].

use crate::op::prelude::*;

/// `TopK`.
#[derive(Clone, Debug)]
pub struct TopK {
    k: Option<i64>,
    axis: i64,
    largest: bool,
    sorted: bool,
}

impl Register for TopK {
    const NAME: &'static str = "TopK";
    const SINCE: &'static [i64] = &[1, 10, 11, 24];

    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError> {
        let k = attributes.int("k")?;
        if k.is_none() && cx.inputs < 2 {
            return Err(OpError::invalid("k is neither an attribute nor an input"));
        }
        Ok(TopK {
            k,
            axis: attributes.int_or("axis", -1)?,
            largest: attributes.flag("largest", true)?,
            sorted: attributes.flag("sorted", true)?,
        })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |opset| Case::new(opset).float([2, 5, 3]).outputs(2);
        vec![
            case(9).attr("k", 2i64),
            case(10).int_values(&[3]).attr("axis", 1i64),
            case(11).int_values(&[2]).attr("axis", -2i64).attr("largest", 0i64),
            case(11).int_values(&[1]).attr("sorted", 0i64),
            case(24).int_values(&[3]),
            Case::new(11).ints([2, 9], 0..3).int_values(&[4]).outputs(2),
        ]
    }
}

impl TopK {
    fn count(&self, inputs: &Inputs) -> Result<Dim, OpError> {
        match (inputs.get(1), self.k) {
            (Some(k), _) => Ok(match k.ints() {
                Some([k]) => k.clone(),
                Some(k) => return Err(OpError::Invalid(format!("k has {} elements; it needs 1", k.len()))),
                None => Dim::unknown(),
            }),
            (None, Some(k)) => Ok(k.into()),
            (None, None) => Err(OpError::invalid("k is missing")),
        }
    }
}

impl Op for TopK {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let mut list: Vec<(&str, Attribute)> = Vec::new();
        if let Some(k) = self.k {
            list.push(("k", k.into()));
        }
        if self.axis != -1 {
            list.push(("axis", self.axis.into()));
        }
        if !self.largest {
            list.push(("largest", false.into()));
        }
        if !self.sorted {
            list.push(("sorted", false.into()));
        }
        list
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let mut shape = inputs.shape(0)?.to_vec();
        let axis = normalize_axis(self.axis, shape.len())?;
        let k = self.count(inputs)?;
        if let (Some(k), Some(n)) = (k.known(), shape[axis].known())
            && !(0..=n).contains(&k)
        {
            return Err(OpError::Invalid(format!("k is {k} for an axis of {n}")));
        }
        shape[axis] = k;
        let values = Fact::of(inputs.element_type(0)?, shape.clone());
        Ok(vec![values, Fact::new(ElementType::Int64, shape)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        let mut map = AxisMap::new(inputs.len(), outputs.len());
        let (Ok(from), Some(to)) = (inputs.shape(0), &outputs[0].shape) else { return map };
        let Ok(over) = normalize_axis(self.axis, from.len()) else { return map };
        let sorted = || Role::Blocked("a selection of the largest or smallest");
        let role = |axis| if axis == over { sorted() } else { Role::Free };
        let input: Vec<Axis> = from.iter().enumerate().map(|(i, dim)| map.axis(dim, role(i))).collect();
        let mut output = input.clone();
        output[over] = map.axis(&to[over], sorted());
        map.inputs[0] = Some(input);
        map.outputs.fill(Some(output));
        map
    }

    fn role(&self, input: usize) -> InputRole {
        if input == 0 { InputRole::Data } else { InputRole::Control }
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let k = match args.get(1) {
            Some(_) => args.ints(1)?.first().copied(),
            None => self.k,
        };
        let k = k.ok_or_else(|| OpError::invalid("k is missing"))?;
        // Among equals the first come first, which libtorch's topk does not promise.
        let (values, indices) = x.f_sort_stable(true, self.axis, self.largest)?;
        Ok(vec![values.f_narrow(self.axis, 0, k)?, indices.f_narrow(self.axis, 0, k)?])
    }
}
