//! What rows cost that are computed in another form.

use secateurs_onnx::ElementType;

use super::Costs;
use crate::coupling::{Coupling, Remaining};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Use};
use crate::surgery::{Form, NodeForm, Place, RowBias};

/// What rows of a node cost, as parameters and multiply–accumulates at the bound sizes.
#[derive(Clone, PartialEq, Debug)]
pub struct RowCosts {
    /// How many rows are left.
    pub rows: usize,
    /// What each costs as the node computes it, its bias not counted.
    pub own: (usize, Dim),
    /// What each costs in the other form.
    pub implanted: (usize, Dim),
    /// What the form costs once, however many rows there are: the first matrix of a pair.
    pub once: (usize, Dim),
}

/// A node that computes implanted units in another form.
#[derive(Clone)]
pub(super) struct FormedRows {
    pub node: NodeId,
    form: Form,
    own_bias: bool,
    weight: Axis2,
    taps: usize,
    weight_use: Use,
    element_type: ElementType,
    bias: Bias,
    /// Whether the first of two matrices adds a number, which is 0.
    adds_nothing: bool,
}

/// The sizes of a weight's axes of rows and channels, with their spaces.
type Axis2 = [(usize, Option<u32>); 2];

#[derive(Clone)]
enum Bias {
    /// The op has no input for one: one is added by an addition.
    None,
    /// The input is left out.
    Absent,
    /// A number for each row that is known, and computed from no parameter; a constant where rows part.
    Computed,
    /// A number for each row and each combination of indices of other axes.
    ByRow(Use, Vec<(usize, Option<u32>)>),
    /// The same for all rows.
    Shared(Use),
}

impl FormedRows {
    pub fn new(graph: &Graph, coupling: &Coupling, form: &NodeForm) -> Result<FormedRows, GraphError> {
        let place = Place::of(graph, form.node)?;
        let rows = &place.rows;
        let channel_space = coupling.spaces.axis(graph, form.node, rows.weight, rows.channel_axis);
        let row_space = coupling.spaces.value_axis(place.output, rows.output_axis);
        let at = |input: usize| Use { node: form.node, input: Some(input) };
        let read = rows.bias.map(|i| (i, graph.nodes[form.node].inputs.get(i).copied().flatten()));
        let bias = match (read, &place.bias) {
            (None, _) => Bias::None,
            (Some((_, None)), _) => Bias::Absent,
            (Some((i, Some(_))), None) => Bias::Shared(at(i)),
            (Some(_), Some(RowBias::Known(..))) => Bias::Computed,
            (Some((i, Some(value))), Some(RowBias::Constant(_))) => {
                let shape = graph.values[value].fact.known_shape().unwrap_or_default();
                let others = shape[..shape.len() - 1].iter().enumerate();
                let sized =
                    |(k, n): (usize, &i64)| (*n as usize, coupling.spaces.axis(graph, form.node, i, k));
                Bias::ByRow(at(i), others.map(sized).collect())
            }
        };
        Ok(FormedRows {
            node: form.node,
            form: form.form,
            own_bias: form.bias,
            weight: [(rows.rows, row_space), (rows.channels, channel_space)],
            taps: rows.taps,
            weight_use: at(rows.weight),
            element_type: place.weight.element_type,
            adds_nothing: place.adds_nothing(graph),
            bias,
        })
    }

    /// Rows that are left, those of them that are implanted, and channels.
    fn sizes(&self, costs: &Costs, remaining: &Remaining) -> [usize; 3] {
        let [rows, channels] = self.weight.map(|axis| left(costs, remaining, axis));
        let implanted = self.weight[0].1.map_or(0, |space| remaining.implanted(space));
        [rows, implanted, channels]
    }

    /// The edges that read something else, or nothing, while rows are implanted.
    pub fn replaced(&self, costs: &Costs, remaining: &Remaining) -> Vec<Use> {
        let [rows, implanted, _] = self.sizes(costs, remaining);
        let bias = match &self.bias {
            Bias::ByRow(at, _) => Some(*at),
            Bias::Shared(at) => Some(*at).filter(|_| rows == implanted && self.own_bias),
            Bias::None | Bias::Absent | Bias::Computed => None,
        };
        if implanted == 0 { Vec::new() } else { std::iter::once(self.weight_use).chain(bias).collect() }
    }

    /// The parameters at these edges, and those of the other form.
    pub fn params(&self, costs: &Costs, remaining: &Remaining) -> usize {
        let [rows, implanted, channels] = self.sizes(costs, remaining);
        if implanted == 0 {
            return 0;
        }
        let stay = rows - implanted;
        let weights = stay * channels * self.taps + self.form_params(implanted, channels);
        let own = if self.own_bias { implanted } else { 0 };
        weights
            + match &self.bias {
                Bias::ByRow(_, others) => {
                    let each: usize = others.iter().map(|axis| left(costs, remaining, *axis)).product();
                    each * if self.own_bias { stay } else { rows } + own
                }
                Bias::Computed => rows,
                // A lone number that is added is no parameter.
                Bias::None if own == 1 => 0,
                Bias::None | Bias::Absent | Bias::Shared(_) => own,
            }
    }

    /// How many bytes fewer are stored than if the node computed all of its rows itself; negative where they are more.
    pub fn saved_bytes(&self, costs: &Costs, remaining: &Remaining) -> i64 {
        let [rows, implanted, channels] = self.sizes(costs, remaining);
        if implanted == 0 {
            return 0;
        }
        let own = match &self.bias {
            Bias::ByRow(..) => 0,
            Bias::Computed => rows,
            Bias::None | Bias::Absent | Bias::Shared(_) if self.own_bias => implanted,
            Bias::None | Bias::Absent | Bias::Shared(_) => 0,
        };
        let bytes = |numbers: usize| self.element_type.byte_len(numbers).unwrap_or(0) as i64;
        bytes(implanted * channels * self.taps) - bytes(self.form_params(implanted, channels) + own)
    }

    fn form_params(&self, implanted: usize, channels: usize) -> usize {
        match self.form {
            Form::Pointwise => implanted * channels,
            Form::LowRank { rank } => rank * (channels + implanted) + usize::from(self.adds_nothing),
        }
    }

    /// What a node's multiply–accumulates become.
    pub fn macs(&self, costs: &Costs, remaining: &Remaining, own: Dim) -> Dim {
        let [rows, implanted, _] = self.sizes(costs, remaining);
        if implanted == 0 {
            return own;
        }
        let other = self.costs_of(costs, remaining, own);
        other.own.1 * (rows - implanted).into() + other.implanted.1 * implanted.into() + other.once.1
    }

    pub fn costs(&self, costs: &Costs, remaining: &Remaining) -> RowCosts {
        let own = costs.own_macs(self.node, remaining);
        let RowCosts { rows, own, implanted, once } = self.costs_of(costs, remaining, own);
        let bind = |(params, macs): (usize, Dim)| (params, macs.bind(&costs.bindings));
        RowCosts { rows, own: bind(own), implanted: bind(implanted), once: bind(once) }
    }

    fn costs_of(&self, costs: &Costs, remaining: &Remaining, macs: Dim) -> RowCosts {
        let [rows, _, channels] = self.sizes(costs, remaining);
        let per_row = macs.floor_div(&rows.into());
        // How often a row is computed.
        let times = per_row.floor_div(&(channels * self.taps).into());
        let of = |params: usize| (params, times.clone() * params.into());
        let (implanted, once) = match self.form {
            Form::Pointwise => (channels, 0),
            Form::LowRank { rank } => (rank, rank * channels),
        };
        RowCosts { rows, own: (channels * self.taps, per_row), implanted: of(implanted), once: of(once) }
    }
}

fn left(costs: &Costs, remaining: &Remaining, (size, space): (usize, Option<u32>)) -> usize {
    match space.filter(|space| costs.all(*space) != remaining.of(*space)) {
        Some(space) => remaining.of(space),
        None => size,
    }
}
