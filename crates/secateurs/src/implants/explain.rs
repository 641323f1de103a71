//! How much of what rows make the forms of implants can make.

use std::ops::ControlFlow;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::surgery::Site;
use secateurs_torch::tch::{TchError, Tensor};

use super::site::Stream;
use super::start::fitted;
use crate::compensate::CompensateError;
use crate::compensate::moments::Moments;
use crate::plan::node_name;

/// What is left unexplained of the rows of a layer by the best implant: sums over positions, so that those of shards add up.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The layer's node, as plans name it.
    pub node: String,
    /// The forms.
    pub form: ExplainedForm,
    /// The variance of every row.
    pub energy: Vec<f64>,
    /// What is left of it, row by row: one number for a pointwise implant, one for each rank for low ranks.
    pub residual: Vec<f64>,
}

/// Of which forms it is known what they explain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExplainedForm {
    /// One tap at the centre.
    Pointwise,
    /// Pairs of these ranks, ascending.
    LowRank(Vec<usize>),
}

impl ExplainedForm {
    /// Numbers a row.
    pub fn levels(&self) -> usize {
        match self {
            ExplainedForm::Pointwise => 1,
            ExplainedForm::LowRank(ranks) => ranks.len(),
        }
    }
}

impl Explained {
    /// The variance of a row that an implant does not make; between ranks that are known on a line over the logarithm.
    pub fn residual(&self, row: usize, rank: Option<usize>) -> f64 {
        let levels = &self.residual[row * self.form.levels()..][..self.form.levels()];
        let (ExplainedForm::LowRank(ranks), Some(rank)) = (&self.form, rank) else { return levels[0] };
        let above = ranks.partition_point(|known| *known < rank);
        match (above.checked_sub(1), levels.get(above)) {
            (_, Some(exact)) if ranks[above] == rank => *exact,
            (Some(below), Some(high)) => {
                let at = |rank: usize| (rank as f64).ln();
                let share = (at(rank) - at(ranks[below])) / (at(ranks[above]) - at(ranks[below]));
                levels[below] + share * (high - levels[below])
            }
            (Some(last), None) => levels[last],
            (None, _) => levels[0],
        }
    }
}

/// What implants can make of the rows of a model's layers.
pub(crate) fn explain(stream: &Stream, coupling: &Coupling) -> Result<Vec<Explained>, CompensateError> {
    let sites = coupling.sites(stream.graph);
    let sites: Vec<&Site> = sites.iter().collect();
    if sites.is_empty() {
        return Ok(Vec::new());
    }
    let moments = stream.moments(&sites, &mut |_| ControlFlow::Continue(()))?;
    let mut all = Vec::new();
    for site in sites {
        let Some(moments) = moments.get(&site.node) else { continue };
        let node = node_name(stream.graph, site.node);
        let explained = match site.pointwise {
            Ok(()) => pointwise(node, moments)?,
            Err(_) => low_rank(node, moments)?,
        };
        all.push(explained);
    }
    Ok(all)
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    let flat = tensor.f_reshape([-1])?.f_contiguous()?;
    let mut numbers = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut numbers, flat.numel())?;
    Ok(numbers)
}

fn pointwise(node: String, moments: &Moments) -> Result<Explained, TchError> {
    let (central, n) = (moments.central(true)?, moments.positions as f64);
    let slopes = fitted(&central)?;
    let made = central.xy.f_mul_scalar(2.0)?.f_sub(&central.xx.f_bmm(&slopes)?)?.f_mul(&slopes)?;
    let made = made.f_sum_dim_intlist([1i64].as_slice(), true, None)?;
    let residual = central.yy.f_sub(&made)?.f_clamp_min(0.0)?;
    let sums = |tensor: &Tensor| numbers(&tensor.f_mul_scalar(n)?);
    Ok(Explained {
        node,
        form: ExplainedForm::Pointwise,
        energy: sums(&central.yy)?,
        residual: sums(&residual)?,
    })
}

fn low_rank(node: String, moments: &Moments) -> Result<Explained, TchError> {
    let (central, n) = (moments.central(true)?, moments.positions as f64);
    let slopes = fitted(&central)?;
    let made = slopes.f_transpose(1, 2)?.f_bmm(&central.xx)?.f_bmm(&slopes)?.f_select(0, 0)?;
    let (values, vectors) = made.f_linalg_eigh("L")?;
    // Ascending; the largest come first.
    let parts = vectors.f_square()?.f_mul(&values.f_clamp_min(0.0)?.f_unsqueeze(0)?)?.f_flip([1])?;
    let by_rank = parts.f_cumsum(1, None)?;
    let most = made.size()[0].min(central.xx.size()[1]) as usize;
    let mut ranks: Vec<usize> =
        std::iter::successors(Some(1), |r| Some(r * 2)).take_while(|r| *r < most).collect();
    ranks.push(most);
    let picked: Vec<i64> = ranks.iter().map(|rank| *rank as i64 - 1).collect();
    let picked = Tensor::f_from_slice(&picked)?.f_to_device(by_rank.device())?;
    let energy = central.yy.f_reshape([-1, 1])?;
    let residual = energy.f_sub(&by_rank.f_index_select(1, &picked)?)?.f_clamp_min(0.0)?;
    Ok(Explained {
        node,
        form: ExplainedForm::LowRank(ranks),
        energy: numbers(&energy.f_mul_scalar(n)?)?,
        residual: numbers(&residual.f_mul_scalar(n)?)?,
    })
}
