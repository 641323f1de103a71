//! The weights that units are made of.

use std::collections::HashSet;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::session::{Floats, to_device};
use secateurs_graph::{Graph, GraphError, ValueId};
use secateurs_onnx::Tensor as HostTensor;
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

use super::Sums;
use crate::evidence::EvidenceError;

/// The weights that units are made of, axis by axis.
pub(super) struct Weights {
    pub parts: Vec<Part>,
    /// The first unit of every group.
    pub first: Vec<usize>,
    /// How many units there are in all groups.
    pub units: usize,
    /// `[units]`: ‖w‖² / 2p of the p weights that HAP counts.
    pub factor: Tensor,
}

/// An axis of a parameter along which a group makes its units.
pub(super) struct Part {
    pub parameter: ValueId,
    pub group: usize,
    axis: usize,
    /// Indices of the axis, and the unit of each.
    pub indices: Vec<i64>,
    units: Vec<i64>,
    /// Whether HAP counts it: kernels and matrices, not biases and norms; whatever there is where a group has none of these.
    pub counted: bool,
}

impl Weights {
    pub fn new(graph: &Graph, coupling: &Coupling) -> Result<Weights, EvidenceError> {
        let statistics: HashSet<ValueId> =
            graph.parameters().into_iter().filter(|p| p.statistic).map(|p| p.value).collect();
        let mut parts = Vec::new();
        let (mut first, mut units, mut factor) = (Vec::new(), 0, Vec::new());
        for (number, group) in coupling.groups.iter().enumerate() {
            first.push(units);
            let counted = group.made_of(&statistics);
            let wide = |value: ValueId, axis: usize| {
                graph.tensor(value).is_some_and(|tensor| tensor.len() > tensor.shape()[axis])
            };
            let any_wide = counted.iter().any(|p| wide(p.value, p.axis));
            let (mut squares, mut weights) = (vec![0.0; group.units.len()], vec![0.0; group.units.len()]);
            for parameter in counted {
                let Some(tensor) = graph.tensor(parameter.value) else { continue };
                let mut part = Part {
                    parameter: parameter.value,
                    group: number,
                    axis: parameter.axis,
                    indices: Vec::new(),
                    units: Vec::new(),
                    counted: !any_wide || wide(parameter.value, parameter.axis),
                };
                let size = tensor.shape()[parameter.axis];
                let norms = match part.counted {
                    true => squares_along(graph, tensor, parameter.axis)?,
                    false => vec![0.0; size],
                };
                let fan = if part.counted { (tensor.len() / size.max(1)) as f64 } else { 0.0 };
                for (unit, own) in group.units.iter().enumerate() {
                    for &index in own.indices(parameter) {
                        part.indices.push(index as i64);
                        part.units.push((units + unit) as i64);
                        squares[unit] += norms[index];
                        weights[unit] += fan;
                    }
                }
                parts.push(part);
            }
            units += group.units.len();
            factor.extend(
                squares.iter().zip(&weights).map(|(s, p)| if *p > 0.0 { s / (2.0 * p) } else { 0.0 }),
            );
        }
        Ok(Weights { parts, first, units, factor: Tensor::f_from_slice(&factor)? })
    }

    /// The parameters of some parts, each once.
    pub fn parameters(&self, parts: &[usize]) -> Vec<ValueId> {
        let mut seen = HashSet::new();
        parts.iter().map(|&part| self.parts[part].parameter).filter(|value| seen.insert(*value)).collect()
    }
}

impl Part {
    /// Adds to a block the sums over a tensor of the parameter's shape, unit by unit.
    pub fn add(&self, to: &mut Sums, tensor: &Tensor) -> Result<(), TchError> {
        let others: Vec<i64> = (0..tensor.dim()).filter(|&d| d != self.axis).map(|d| d as i64).collect();
        let sums = match others.is_empty() {
            true => tensor.f_to_kind(Kind::Double)?,
            false => tensor.f_sum_dim_intlist(&others[..], false, Kind::Double)?,
        };
        let sums = sums.f_to_device(to.all.device())?;
        let sums = sums.f_index_select(0, &Tensor::f_from_slice(&self.indices)?)?.f_unsqueeze(0)?;
        add_by_unit(to, &self.units, self.counted, &sums)
    }
}

/// The sum of squares at each index of an axis.
fn squares_along(graph: &Graph, tensor: &HostTensor, axis: usize) -> Result<Vec<f64>, EvidenceError> {
    let floats = Floats { single: Kind::Double, half: Some(Kind::Double), mixed: false };
    let fail = |e: secateurs_graph::OpError| GraphError::Run(format!("{}: {e}", graph.source.file()));
    let tensor = to_device(tensor, Device::Cpu, floats).map_err(fail)?.f_square()?;
    let rows = tensor.f_movedim_int(axis as i64, 0)?.f_reshape([tensor.size()[axis], -1])?;
    let sums = rows.f_sum_dim_intlist(1i64, false, Kind::Double)?;
    Ok(Vec::try_from(&sums)?)
}

/// Adds `[blocks, n]` to the units of its n columns.
pub(super) fn add_by_unit(
    to: &mut Sums,
    units: &[i64],
    counted: bool,
    columns: &Tensor,
) -> Result<(), TchError> {
    let units = Tensor::f_from_slice(units)?;
    to.all = to.all.f_index_add(1, &units, columns)?;
    if counted {
        to.counted = to.counted.f_index_add(1, &units, columns)?;
    }
    Ok(())
}
