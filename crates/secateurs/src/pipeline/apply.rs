//! The smaller model of a plan, and its twin.

use std::collections::HashMap;
use std::ops::ControlFlow;

use secateurs_graph::cost::Cost;
use secateurs_graph::coupling::Coupling;
use secateurs_graph::surgery::{Choice, Computed, Ports, Request, Start};
use secateurs_graph::{Graph, GraphError, NodeId};

use crate::compensate::CompensateError;
use crate::implants::{ImplantStart, Starts, Stream};
use crate::plan::{Plan, PlanError};

/// What a plan makes of a model.
pub struct Applied {
    /// The smaller model.
    pub graph: Graph,
    /// The model in its original shape with the removed units zeroed where they are consumed, and with the weights that compute what
    /// implants do. Where the plan is exact, both compute the same.
    pub masked: Graph,
    /// Whether they do.
    pub exact: bool,
    /// What is left of the model's inputs and outputs, where they shrink with the units that they carry.
    pub ports: Ports,
    /// What the model costs.
    pub before: Cost,
    /// What the smaller model costs.
    pub after: Cost,
    /// Units of all groups that could lose some, before and after.
    pub units: [usize; 2],
    /// How many units are implanted.
    pub implanted: usize,
    /// Gathers that implants need at run time to put channels in order.
    pub gathers: usize,
    /// Slices that they need.
    pub slices: usize,
    /// The layers that can be fitted anew, and what rows of the original they compute.
    pub layers: HashMap<NodeId, Computed>,
    /// Groups that could lose units, and how many did.
    pub groups: [usize; 2],
    /// Why groups were left alone that cannot be pruned exactly, with their number.
    pub left_alone: Option<(usize, String)>,
}

/// Why a plan cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan is not for this model, or no choice of its units.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The weights of implants cannot be fitted.
    #[error(transparent)]
    Implants(Box<CompensateError>),
    /// The surgery failed: our fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Removes what a plan does not keep, and puts its implants in with weights that compute nothing yet. The graph's symbolic sizes
/// should be as they were for planning: not bound.
pub fn apply(graph: &Graph, plan: &Plan) -> Result<Applied, ApplyError> {
    apply_from(graph, plan, |_| Ok(None))
}

/// The same with the weights that `start` gives implants to start from.
pub fn apply_from(
    graph: &Graph,
    plan: &Plan,
    start: impl FnMut(&Request) -> Result<Option<Start>, GraphError>,
) -> Result<Applied, ApplyError> {
    let coupling = plan.coupling(graph)?;
    let choice = plan.choice(graph, &coupling)?;
    apply_choice(graph, &coupling, &choice, plan, start)
}

/// The same with weights fitted to what the rows of implants make on samples, and what users should know of that.
pub(super) fn apply_fitted(
    plan: &Plan,
    stream: &Stream,
    observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<(Applied, Vec<String>), ApplyError> {
    let graph = &**stream.graph;
    if plan.implants.is_empty() || plan.asked.implant.start == ImplantStart::Zero {
        return Ok((apply(graph, plan)?, Vec::new()));
    }
    let coupling = plan.coupling(graph)?;
    let choice = plan.choice(graph, &coupling)?;
    let starts = Starts::new(stream, &coupling, &choice.forms, observe);
    let starts = starts.map_err(|error| ApplyError::Implants(Box::new(error)))?;
    let applied = apply_choice(graph, &coupling, &choice, plan, |request| starts.start(request))?;
    Ok((applied, starts.notes))
}

fn apply_choice(
    graph: &Graph,
    coupling: &Coupling,
    choice: &Choice,
    plan: &Plan,
    start: impl FnMut(&Request) -> Result<Option<Start>, GraphError>,
) -> Result<Applied, ApplyError> {
    let carried = coupling.carry_out(graph, choice, start)?;
    let mut applied = Applied {
        before: graph.cost(),
        after: carried.graph.cost(),
        graph: carried.graph,
        masked: carried.masked,
        ports: coupling.ports(graph, &choice.selection),
        exact: true,
        units: [0; 2],
        implanted: choice.implanted.iter().map(Vec::len).sum(),
        gathers: carried.gathers,
        slices: carried.slices,
        layers: carried.layers,
        groups: [0; 2],
        left_alone: None,
    };
    for (group, kept) in coupling.groups.iter().zip(&choice.selection.kept) {
        if let Some(reason) = &group.inexact
            && !plan.asked.allow_inexact
        {
            let left_alone = applied.left_alone.get_or_insert_with(|| (0, reason.describe(graph)));
            left_alone.0 += 1;
            continue;
        }
        let pruned = kept.len() < group.units.len();
        applied.exact &= !(pruned && group.inexact.is_some());
        applied.units[0] += group.units.len();
        applied.units[1] += kept.len();
        applied.groups[0] += 1;
        applied.groups[1] += usize::from(pruned);
    }
    Ok(applied)
}
