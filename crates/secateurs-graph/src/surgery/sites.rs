//! Where units can be computed in other forms: the nodes whose output rows they are.

use super::consumed::{UnitIndex, owners};
use super::implant::{Form, offered};
use super::place::Place;
use crate::coupling::Coupling;
use crate::graph::{Graph, NodeId};
use crate::rows::Rows;

/// A node that computes units by rows of a constant, and can do so in another form.
#[derive(Clone, Debug)]
pub struct Site {
    /// The node.
    pub node: NodeId,
    /// Whether a pointwise convolution can take the place of rows; why not, if not.
    pub pointwise: Result<(), String>,
    /// Whether a pair of low rank can; why not, if not.
    pub low_rank: Result<(), String>,
    /// Which rows, indices of the output's channel axis, belong to which units, by row.
    pub units: Vec<UnitIndex>,
    /// Where the rows lie.
    pub rows: Rows,
    /// Whether the node adds a number to each row.
    pub bias: bool,
}

impl Site {
    /// Whether rows can be computed in this form; why not, if not.
    pub fn offers(&self, form: Form) -> Result<(), &str> {
        let offer = match form {
            Form::Pointwise => &self.pointwise,
            Form::LowRank { .. } => &self.low_rank,
        };
        offer.as_ref().copied().map_err(String::as_str)
    }

    /// The rows that belong to some units, ascending.
    pub fn rows_of(&self, belongs: impl Fn(usize, usize) -> bool) -> Vec<usize> {
        let mut rows: Vec<usize> =
            self.units.iter().filter(|i| belongs(i.group, i.unit)).map(|i| i.index).collect();
        rows.dedup();
        rows
    }
}

impl Coupling {
    /// The nodes that make units and offer a form, in the order in which they run.
    pub fn sites(&self, graph: &Graph) -> Vec<Site> {
        let owners = owners(self);
        let site = |&id: &NodeId| {
            let place = Place::of(graph, id).ok()?;
            let space = self.spaces.value_axis(place.output, place.rows.output_axis)?;
            let mut units = owners.get(&space)?.clone();
            units.sort_unstable();
            let offer = |form| offered(graph, &place, form).map_err(str::to_owned);
            let site = Site {
                node: id,
                pointwise: offer(Form::Pointwise),
                low_rank: offer(Form::LowRank { rank: 1 }),
                units,
                rows: place.rows.clone(),
                bias: place
                    .rows
                    .bias
                    .is_some_and(|i| graph.nodes[id].inputs.get(i).is_some_and(Option::is_some)),
            };
            (site.pointwise.is_ok() || site.low_rank.is_ok()).then_some(site)
        };
        graph.order.iter().filter_map(site).collect()
    }

    /// Why no node that makes units offers a form: what to tell where [`Coupling::sites`] finds none.
    pub fn why_no_sites(&self, graph: &Graph) -> String {
        let owners = owners(self);
        let mut reasons = graph.order.iter().filter_map(|&id| {
            let place = Place::of(graph, id).ok()?;
            let space = self.spaces.value_axis(place.output, place.rows.output_axis)?;
            owners.get(&space)?;
            let pointwise = offered(graph, &place, Form::Pointwise).err()?;
            let low_rank = offered(graph, &place, Form::LowRank { rank: 1 }).err()?;
            Some(format!("of node {}, {pointwise}, and for a low rank {low_rank}", graph.node_label(id)))
        });
        match reasons.next() {
            Some(reason) => format!("no place for implants: {reason}"),
            None => "no place for implants: no convolution or matrix product with a constant weight makes units that can be pruned".into(),
        }
    }
}
