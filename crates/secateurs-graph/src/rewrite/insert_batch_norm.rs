//! Batch norms that change nothing, so that a model exported with its batch norms folded can be tuned as it was trained.

use secateurs_onnx::{ElementType, Tensor};

use super::is_trainable;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::op::OpError;
use crate::ops::BatchNormalization;
use crate::patch::Patch;
use crate::surgery::constants::floats;

/// Moments of a value over batch and space, a number a channel (axis 1).
#[derive(Clone, PartialEq, Debug)]
pub struct Statistics {
    /// The means.
    pub mean: Vec<f64>,
    /// The variances, 0 or more.
    pub variance: Vec<f64>,
}

const EPSILON: f32 = 1e-5;

/// Puts a batch norm behind the producer of each value, with these running statistics, γ = √(σ² + ε) and β = μ: what it makes
/// equals what it reads, whatever the statistics, up to rounding. The value keeps its name and its readers.
///
/// Gives the new nodes, in the order of `places`. From opset 15 on the parameters are 32-bit floats also behind 16-bit values
/// (before, the operator wants one type). [`fold_batch_norms_among`](super::fold_batch_norms_among) undoes it.
pub fn insert_batch_norms(
    graph: &mut Graph,
    places: &[(ValueId, Statistics)],
) -> Result<Vec<NodeId>, GraphError> {
    let mut patch = Patch::new();
    for (value, statistics) in places {
        let extra = parameters(graph, *value, statistics)?;
        let name = format!("{}_batch_norm", graph.values[*value].name);
        patch.insert_after(*value, name, Box::new(BatchNormalization::new(EPSILON)), extra);
    }
    patch.apply(graph)?;
    let made = places.iter().filter_map(|(value, _)| match graph.values[*value].source {
        Source::Node(node, _) => Some(node),
        _ => None,
    });
    Ok(made.collect())
}

/// Scale, bias, mean and variance, named.
fn parameters(
    graph: &Graph,
    value: ValueId,
    statistics: &Statistics,
) -> Result<Vec<(String, Tensor)>, GraphError> {
    let (name, fact) = (&graph.values[value].name, &graph.values[value].fact);
    let fail = |source: OpError| match graph.values[value].source {
        Source::Node(node, _) => graph.node_error(node, source),
        _ => GraphError::Inconsistent(format!("no node makes '{name}'")),
    };
    let opset = graph.opset("");
    if opset < 7 {
        let text = format!("a batch norm in opset {opset}; convert the model to opset 7 or later");
        return Err(fail(OpError::Unsupported(text)));
    }
    let channels = fact.shape.as_ref().and_then(|shape| shape.get(1)?.known());
    let Statistics { mean, variance } = statistics;
    let fits = |list: &[f64]| i64::try_from(list.len()).ok() == channels;
    let finite = |list: &[f64]| list.iter().all(|v| v.abs() <= f64::from(f32::MAX));
    let valid = finite(mean) && finite(variance) && variance.iter().all(|v| *v >= 0.0);
    if !fits(mean) || !fits(variance) || !valid {
        let text =
            format!("the statistics of '{name}' must be finite, one for each of its channels ({fact})");
        return Err(fail(OpError::Invalid(text)));
    }
    let element_type = match fact.element_type.unwrap_or(ElementType::Float32) {
        ElementType::Float16 | ElementType::Bfloat16 if opset >= 15 => ElementType::Float32,
        other if is_trainable(other) => other,
        other => return Err(fail(OpError::Unsupported(format!("a batch norm of {other} values")))),
    };
    let tensor = |list: &[f64]| floats(element_type, vec![list.len()], list);
    let (mean, variance) = (tensor(mean)?, tensor(variance)?);
    if super::numbers(&mean)?.iter().chain(&super::numbers(&variance)?).any(|v| !v.is_finite()) {
        let text = format!(
            "a batch norm behind '{name}', whose statistics are too large for {element_type}; convert the model to opset 15 or later, \
             where batch norms keep them in float32"
        );
        return Err(fail(OpError::Unsupported(text)));
    }
    // From the variance as it is stored, so that rounding it changes nothing.
    let scale: Vec<f64> =
        super::numbers(&variance)?.iter().map(|v| (v + f64::from(EPSILON)).sqrt()).collect();
    let named = |what: &str, tensor: Tensor| (format!("{name}_batch_norm_{what}"), tensor);
    Ok(vec![
        named("scale", tensor(&scale)?),
        named("bias", mean.clone()),
        named("mean", mean),
        named("variance", variance),
    ])
}
