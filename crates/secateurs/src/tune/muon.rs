//! Muon: momentum made orthogonal, so that a step changes a layer by as much in every direction (Jordan et al. 2024; as in
//! `torch.optim.Muon` with `adjust_lr_fn = "match_rms_adamw"`, and with its kernels as matrices).

use std::collections::{HashMap, HashSet};

use secateurs_graph::{Graph, ValueId};
use secateurs_torch::tch::{TchError, Tensor};

/// The quintic iteration's coefficients: steepest at zero, so that small singular values grow fastest.
const QUINTIC: [f64; 3] = [3.4445, -4.775, 2.0315];
const ITERATIONS: usize = 5;
const SMALLEST_NORM: f64 = 1e-7;
/// The root mean square of a step of AdamW, which the steps here are scaled to (Liu et al. 2025, eq. 4).
const ADAMW_RMS: f64 = 0.2;

/// How a layer's weight is one matrix for each group of its rows: filters by channels and taps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrices {
    row_axis: i64,
    groups: i64,
}

/// The weights that layers multiply by, and that nothing else reads: tables of embeddings are none, tied ones neither.
pub(super) fn matrices(graph: &Graph) -> HashMap<ValueId, Matrices> {
    let mut found = HashMap::new();
    let mut others = HashSet::new();
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let facts = graph.input_facts(node);
        let inputs = node.op_inputs(&facts);
        for (input, value) in node.inputs.iter().enumerate() {
            let Some(constant) = value.and_then(|value| graph.constant_behind(value)) else { continue };
            match node.op.rows(input, &inputs) {
                Ok(rows) if *value == Some(constant) => {
                    let own = Matrices { row_axis: rows.weight_axis as i64, groups: rows.groups as i64 };
                    found.insert(constant, own);
                }
                // Its transpose, if that is the view, has the same singular vectors.
                Ok(_) if graph.tensor(constant).is_some_and(|tensor| tensor.shape().len() == 2) => {
                    found.insert(constant, Matrices { row_axis: 0, groups: 1 });
                }
                _ if node.op.is_view() => {}
                _ => {
                    others.insert(constant);
                }
            }
        }
    }
    found.retain(|constant, _| !others.contains(constant));
    found
}

impl Matrices {
    /// The direction of a step: `U Vᵀ` of every matrix `U Σ Vᵀ`, about, with the root mean square of a step of AdamW.
    pub fn orthogonal(self, momentum: &Tensor) -> Result<Tensor, TchError> {
        let moved = momentum.f_movedim_int(self.row_axis, 0)?;
        let shape = moved.size();
        let wide = moved.f_reshape([self.groups, shape[0] / self.groups, -1])?;
        let size = wide.size();
        let (rows, columns) = (size[1], size[2]);
        let tall = rows > columns;
        let mut x = if tall { wide.f_transpose(1, 2)? } else { wide };
        let norm = x.f_norm_scalaropt_dim(2.0, [1, 2], true)?.f_clamp_min(SMALLEST_NORM)?;
        x = x.f_div(&norm)?;
        let [a, b, c] = QUINTIC;
        for _ in 0..ITERATIONS {
            let square = x.f_bmm(&x.f_transpose(1, 2)?)?;
            let polynomial = square.f_baddbmm(&square, &square, b, c)?;
            x = x.f_baddbmm(&polynomial, &x, a, 1.0)?;
        }
        let x = if tall { x.f_transpose(1, 2)? } else { x };
        let scale = ADAMW_RMS * (rows.max(columns) as f64).sqrt();
        x.f_mul_scalar(scale)?.f_reshape(&shape)?.f_movedim_int(0, self.row_axis)
    }
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::proto::AttributeProto;
    use secateurs_onnx::{ElementType, ModelBuilder};

    use super::super::tests::{graph, wave};
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_group_of_rows_gets_singular_values_near_one() -> Result<(), TchError> {
        secateurs_torch::load().unwrap();
        // Kernels of two groups, a matrix with its rows along the second axis, a matrix of one row, and zeros.
        let cases = [(vec![8, 3, 3, 3], 0, 2), (vec![40, 6], 1, 1), (vec![1, 5], 0, 1)];
        for (shape, row_axis, groups) in cases {
            let mut rng = Rng::new(0, "momentum", 0, 0);
            let count = shape.iter().product::<i64>();
            let drawn: Vec<f64> = (0..count).map(|_| rng.normal()).collect();
            let momentum = Tensor::f_from_slice(&drawn)?.f_reshape(&shape)?;
            let of = Matrices { row_axis, groups };
            let step = of.orthogonal(&momentum)?;
            assert_eq!(step.size(), shape);
            let rows = shape[row_axis as usize] / groups;
            let wide = step.f_movedim_int(row_axis, 0)?.f_reshape([groups, rows, -1])?;
            let scale = ADAMW_RMS * (rows.max(wide.size()[2]) as f64).sqrt();
            let wide = wide.f_div_scalar(scale)?;
            let turned = wide.f_transpose(1, 2)?;
            let square = if rows > wide.size()[2] { turned.f_bmm(&wide)? } else { wide.f_bmm(&turned)? };
            let squares = Vec::<f64>::try_from(square.f_linalg_eigvalsh("L")?.f_reshape([-1])?)?;
            assert!(squares.iter().all(|square| (0.36..1.7).contains(square)), "{shape:?}: {squares:?}");
            let zeros = of.orthogonal(&momentum.f_zeros_like()?)?;
            assert_eq!(zeros.f_abs()?.f_max()?.f_double_value(&[])?, 0.0);
        }
        Ok(())
    }

    #[test]
    fn what_layers_multiply_by_is_a_matrix_and_tables_are_none() {
        let transposed = || vec![AttributeProto::from_ints("perm", [1, 0])];
        let model = ModelBuilder::new(17)
            .input("tokens", ElementType::Int64, &["batch", "7"])
            .constant("table", &wave(&[11, 4], 0.3, 1.0, 0.0))
            .constant("tied", &wave(&[11, 4], 0.7, 1.0, 0.0))
            .constant("linear", &wave(&[4, 4], 0.5, 1.0, 0.0))
            .constant("exported", &wave(&[5, 4], 0.9, 1.0, 0.0))
            .constant("bias", &wave(&[4], 0.2, 1.0, 0.0))
            .node("Gather", &["table", "tokens"], &["a"])
            .node("Gather", &["tied", "tokens"], &["b"])
            .node("Add", &["a", "b"], &["c"])
            .node("MatMul", &["c", "linear"], &["d"])
            .node("Add", &["d", "bias"], &["e"])
            .node_with("Transpose", &["tied"], &["tied_t"], transposed())
            .node_with("Transpose", &["exported"], &["exported_t"], transposed())
            .node("MatMul", &["e", "tied_t"], &["tokens_out"])
            .node("MatMul", &["e", "exported_t"], &["classes"])
            .output("tokens_out")
            .output("classes");
        let graph = graph(model);
        let mut names: Vec<_> = matrices(&graph).keys().map(|id| graph.values[*id].name.clone()).collect();
        names.sort();
        assert_eq!(names, ["exported", "linear"]);
    }
}
