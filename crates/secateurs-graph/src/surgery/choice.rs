//! A whole choice carried out: units removed, and others computed in another form by the nodes that make them.
//!
//! First the units are put in order (those computed otherwise behind the others of their group, so that concatenation gives the right
//! order), then what goes is removed, then rows are replaced in the smaller model.

use std::collections::HashMap;

use super::equivalent::{Equivalent, equivalent};
use super::implant::{Form, Implant, Start, implant};
use super::place::Place;
use super::refit::Refit;
use crate::coupling::{Coupling, Selection};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, ValueId};
use crate::rows::Rows;

/// Which units stay, and in what form they are computed.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// The units that stay.
    pub selection: Selection,
    /// For each group which of them are computed in another form by the nodes of `forms` that make them, ascending.
    pub implanted: Vec<Vec<usize>>,
    /// The nodes that do so, each once.
    pub forms: Vec<NodeForm>,
}

/// In what form a node computes implanted units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeForm {
    /// The node.
    pub node: NodeId,
    /// The form.
    pub form: Form,
    /// Whether the rows get a bias of their own, a number each.
    pub bias: bool,
}

impl From<Selection> for Choice {
    /// All that stays is computed as it was.
    fn from(selection: Selection) -> Choice {
        Choice { implanted: vec![Vec::new(); selection.kept.len()], selection, forms: Vec::new() }
    }
}

/// Rows that are to be computed otherwise, for who says what their weights start from.
#[derive(Debug)]
pub struct Request<'a> {
    /// The smaller model, in which all rows are computed as they were.
    pub smaller: &'a Graph,
    /// The node, the same in the original.
    pub node: NodeId,
    /// The rows in the smaller model.
    pub rows: &'a [usize],
    /// The same rows in the original.
    pub original_rows: &'a [usize],
    /// For each channel of the smaller model's weight its index on that axis of the original's.
    pub original_channels: &'a [usize],
    /// The form.
    pub form: Form,
    /// Whether a bias is wanted.
    pub bias: bool,
}

/// What a choice makes of a model.
#[derive(Debug)]
pub struct Carried {
    /// The smaller model.
    pub graph: Graph,
    /// The original shape: what is removed is zero where it is consumed, and implanted rows have the weights that compute the same.
    /// Units may be in another order.
    pub masked: Graph,
    /// Gathers that put channels in order at run time.
    pub gathers: usize,
    /// Slices of data at run time.
    pub slices: usize,
    /// The layers of the smaller model that can be fitted anew ([`Refit`]), those of implants among them, and what they computed.
    pub layers: HashMap<NodeId, Computed>,
}

/// What rows of a layer were in the original.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Computed {
    /// The node that computed them.
    pub node: NodeId,
    /// Their numbers there.
    pub rows: Vec<usize>,
    /// Other axes of what it made, and which of their indices are left in what order, where that are not all as they were.
    pub positions: Vec<(usize, Vec<usize>)>,
    /// Whether an implant computes them now.
    pub implanted: bool,
}

impl Coupling {
    /// Carries a choice out. `start` says what the weights of rows start from; see [`Implant::start`] for `None`.
    pub fn carry_out<E: From<GraphError>>(
        &self,
        graph: &Graph,
        choice: &Choice,
        mut start: impl FnMut(&Request) -> Result<Option<Start>, E>,
    ) -> Result<Carried, E> {
        let orders: Vec<Vec<usize>> =
            self.groups.iter().enumerate().map(|(g, group)| order(group.units.len(), choice, g)).collect();
        let permuted = self.permute(graph, &orders)?;
        let mut whole = graph.clone();
        let mut places = choice.clone();
        if choice.implanted.iter().any(|units| !units.is_empty()) {
            permuted.patch.apply(&mut whole)?;
            for (g, units) in permuted.units.iter().enumerate() {
                let place = |units_there: &[usize]| -> Vec<usize> {
                    (0..units.len()).filter(|p| units_there.binary_search(&units[*p]).is_ok()).collect()
                };
                places.selection.kept[g] = place(&choice.selection.kept[g]);
                places.implanted[g] = place(&choice.implanted[g]);
            }
        }
        let mut smaller = whole.clone();
        self.surgery(&whole, &places.selection)?.apply(&mut smaller)?;
        let kept = self.kept(&places.selection);
        let sites = if choice.forms.is_empty() { Vec::new() } else { self.sites(&whole) };
        // Of an axis of the smaller model, the indices in the whole one; of those, the indices before they were put in order.
        let left = |space: Option<u32>, size: usize| -> Vec<usize> {
            match space.and_then(|s| kept[s as usize].as_ref()) {
                Some(subset) => subset.indices.to_vec(),
                None => (0..size).collect(),
            }
        };
        let before = |space: Option<u32>, indices: &[usize]| -> Vec<usize> {
            let own = space.and_then(|s| permuted.spaces.get(&s));
            indices.iter().map(|&i| own.map_or(i, |own| own[i])).collect()
        };
        // What is left of what a node made.
        let computed = |node: NodeId, output: ValueId, rows: &Rows| {
            let indices = |axis: usize, size: usize| {
                let space = self.spaces.value_axis(output, axis);
                before(space, &left(space, size))
            };
            let sizes = graph.values[output].fact.shape.iter().flatten().enumerate();
            let changed = |(axis, size): (usize, &Dim)| {
                let size = size.known().filter(|_| axis != rows.output_axis)? as usize;
                Some((axis, indices(axis, size))).filter(|(_, own)| !own.iter().copied().eq(0..size))
            };
            let positions = sizes.filter_map(changed).collect();
            Computed { node, rows: indices(rows.output_axis, rows.rows), positions, implanted: false }
        };
        let (uses, mut layers) = (graph.uses(), HashMap::new());
        for &id in graph.order.iter().filter(|id| smaller.nodes.contains_key(**id)) {
            if choice.forms.iter().any(|form| form.node == id) {
                continue;
            }
            let output = graph.nodes[id].outputs.first().copied().flatten();
            if let (Some(layer), Some(output)) = (Refit::of(graph, &uses, id), output) {
                layers.insert(id, computed(id, output, &layer.rows));
            }
        }
        let (mut implants, mut twins) = (Vec::new(), [Vec::new(), Vec::new()]);
        // What nodes with implants made as a whole.
        let mut whole_layers: HashMap<NodeId, Computed> = HashMap::new();
        for form in &choice.forms {
            let Some(site) = sites.iter().find(|site| site.node == form.node) else {
                super::offers(&whole, form.node, form.form)?;
                continue;
            };
            let all = site.rows_of(|group, unit| places.implanted[group].binary_search(&unit).is_ok());
            // No output depends on what is gone.
            if all.is_empty() || !smaller.nodes.contains_key(form.node) {
                continue;
            }
            let place = Place::of(&whole, form.node)?;
            let row_space = self.spaces.value_axis(place.output, place.rows.output_axis);
            let channel_space =
                self.spaces.axis(&whole, form.node, place.rows.weight, place.rows.channel_axis);
            let row_indices = left(row_space, place.rows.rows);
            let channels = left(channel_space, place.rows.channels);
            whole_layers.insert(form.node, computed(form.node, place.output, &place.rows));
            let own_rows: Vec<usize> =
                all.iter().filter_map(|row| row_indices.binary_search(row).ok()).collect();
            let request = Request {
                smaller: &smaller,
                node: form.node,
                rows: &own_rows,
                original_rows: &before(row_space, &all),
                original_channels: &before(channel_space, &channels),
                form: form.form,
                bias: form.bias,
            };
            let start = start(&request)?;
            let own = Implant { node: form.node, rows: own_rows, form: form.form, bias: form.bias, start };
            // A weight behind views is masked behind them.
            let twins = &mut twins[usize::from(place.weight.views.is_empty())];
            twins.push(Equivalent { implant: Implant { rows: all, ..own.clone() }, channels });
            implants.push(own);
        }
        let done = implant(&smaller, &implants)?;
        let made = done.patch.apply(&mut smaller)?;
        let uses = smaller.uses();
        for part in &done.parts {
            let node = part.found(&smaller, &made).filter(|id| smaller.nodes.contains_key(*id));
            if let Some(id) = node.filter(|id| Refit::of(&smaller, &uses, *id).is_some()) {
                let layer = &whole_layers[&part.node];
                let rows = part.rows.iter().map(|row| layer.rows[*row]).collect();
                layers.insert(id, Computed { rows, implanted: part.implanted, ..layer.clone() });
            }
        }
        let mut masked = whole.clone();
        equivalent(&whole, &twins[0])?.apply(&mut masked)?;
        self.masking(&whole, &places.selection)?.apply(&mut masked)?;
        equivalent(&masked, &twins[1])?.apply(&mut masked)?;
        Ok(Carried { graph: smaller, masked, gathers: done.gathers, slices: done.slices, layers })
    }
}

/// The units of a group: those that stay as they are, those computed otherwise, those that go.
fn order(units: usize, choice: &Choice, group: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..units).collect();
    let implanted = &choice.implanted[group];
    if !implanted.is_empty() {
        let kept = &choice.selection.kept[group];
        order.sort_by_key(|unit| (kept.binary_search(unit).is_err(), implanted.binary_search(unit).is_ok()));
    }
    order
}
