//! Muon: momentum made orthogonal, so that a step changes a layer by as much in every direction (Jordan et al. 2024; as in
//! `torch.optim.Muon` with `adjust_lr_fn = "match_rms_adamw"`, and with its kernels as matrices).

use std::collections::HashMap;

use secateurs_graph::{Graph, Source, ValueId};
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

/// The weights that layers multiply by; tables of embeddings are none.
pub(super) fn matrices(graph: &Graph) -> HashMap<ValueId, Matrices> {
    let mut found = HashMap::new();
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let facts = graph.input_facts(node);
        let inputs = node.op_inputs(&facts);
        for (input, value) in node.inputs.iter().enumerate().take(2) {
            let (Some(value), Ok(rows)) = (value, node.op.rows(input, &inputs)) else { continue };
            let own = Matrices { row_axis: rows.weight_axis as i64, groups: rows.groups as i64 };
            if graph.tensor(*value).is_some() {
                found.insert(*value, own);
            } else if let Some(matrix) = viewed_matrix(graph, *value) {
                // Its transpose, if that is the view, has the same singular vectors.
                found.insert(matrix, Matrices { row_axis: 0, groups: 1 });
            }
        }
    }
    found
}

/// The constant of two axes that a value is a view of.
fn viewed_matrix(graph: &Graph, mut value: ValueId) -> Option<ValueId> {
    loop {
        value = match &graph.values[value].source {
            Source::Tensor(tensor) => return (tensor.shape().len() == 2).then_some(value),
            Source::Node(node, _) if graph.nodes[*node].op.is_view() => graph.nodes[*node].inputs[0]?,
            Source::Node(..) | Source::Input => return None,
        };
    }
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
