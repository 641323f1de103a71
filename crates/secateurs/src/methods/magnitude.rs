//! Magnitude: units of small weights go first.
//!
//! `s(u) = ‖w_u‖₂ / mean over the group`, with `w_u` all weights in which the unit is *made*: filters, their biases, scale and
//! shift of normalisations, in every layer that is coupled to the unit; where a group makes its units in no parameter, all
//! that they are part of. Running statistics are no weights. Dividing by the group's mean lets groups compare and changes
//! no order within one.
//!
//! Source: Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017, arXiv 1608.08710 (there the L1 norm of single
//! filters); the sum over coupled parameters as in Fang et al., *DepGraph*, CVPR 2023, arXiv 2301.12900.

use std::collections::{HashMap, HashSet};

use secateurs_graph::coupling::{Coupling, ParameterAxis};
use secateurs_graph::{Graph, ValueId};
use secateurs_onnx::{ElementType, Tensor};

use super::{Method, MethodError, Scorer, Scores};

pub(super) const METHOD: Method = Method {
    name: "magnitude",
    summary: "L2 norm of the unit's weights over all coupled layers that make it",
    formula: "‖w_u‖₂ / mean over the group",
    source: "Li et al. 2017, arXiv 1608.08710; groups as in DepGraph, arXiv 2301.12900",
    scorer: Scorer::Model(score),
};

fn score(graph: &Graph, coupling: &Coupling, _seed: u64) -> Result<Scores, MethodError> {
    let statistics: HashSet<ValueId> =
        graph.parameters().into_iter().filter(|p| p.statistic).map(|p| p.value).collect();
    let mut squares = HashMap::<(ValueId, usize), Vec<f64>>::new();
    let mut scores = Scores::with_capacity(coupling.groups.len());
    for group in &coupling.groups {
        let counted = group.made_of(&statistics);
        for parameter in &counted {
            let key = (parameter.value, parameter.axis);
            if !squares.contains_key(&key)
                && let Some(tensor) = graph.tensor(parameter.value)
            {
                let own = squares_along(tensor, parameter.axis, &graph.values[parameter.value].name)?;
                squares.insert(key, own);
            }
        }
        let norm = |unit: &secateurs_graph::coupling::Unit| {
            let of = |p: &&ParameterAxis| {
                let squares = squares.get(&(p.value, p.axis));
                squares.map_or(0.0, |s| unit.indices(p).iter().map(|&i| s[i]).sum::<f64>())
            };
            counted.iter().map(of).sum::<f64>().sqrt()
        };
        let norms: Vec<f64> = group.units.iter().map(norm).collect();
        let mean = norms.iter().sum::<f64>() / norms.len().max(1) as f64;
        // A group of zeros is worth nothing, and goes first.
        scores.push(norms.into_iter().map(|n| if mean > 0.0 { n / mean } else { 0.0 }).collect());
    }
    Ok(scores)
}

/// The sum of squares at each index of an axis.
fn squares_along(tensor: &Tensor, axis: usize, name: &str) -> Result<Vec<f64>, MethodError> {
    let shape = tensor.shape();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut squares = vec![0.0; size];
    let finite = |value: f64| match value.is_finite() {
        true => Ok(value * value),
        false => Err(MethodError::NotFinite { parameter: name.to_owned(), value }),
    };
    if tensor.element_type() == ElementType::Float32 {
        // Without a copy of the weights, which may be most of the memory.
        for (row, bytes) in tensor.bytes().chunks_exact(4 * inner.max(1)).enumerate() {
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let sum = values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>();
            if !sum.is_finite() {
                let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                let value = values.find(|v| !v.is_finite()).unwrap_or(f32::NAN);
                finite(value.into())?;
            }
            squares[row % size] += sum;
        }
        return Ok(squares);
    }
    let values = tensor.to_f64_vec();
    let values =
        values.map_err(|e| MethodError::Unreadable { parameter: name.to_owned(), reason: e.to_string() })?;
    for (row, values) in values.chunks_exact(inner.max(1)).enumerate() {
        for &value in values {
            squares[row % size] += finite(value)?;
        }
    }
    Ok(squares)
}

#[cfg(test)]
mod tests {
    use secateurs_graph::coupling::CouplingOptions;
    use secateurs_onnx::ModelBuilder;

    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_slice(shape.to_vec(), values).unwrap()
    }

    /// `y = relu(x W + b) V` over 2 features and 3 neurons.
    fn graph(w: &[f32]) -> Graph {
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2"])
            .constant("w", &tensor(&[2, 3], w))
            .constant("b", &tensor(&[3], &[0.0, 0.0, 2.0]))
            .constant("v", &tensor(&[3, 2], &[9.0; 6]))
            .node("MatMul", &["x", "w"], &["h"])
            .node("Add", &["h", "b"], &["i"])
            .node("Relu", &["i"], &["j"])
            .node("MatMul", &["j", "v"], &["y"]);
        Graph::from_model(model.output("y").build().unwrap()).unwrap()
    }

    #[test]
    fn a_score_is_the_norm_of_what_makes_the_unit_over_the_mean() {
        let graph = graph(&[3.0, 0.0, 1.0, 4.0, 0.0, 2.0]);
        let coupling = graph.coupling(&CouplingOptions::default());
        let scores = score(&graph, &coupling, 0).unwrap();
        // Norms 5, 0, √(1 + 4 + 2²) = 3; the rows of v consume the units and do not count.
        let mean = 8.0 / 3.0;
        assert_eq!(scores, [[5.0 / mean, 0.0, 3.0 / mean]]);
    }

    #[test]
    fn weights_that_are_not_finite_are_named() {
        for bad in [f32::NAN, f32::INFINITY] {
            let graph = graph(&[3.0, 0.0, 1.0, bad, 0.0, 2.0]);
            let coupling = graph.coupling(&CouplingOptions::default());
            let error = score(&graph, &coupling, 0).unwrap_err().to_string();
            assert!(error.contains("'w'"), "{error}");
        }
    }

    #[test]
    fn every_axis_and_type_is_summed_alike() {
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let single = tensor(&[2, 3, 4], &values);
        let wide: Vec<f64> = values.iter().map(|&v| v.into()).collect();
        let double = Tensor::from_slice(vec![2, 3, 4], &wide).unwrap();
        for axis in 0..3 {
            let squares = squares_along(&single, axis, "w").unwrap();
            assert_eq!(squares, squares_along(&double, axis, "w").unwrap());
            assert_eq!(squares.iter().sum::<f64>(), wide.iter().map(|v| v * v).sum::<f64>());
        }
        assert_eq!(squares_along(&single, 0, "w").unwrap()[0], (0..12).map(|v| v * v).sum::<i32>() as f64);
    }
}
