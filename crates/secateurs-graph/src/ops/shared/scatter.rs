//! What the scattering ops do with several values for one place.

use crate::attribute::{Attribute, Attributes};
use crate::op::OpError;
#[cfg(feature = "torch")]
use secateurs_torch::tch::{Kind, Tensor};

/// How an update combines with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Reduction {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Reduction {
    pub fn parse(attributes: &mut Attributes) -> Result<Reduction, OpError> {
        match attributes.string("reduction")?.as_deref() {
            None | Some("none") => Ok(Reduction::Replace),
            Some("add") => Ok(Reduction::Add),
            Some("mul") => Ok(Reduction::Mul),
            Some("max") => Ok(Reduction::Max),
            Some("min") => Ok(Reduction::Min),
            Some(other) => {
                Err(OpError::Invalid(format!("reduction is '{other}', which ONNX does not define")))
            }
        }
    }

    pub fn attribute(self) -> Option<(&'static str, Attribute)> {
        let name = match self {
            Reduction::Replace => return None,
            Reduction::Add => "add",
            Reduction::Mul => "mul",
            Reduction::Max => "max",
            Reduction::Min => "min",
        };
        Some(("reduction", name.into()))
    }

    /// data: [n, …], indices: [m] in `0..n`, updates: [m, …].
    #[cfg(feature = "torch")]
    pub fn apply(self, data: &Tensor, indices: &Tensor, updates: &Tensor) -> Result<Tensor, OpError> {
        let name = match self {
            Reduction::Replace => return Ok(data.f_index_put(&[Some(indices)], updates, false)?),
            Reduction::Add => return Ok(data.f_index_put(&[Some(indices)], updates, true)?),
            Reduction::Mul => "prod",
            Reduction::Max => "amax",
            Reduction::Min => "amin",
        };
        let kind = data.f_kind()?;
        if kind == Kind::Bool {
            let (data, updates) = (data.f_to_kind(Kind::Uint8)?, updates.f_to_kind(Kind::Uint8)?);
            return Ok(data.f_index_reduce(0, indices, &updates, name, true)?.f_to_kind(kind)?);
        }
        Ok(data.f_index_reduce(0, indices, updates, name, true)?)
    }
}
