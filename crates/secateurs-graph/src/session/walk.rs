//! A run that stops before every node: what nodes read can be looked at, and other constants given to them.

use std::rc::Rc;

use secateurs_torch::tch::Tensor;

use super::Session;
use super::plan::{Plan, eval};
use crate::error::GraphError;
use crate::graph::NodeId;
use crate::op::OpError;
use crate::rows::{Rows, Taps};

/// A run on its way. Nothing is fused in it.
pub struct Walk<'s> {
    session: &'s Session,
    plan: Rc<Plan>,
    values: Vec<Option<Tensor>>,
    next: usize,
}

impl Session {
    /// Begins a run on tensors as [`Session::forward`] takes them.
    pub fn walk(&self, inputs: &[Tensor]) -> Result<Walk<'_>, GraphError> {
        self.check_inputs(inputs)?;
        let plan = self.plan(inputs, false)?;
        let mut values = plan.given(self);
        for (&id, tensor) in self.graph.inputs.iter().zip(inputs) {
            values[plan.slot_of(id)] = Some(tensor.shallow_clone());
        }
        Ok(Walk { session: self, plan, values, next: 0 })
    }
}

impl Walk<'_> {
    /// The node that runs next; `None` at the end.
    pub fn node(&self) -> Option<NodeId> {
        self.plan.steps.get(self.next).map(|step| step.node)
    }

    /// What an input of the next node reads.
    pub fn input(&self, i: usize) -> Option<&Tensor> {
        self.values[self.plan.steps.get(self.next)?.inputs.get(i).copied()??].as_ref()
    }

    /// `[groups, positions, channels · taps]`: what the rows of the next node multiply; see [`Op::patches`](crate::op::Op::patches).
    pub fn patches(&self, rows: &Rows, taps: Taps) -> Result<Tensor, GraphError> {
        let Some(step) = self.plan.steps.get(self.next) else {
            return Err(GraphError::Run("the run is at its end".into()));
        };
        let graph = &self.session.graph;
        let (Some(x), Some(w)) = (self.input(rows.data), self.input(rows.weight)) else {
            return Err(graph.node_error(step.node, OpError::invalid("it has no data or no weight")));
        };
        let patches = graph.nodes[step.node].op.patches(rows, taps, x, w);
        patches.map_err(|e| graph.node_error(step.node, e))
    }

    /// Runs the next node, with other tensors of the same shapes at some inputs, and gives its outputs.
    pub fn step(&mut self, replaced: &[(usize, &Tensor)]) -> Result<Vec<Tensor>, GraphError> {
        let Some(step) = self.plan.steps.get(self.next) else {
            return Err(GraphError::Run("the run is at its end".into()));
        };
        let argument = |i: usize| {
            let other = replaced.iter().find(|(at, _)| *at == i).map(|(_, tensor)| *tensor);
            other.or_else(|| self.input(i))
        };
        let arguments: Vec<Option<&Tensor>> = (0..step.inputs.len()).map(argument).collect();
        let outputs =
            eval(self.session, step.node, &arguments, &step.input_facts, &step.output_facts, false)?;
        for (slot, tensor) in step.outputs.iter().zip(&outputs) {
            if let Some(slot) = slot {
                self.values[*slot] = Some(tensor.shallow_clone());
            }
        }
        step.free.iter().for_each(|&slot| self.values[slot] = None);
        self.next += 1;
        Ok(outputs)
    }
}
