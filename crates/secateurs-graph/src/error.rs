//! Errors of graphs: each names the node and what to do.

use std::path::PathBuf;

use crate::op::OpError;

/// Why a model is not a graph that we can work with.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The file could not be read.
    #[error(transparent)]
    Onnx(Box<secateurs_onnx::Error>),
    /// An error in a model that came from a file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The model's file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<GraphError>,
    },
    /// An op's definition is broken, or we lack something.
    #[error("node {node} ({op}): {source}")]
    Node {
        /// The node's name, or its first output if it has none.
        node: String,
        /// The op type.
        op: String,
        /// What is wrong.
        source: OpError,
    },
    /// Rows of a node that cannot be computed otherwise.
    #[error("node {node} ({op}) cannot be implanted: {reason}")]
    Rows {
        /// The node's name, or its first output if it has none.
        node: String,
        /// The op type.
        op: String,
        /// Why.
        reason: String,
    },
    /// A value that nothing produces.
    #[error(
        "node {node} ({op}) reads '{value}', which no input, initializer or earlier node provides; \
         export the model again with its weights"
    )]
    Missing {
        /// The reading node.
        node: String,
        /// Its op type.
        op: String,
        /// The missing value.
        value: String,
    },
    /// An output of the graph that nothing produces.
    #[error("the graph's output '{0}' is provided by no input, initializer or node; export the model again")]
    MissingOutput(String),
    /// Two producers of one value.
    #[error("'{value}' is produced twice, by {first} and by {second}; values must have unique names")]
    Duplicate {
        /// The value's name.
        value: String,
        /// The first producer.
        first: String,
        /// The second producer.
        second: String,
    },
    /// Nodes that wait for each other.
    #[error("the nodes {} form a cycle; an ONNX graph must be acyclic", nodes.join(" → "))]
    Cycle {
        /// Names of nodes on the cycle, in order.
        nodes: Vec<String>,
    },
    /// An input of the graph that is declared in an impossible way.
    #[error("input '{name}': {reason}")]
    Input {
        /// The input's name.
        name: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// Functions that call each other.
    #[error("function '{0}' calls itself; model-local functions must not be recursive")]
    RecursiveFunction(String),
    /// A graph that breaks its own invariants: a fault of the change that was tried.
    #[error("the graph would be inconsistent: {0}")]
    Inconsistent(String),
    /// Wrong tensors given to a session.
    #[error("{0}")]
    Run(String),
    /// libtorch cannot be loaded.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Torch(Box<secateurs_torch::LoadError>),
}

impl GraphError {
    /// Names the file that the error is about.
    pub fn in_file(self, path: Option<&std::path::Path>) -> GraphError {
        match path {
            Some(path) if !matches!(self, GraphError::Onnx(_) | GraphError::InFile { .. }) => {
                GraphError::InFile { path: path.into(), source: Box::new(self) }
            }
            _ => self,
        }
    }
}

impl From<secateurs_onnx::Error> for GraphError {
    fn from(error: secateurs_onnx::Error) -> GraphError {
        GraphError::Onnx(Box::new(error))
    }
}

#[cfg(feature = "torch")]
impl From<secateurs_torch::LoadError> for GraphError {
    fn from(error: secateurs_torch::LoadError) -> GraphError {
        GraphError::Torch(Box::new(error))
    }
}
