//! What Cast and CastLike have in common.

use super::content::MAX_RANK;
use super::elementwise_content::{is_positive, truth};
use crate::attribute::{Attribute, Attributes};
use crate::dim::Dim;
use crate::fact::{Content, Fact};
#[cfg(feature = "torch")]
use crate::op::Args;
use crate::op::OpError;
use secateurs_onnx::ElementType;
#[cfg(feature = "torch")]
use secateurs_onnx::{PowerRounding, SmallRounding};
#[cfg(feature = "torch")]
use secateurs_torch::tch;

/// How casts to floats of 8 bits and fewer round.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::ops) struct Rounding {
    saturate: bool,
    round_mode: Option<String>,
}

impl Rounding {
    pub fn parse(attributes: &mut Attributes) -> Result<Rounding, OpError> {
        let saturate = attributes.flag("saturate", true)?;
        Ok(Rounding { saturate, round_mode: attributes.string("round_mode")? })
    }

    /// A cast in evaluation.
    #[cfg(feature = "torch")]
    pub fn cast(&self, args: &Args, to: ElementType) -> Result<tch::Tensor, OpError> {
        let x = args.tensor(0)?;
        if !to.is_small_float() || args.inputs.element_type(0)? == Some(to) {
            return Ok(x.f_to_kind(args.kind(to)?)?);
        }
        let powers = match self.round_mode.as_deref() {
            None | Some("up") => PowerRounding::Up,
            Some("down") => PowerRounding::Down,
            Some("nearest") => PowerRounding::Nearest,
            Some(mode) => return Err(OpError::Unsupported(format!("round_mode '{mode}'"))),
        };
        let rounding = SmallRounding { saturate: self.saturate, powers };
        crate::session::rounded(x, to, rounding, args.floats)
    }

    pub fn attributes(&self) -> Vec<(&str, Attribute)> {
        let saturate = (!self.saturate).then(|| ("saturate", false.into()));
        let round_mode = self.round_mode.as_deref().map(|mode| ("round_mode", mode.into()));
        saturate.into_iter().chain(round_mode).collect()
    }
}

/// The fact of a cast to a type, with contents where the cast keeps them knowable.
pub(in crate::ops) fn cast(from: &Fact, to: Option<ElementType>) -> Fact {
    let content = to.zip(from.content.as_ref()).and_then(|(to, content)| convert(content, to));
    let content = content.or_else(|| rounded_sizes(from, to?));
    Fact { element_type: to, shape: from.shape.clone(), content: None }.with_content(content)
}

/// As many as there can be in the padding of a tensor.
const MAX_SIZES: usize = 2 * MAX_RANK;

/// Integers that were computed as floats, as sizes are that are halved: where they stand among known ones those are still known.
fn rounded_sizes(from: &Fact, to: ElementType) -> Option<Content> {
    let count = match from.shape.as_deref()? {
        [] => 1,
        [n] => usize::try_from(n.known()?).ok().filter(|n| *n <= MAX_SIZES)?,
        _ => return None,
    };
    let rounds = to.is_integer() && from.element_type.is_some_and(ElementType::is_float);
    rounds.then(|| Content::Ints((0..count).map(|_| Dim::unknown()).collect()))
}

fn convert(content: &Content, to: ElementType) -> Option<Content> {
    match content {
        Content::Ints(v) if to == ElementType::Bool => {
            let flag = |d: &Dim| match d.known() {
                Some(n) => Some(truth(n != 0)),
                None => is_positive(d).then(|| truth(true)),
            };
            v.iter().map(flag).collect::<Option<Vec<Dim>>>().map(Content::from)
        }
        Content::Ints(v) if to.is_float() => {
            v.iter().map(|d| d.known().map(|n| n as f64)).collect::<Option<Vec<f64>>>().map(Content::from)
        }
        Content::Floats(v) if to == ElementType::Bool => {
            Some(v.iter().map(|x| truth(*x != 0.0)).collect::<Vec<Dim>>().into())
        }
        Content::Floats(v) if to.is_integer() => {
            // Beyond these bounds the cast is undefined.
            let int = |x: &f64| (x.abs() < i64::MAX as f64).then(|| Dim::from(x.trunc() as i64));
            v.iter().map(int).collect::<Option<Vec<Dim>>>().map(Content::from)
        }
        Content::Ints(_) if to.is_integer() => Some(content.clone()),
        Content::Floats(_) if to.is_float() => Some(content.clone()),
        _ => None,
    }
}
