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

    /// Whether there are ranks, as they have to be.
    pub(crate) fn is_ascending(&self) -> bool {
        match self {
            ExplainedForm::Pointwise => true,
            ExplainedForm::LowRank(ranks) => {
                ranks.first().is_some_and(|rank| *rank > 0) && ranks.is_sorted_by(|a, b| a < b)
            }
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

/// What implants can make of the rows of a model's layers, and of how many layers too few positions are seen: what is fitted to them
/// says nothing of others. `observe` may end it after a batch or a layer.
pub(crate) fn explain(
    stream: &Stream,
    coupling: &Coupling,
    observe: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(Vec<Explained>, usize), CompensateError> {
    let sites = coupling.sites(stream.graph);
    let sites: Vec<&Site> = sites.iter().collect();
    if sites.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let moments = stream.moments(&sites, &mut |_| observe())?;
    let (mut all, mut few) = (Vec::new(), 0);
    for site in sites {
        let Some(moments) = moments.get(&site.node) else { continue };
        if (moments.positions as usize) < 2 * site.rows.channels {
            few += 1;
            continue;
        }
        let node = node_name(stream.graph, site.node);
        let explained = match site.pointwise {
            Ok(()) => pointwise(node, moments)?,
            Err(_) => low_rank(node, moments)?,
        };
        all.push(explained);
        if observe().is_break() {
            return Err(CompensateError::Interrupted);
        }
    }
    Ok((all, few))
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
    let by_rank = by_component(&central.xx.f_select(0, 0)?, &slopes.f_select(0, 0)?)?.f_cumsum(1, None)?;
    let most = by_rank.size()[1] as usize;
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

/// The variance of every row that each principal component of what a layer makes accounts for, `[rows, min(rows, channels)]`, the largest
/// first: from the eigenvectors of Sᵀ X S, for the channels' covariance X and the slopes S, or, where there are fewer channels than rows,
/// from those of B Bᵀ with B = √X S.
fn by_component(covariance: &Tensor, slopes: &Tensor) -> Result<Tensor, TchError> {
    let (channels, rows) = slopes.size2()?;
    let parts = if rows <= channels {
        let made = slopes.f_transpose(0, 1)?.f_matmul(covariance)?.f_matmul(slopes)?;
        let (values, vectors) = made.f_linalg_eigh("L")?;
        vectors.f_square()?.f_mul(&values.f_clamp_min(0.0)?.f_unsqueeze(0)?)?
    } else {
        let (values, vectors) = covariance.f_linalg_eigh("L")?;
        let root = vectors.f_mul(&values.f_clamp_min(0.0)?.f_sqrt()?.f_unsqueeze(0)?)?;
        let scaled = root.f_transpose(0, 1)?.f_matmul(slopes)?;
        let (_, components) = scaled.f_matmul(&scaled.f_transpose(0, 1)?)?.f_linalg_eigh("L")?;
        scaled.f_transpose(0, 1)?.f_matmul(&components)?.f_square()?
    };
    // Eigenvalues ascend.
    parts.f_flip([1])
}

#[cfg(test)]
mod tests {
    use secateurs_torch::tch::{Device, Kind, Tensor};

    use super::by_component;

    #[test]
    fn components_are_those_of_a_singular_value_decomposition() {
        secateurs_torch::load().unwrap();
        for (channels, rows) in [(5, 3), (3, 5), (4, 4), (40, 7), (7, 40)] {
            let random = |shape: [i64; 2]| Tensor::f_randn(shape, (Kind::Double, Device::Cpu)).unwrap();
            let (samples, slopes) = (random([channels, 60]), random([channels, rows]));
            let covariance = samples.f_matmul(&samples.f_transpose(0, 1).unwrap()).unwrap();
            let parts = by_component(&covariance, &slopes).unwrap();
            let made = samples.f_transpose(0, 1).unwrap().f_matmul(&slopes).unwrap();
            let (_, values, right) = made.f_svd(true, true).unwrap();
            let wanted = right.f_mul(&values.f_unsqueeze(0).unwrap()).unwrap().f_square().unwrap();
            // Beyond the channels there is nothing.
            let wanted = wanted.f_narrow(1, 0, channels.min(rows)).unwrap();
            assert_eq!(parts.size(), wanted.size());
            let far = parts.f_sub(&wanted).unwrap().f_abs().unwrap().f_max().unwrap();
            let largest = wanted.f_max().unwrap().f_double_value(&[]).unwrap();
            assert!(far.f_double_value(&[]).unwrap() < 1e-9 * largest, "{channels} {rows}: {far}");
        }
    }
}
