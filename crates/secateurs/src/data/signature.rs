//! What a model takes, and whether a sample is that.

use std::fmt;
use std::path::Path;

use secateurs_onnx::{ElementType, Tensor};

use super::error::{DataError, Result};

/// One input of a model: its name, element type and shape. The first axis counts samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub element_type: ElementType,
    /// The sizes of the axes; `None` where any size is taken.
    pub shape: Vec<Option<usize>>,
}

impl InputSpec {
    /// The size of an axis, if the input has that axis and its size is fixed.
    pub fn size(&self, axis: usize) -> Option<usize> {
        self.shape.get(axis).copied().flatten()
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> =
            self.shape.iter().map(|size| size.map_or("?".to_owned(), |size| size.to_string())).collect();
        write!(f, "{} [{}]", self.element_type, sizes.join(", "))
    }
}

/// How a sample differs from what the input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    ElementType,
    Rank,
    /// The first axis, apart from that of the samples, whose size differs.
    Size(usize),
}

/// Compares all axes but the first one, which counts samples.
pub(super) fn mismatch(spec: &InputSpec, element_type: ElementType, shape: &[usize]) -> Option<Mismatch> {
    if shape.len() != spec.shape.len() {
        return Some(Mismatch::Rank);
    }
    let differs = |axis: usize| spec.size(axis).is_some_and(|size| size != shape[axis]);
    if let Some(axis) = (1..shape.len()).find(|axis| differs(*axis)) {
        return Some(Mismatch::Size(axis));
    }
    (element_type != spec.element_type).then_some(Mismatch::ElementType)
}

/// Checks a batch's tensor; `remedy` is asked for advice if it does not fit.
pub(super) fn check(
    path: &Path,
    spec: &InputSpec,
    tensor: &Tensor,
    remedy: impl FnOnce(Mismatch) -> String,
) -> Result<()> {
    match mismatch(spec, tensor.element_type(), tensor.shape()) {
        None => Ok(()),
        Some(mismatch) => Err(DataError::Signature {
            path: path.to_owned(),
            input: spec.name.clone(),
            expected: spec.to_string(),
            got: describe(tensor.element_type(), tensor.shape()),
            remedy: remedy(mismatch),
        }),
    }
}

/// An element type and shape as messages show them.
pub(super) fn describe(element_type: ElementType, shape: &[usize]) -> String {
    format!("{element_type} {shape:?}")
}
