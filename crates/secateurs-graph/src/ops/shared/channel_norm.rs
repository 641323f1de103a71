//! Normalization of [N, C, D1, …] with a scale and a bias for the channels: InstanceNormalization, GroupNormalization.

use crate::dim::Dim;
use crate::fact::Fact;
use crate::op::{Inputs, OpError, expect_same};

/// The output, after checking that the input has `min_rank` axes and scale and bias `size(channels)` elements.
pub(in crate::ops) fn infer(
    inputs: &Inputs,
    min_rank: usize,
    size: impl Fn(&Dim) -> Dim,
) -> Result<Fact, OpError> {
    let x = inputs.fact(0)?;
    inputs.fact(1)?;
    inputs.fact(2)?;
    let shape = inputs.shape(0)?;
    if shape.len() < min_rank {
        let text = format!("the input has {} axes; it needs at least {min_rank}", shape.len());
        return Err(OpError::Invalid(text));
    }
    for (i, name) in [(1, "scale"), (2, "bias")] {
        if let Some(parameter) = inputs.get(i).and_then(|f| f.shape.as_deref()) {
            let [n] = parameter else {
                return Err(OpError::Invalid(format!("the {name} must have one axis")));
            };
            expect_same(n, &size(&shape[1]), &format!("the {name} and what it scales"))?;
        }
    }
    Ok(Fact { content: None, ..x.clone() })
}
