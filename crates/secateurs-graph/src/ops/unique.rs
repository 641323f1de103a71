//! `Unique`: the different elements, or slices of an axis. ONNX opset 11, 28.
//!
//! x → the different ones, where each first occurs, which of them each input is, and how often each occurs.

use crate::op::prelude::*;

/// `Unique`.
#[derive(Clone, Debug)]
pub struct Unique {
    axis: Option<i64>,
    /// In ascending order, or else in order of first occurrence.
    sorted: bool,
}

impl Register for Unique {
    const NAME: &'static str = "Unique";
    const SINCE: &'static [i64] = &[11, 28];

    fn parse(attributes: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(Unique { axis: attributes.int("axis")?, sorted: attributes.flag("sorted", true)? })
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        let case = |shape: &[i64]| Case::new(11).ints(shape.to_vec(), 0..3).outputs(4).without_axes();
        vec![
            case(&[9]),
            case(&[3, 4]).attr("sorted", 0i64),
            case(&[6, 2]).attr("axis", 0i64),
            case(&[2, 6]).attr("axis", -1i64).attr("sorted", 0i64),
        ]
    }
}

impl Op for Unique {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        let axis = self.axis.map(|axis| ("axis", axis.into()));
        axis.into_iter().chain((!self.sorted).then(|| ("sorted", false.into()))).collect()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        let found = Dim::unknown();
        let (shape, all) = match self.axis {
            None => (vec![found.clone()], fact.shape.as_deref().map_or_else(Dim::unknown, element_count)),
            Some(axis) => {
                let mut shape = inputs.shape(0)?.to_vec();
                let axis = normalize_axis(axis, shape.len())?;
                let all = std::mem::replace(&mut shape[axis], found.clone());
                (shape, all)
            }
        };
        let list = |n: Dim| Fact::new(ElementType::Int64, vec![n]);
        Ok(vec![Fact::of(fact.element_type, shape), list(found.clone()), list(all), list(found)])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "depends on which elements are equal")
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        let x = args.tensor(0)?;
        let (x, axis) = match self.axis {
            None => (x.f_reshape([-1])?, 0),
            Some(axis) => (x.shallow_clone(), normalize_axis(axis, x.dim())?),
        };
        let dim = axis as i64;
        let (unique, inverse, counts) = x.f_unique_dim(dim, true, true, true)?;
        let (n, all) = (unique.size()[axis], x.size()[axis]);
        let options = (Kind::Int64, args.device);
        let places = Tensor::f_arange(all, options)?;
        let first = Tensor::f_full([n], all, options)?.f_index_reduce(0, &inverse, &places, "amin", true)?;
        if self.sorted {
            return Ok(vec![unique, first, inverse, counts]);
        }
        let order = first.f_argsort(0, false)?;
        let rank = order.f_argsort(0, false)?;
        Ok(vec![
            unique.f_index_select(dim, &order)?,
            first.f_index_select(0, &order)?,
            rank.f_index_select(0, &inverse)?,
            counts.f_index_select(0, &order)?,
        ])
    }
}
