//! `NonZero`: the coordinates of all elements that are not zero. ONNX opset 9, 13.
//!
//! x: [n1, …, nr] → y: [r, found].

use super::shared::content::coordinates;
use crate::op::prelude::*;

/// `NonZero`.
#[derive(Clone, Debug)]
pub struct NonZero;

impl Register for NonZero {
    const NAME: &'static str = "NonZero";
    const SINCE: &'static [i64] = &[9, 13];

    fn parse(_: &mut Attributes, _: &ParseContext) -> Result<Self, OpError> {
        Ok(NonZero)
    }

    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<Case> {
        vec![
            Case::new(13).bools([3, 4]).without_axes(),
            Case::new(9).ints([6], 0..2).without_axes(),
            Case::new(13).int_values(&[3, 0, 5]),
            Case::new(13).float_values(&[0.0, 0.5]),
        ]
    }
}

/// The coordinates found in known contents, as rows of the output.
fn known(fact: &Fact) -> Option<Vec<Vec<usize>>> {
    let set: Vec<bool> = match fact.content.as_ref()? {
        Content::Ints(v) => v.iter().map(|d| Some(d.known()? != 0)).collect::<Option<_>>()?,
        Content::Floats(v) => v.iter().map(|x| *x != 0.0).collect(),
    };
    let all = coordinates(fact.shape.as_deref()?)?;
    let found: Vec<Vec<usize>> = all.zip(set).filter(|(_, set)| *set).map(|(at, _)| at).collect();
    Some((0..fact.rank()?).map(|axis| found.iter().map(|at| at[axis]).collect()).collect())
}

impl Op for NonZero {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        Vec::new()
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        let fact = inputs.fact(0)?;
        let of = |rank: Dim, found: Dim| Fact::new(ElementType::Int64, vec![rank, found]);
        Ok(vec![match (known(fact).filter(|rows| !rows.is_empty()), fact.rank()) {
            (Some(rows), _) => {
                let content = rows.concat().into_iter().map(Dim::from).collect::<Vec<_>>();
                of(rows.len().into(), rows[0].len().into()).with_content(Some(content.into()))
            }
            (None, Some(rank)) => of(rank.into(), Dim::unknown()),
            (None, None) => of(Dim::unknown(), Dim::unknown()),
        }])
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "coordinates of non-zero elements")
    }

    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![args.tensor(0)?.f_nonzero()?.f_transpose(0, 1)?])
    }
}
