//! The weights that implants start from.

use std::collections::HashMap;
use std::ops::ControlFlow;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::rows::Rows;
use secateurs_graph::session::to_host;
use secateurs_graph::surgery::{Form, NodeForm, Request, Site, Start};
use secateurs_graph::{GraphError, NodeId};
use secateurs_torch::tch::{Kind, TchError, Tensor};

use super::site::Stream;
use crate::compensate::CompensateError;
use crate::compensate::moments::{Central, MOST_FEATURES, Moments};

/// The ridge of least squares, over the mean variance of what a layer reads.
const RIDGE: f64 = 1e-3;

/// Least-squares weights for implants of a model.
pub(crate) struct Starts {
    layers: HashMap<NodeId, Layer>,
    /// What users should know.
    pub notes: Vec<String>,
}

struct Layer {
    rows: Rows,
    /// Whether the node adds a number to each row.
    bias: bool,
    moments: Moments,
}

impl Starts {
    /// From the second moments of the nodes that get implants.
    pub fn new(
        stream: &Stream,
        coupling: &Coupling,
        forms: &[NodeForm],
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Starts, CompensateError> {
        let sites = coupling.sites(stream.graph);
        let wanted: Vec<&Site> =
            sites.iter().filter(|site| forms.iter().any(|form| form.node == site.node)).collect();
        let mut moments = stream.moments(&wanted, observe)?;
        let layer = |site: &&Site| {
            let moments = moments.remove(&site.node)?;
            Some((site.node, Layer { rows: site.rows.clone(), bias: site.bias, moments }))
        };
        let layers: HashMap<NodeId, Layer> = wanted.iter().filter_map(layer).collect();
        let scarce = |layer: &&Layer| (layer.moments.positions as usize) < 2 * layer.rows.channels;
        let scarce = layers.values().filter(scarce).count();
        let mut notes = Vec::new();
        if scarce > 0 {
            notes.push(format!(
                "{scarce} implants read more channels than half of the positions of {} samples; their starting weights lean towards zero",
                stream.samples.len()
            ));
        }
        let unknown = wanted.len() - layers.len();
        if unknown > 0 {
            notes.push(format!(
                "{unknown} implants start from zero: their layers read more than {MOST_FEATURES} channels, or do not run"
            ));
        }
        Ok(Starts { layers, notes })
    }

    /// The weights for rows; `None` where nothing is known of their node.
    pub fn start(&self, request: &Request) -> Result<Option<Start>, GraphError> {
        let Some(layer) = self.layers.get(&request.node) else { return Ok(None) };
        let start = layer.start(request);
        let start = start.map_err(|e| GraphError::Run(format!("libtorch: {e}")))?;
        let host = |tensor: Tensor| {
            let tensor = tensor.f_to_kind(Kind::Float).and_then(|tensor| tensor.f_contiguous());
            let tensor = tensor.map_err(|e| GraphError::Run(format!("libtorch: {e}")))?;
            to_host(&tensor, None).map_err(|e| request.smaller.node_error(request.node, e))
        };
        let weights = start.weights.into_iter().map(host).collect::<Result<_, GraphError>>()?;
        Ok(Some(Start { weights, bias: start.bias.map(host).transpose()? }))
    }
}

struct Weights {
    weights: Vec<Tensor>,
    bias: Option<Tensor>,
}

impl Layer {
    fn start(&self, request: &Request) -> Result<Weights, TchError> {
        let intercept = request.bias || self.bias;
        let central = self.moments.central(intercept)?;
        let per_group = self.rows.rows / self.rows.groups;
        let (mut slopes, mut shifts) = (Vec::new(), Vec::new());
        let mut rest = request.original_rows;
        while let Some(first) = rest.first() {
            let group = first / per_group;
            let own = rest.iter().take_while(|row| **row / per_group == group).count();
            let rows: Vec<i64> = rest[..own].iter().map(|row| (row % per_group) as i64).collect();
            rest = &rest[own..];
            let channels: Vec<i64> = request.original_channels.iter().map(|c| *c as i64).collect();
            let part = picked(&central, group as i64, &channels, &rows)?;
            let slope = fitted(&part)?;
            shifts.push(part.y.f_sub(&part.x.f_bmm(&slope)?)?.f_reshape([-1])?);
            slopes.push((slope, part));
        }
        let bias = match request.bias {
            true => Some(Tensor::f_cat(&shifts, 0)?),
            false => None,
        };
        let weights = match request.form {
            Form::Pointwise => {
                let rows = slopes.iter().map(|(slope, _)| slope.f_select(0, 0)?.f_transpose(0, 1));
                vec![Tensor::f_cat(&rows.collect::<Result<Vec<_>, _>>()?, 0)?]
            }
            Form::LowRank { rank } => match &slopes[..] {
                [(slope, part)] => factored(slope, part, rank as i64)?,
                _ => Vec::new(),
            },
        };
        Ok(Weights { weights, bias })
    }
}

/// The moments of some channels and rows of a group.
fn picked(central: &Central, group: i64, channels: &[i64], rows: &[i64]) -> Result<Central, TchError> {
    let device = central.xx.device();
    let indices = |own: &[i64]| Tensor::f_from_slice(own)?.f_to_device(device);
    let (channels, rows) = (indices(channels)?, indices(rows)?);
    let of = |tensor: &Tensor| tensor.f_narrow(0, group, 1);
    Ok(Central {
        x: of(&central.x)?.f_index_select(2, &channels)?,
        y: of(&central.y)?.f_index_select(2, &rows)?,
        xx: of(&central.xx)?.f_index_select(1, &channels)?.f_index_select(2, &channels)?,
        xy: of(&central.xy)?.f_index_select(1, &channels)?.f_index_select(2, &rows)?,
        yy: of(&central.yy)?.f_index_select(2, &rows)?,
    })
}

/// The best two matrices of a rank, `[rank, channels]` and `[rows, rank]`, of the same norm. Where the rank is beyond the number of rows
/// the rest is zero.
fn factored(slope: &Tensor, part: &Central, rank: i64) -> Result<Vec<Tensor>, TchError> {
    let slope = slope.f_select(0, 0)?;
    let made = slope.f_transpose(0, 1)?.f_matmul(&part.xx.f_select(0, 0)?)?.f_matmul(&slope)?;
    let (_, vectors) = made.f_linalg_eigh("L")?;
    let rows = vectors.size()[0];
    let own = rank.min(rows);
    let second = vectors.f_narrow(1, rows - own, own)?;
    let first = slope.f_matmul(&second)?.f_transpose(0, 1)?;
    let norm = |tensor: &Tensor| tensor.f_norm()?.f_double_value(&[]);
    let balance = (norm(&second)? / norm(&first)?.max(f64::MIN_POSITIVE)).sqrt();
    let balance = if balance.is_finite() && balance < 1e6 { balance } else { 1.0 };
    let (first, second) = (first.f_mul_scalar(balance)?, second.f_div_scalar(balance)?);
    let missing = rank - own;
    Ok(vec![first.f_constant_pad_nd([0, 0, 0, missing])?, second.f_constant_pad_nd([0, missing])?])
}

/// The least-squares weights, pulled towards zero by the ridge; zero where the system cannot be solved.
pub(super) fn fitted(central: &Central) -> Result<Tensor, TchError> {
    let zeros = central.xy.f_zeros_like()?;
    Ok(central.solved(&zeros, RIDGE)?.unwrap_or(zeros))
}
