//! Subgraphs while a session runs: each gets a session of its own when it first runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use secateurs_torch::tch::Tensor;

use super::{Session, SessionOptions};
use crate::graph::Graph;
use crate::op::{OpError, TrainingMode};

/// The sessions of the subgraphs of a session's nodes.
pub struct Bodies {
    options: SessionOptions,
    training: TrainingMode,
    /// By the address of the graph, which its session keeps alive.
    sessions: RefCell<HashMap<*const Graph, Rc<Session>>>,
}

impl Bodies {
    pub(super) fn new(options: SessionOptions) -> Bodies {
        Bodies { options, training: TrainingMode::default(), sessions: RefCell::default() }
    }

    pub(super) fn set_training(&mut self, training: TrainingMode) {
        self.training = training;
        self.sessions.borrow_mut().clear();
    }

    /// Runs a graph on the device of the session around it.
    pub fn run(&self, graph: &Arc<Graph>, inputs: &[Tensor]) -> Result<Vec<Tensor>, OpError> {
        let fail = |e: crate::GraphError| OpError::Invalid(format!("in its subgraph: {e}"));
        let found = self.sessions.borrow().get(&Arc::as_ptr(graph)).cloned();
        let session = match found {
            Some(session) => session,
            None => {
                let mut session = Session::as_it_is(graph.clone(), self.options).map_err(fail)?;
                session.set_training(self.training);
                let session = Rc::new(session);
                self.sessions.borrow_mut().insert(Arc::as_ptr(graph), session.clone());
                session
            }
        };
        Ok(session.forward(inputs, &[]).map_err(fail)?.outputs)
    }
}
