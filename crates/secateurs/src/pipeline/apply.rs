//! The smaller model of a plan, and its twin.

use secateurs_graph::cost::Cost;
use secateurs_graph::coupling::{Coupling, Selection};
use secateurs_graph::{Graph, GraphError};

use super::plan::coupling;
use crate::plan::{Plan, PlanError};

/// What a plan makes of a model.
pub struct Applied {
    /// The smaller model.
    pub graph: Graph,
    /// The model in its original shape with the removed units zeroed where they are consumed. Where the plan is exact, both
    /// compute the same.
    pub masked: Graph,
    /// Whether they do.
    pub exact: bool,
    /// What the model costs.
    pub before: Cost,
    /// What the smaller model costs.
    pub after: Cost,
    /// Units of all groups that could lose some, before and after.
    pub units: [usize; 2],
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
    /// The surgery failed: our fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Removes what a plan does not keep. The graph's symbolic sizes should be as they were for planning: not bound.
pub fn apply(graph: &Graph, plan: &Plan) -> Result<Applied, ApplyError> {
    let coupling = coupling(graph, plan.asked.split);
    let selection = plan.resolve(graph, &coupling)?;
    apply_selection(graph, &coupling, &selection, plan)
}

fn apply_selection(
    graph: &Graph,
    coupling: &Coupling,
    selection: &Selection,
    plan: &Plan,
) -> Result<Applied, ApplyError> {
    let mut smaller = graph.clone();
    coupling.surgery(graph, selection)?.apply(&mut smaller)?;
    let mut masked = graph.clone();
    coupling.masking(graph, selection)?.apply(&mut masked)?;
    let mut applied = Applied {
        before: graph.cost(),
        after: smaller.cost(),
        graph: smaller,
        masked,
        exact: true,
        units: [0; 2],
        groups: [0; 2],
        left_alone: None,
    };
    for (group, kept) in coupling.groups.iter().zip(&selection.kept) {
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
