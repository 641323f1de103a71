//! Going over everything in a model: subgraphs in attributes, functions and training graphs too.
//!
//! Recursion is as deep as the messages are nested; decoding bounds that (protobuf's limit of 100).

use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Where a tensor is in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site<'a> {
    /// An initializer of a graph or subgraph.
    Initializer,
    /// The values or the indices of a sparse initializer.
    SparseInitializer,
    /// In an attribute of a node, sparse or not.
    Attribute {
        /// The node's name, which may be empty.
        node: &'a str,
        /// The node's operator.
        op_type: &'a str,
        /// The attribute's name.
        attribute: &'a str,
    },
}

impl Site<'_> {
    /// How an error names this tensor.
    pub(crate) fn describe(&self, tensor: &TensorProto) -> String {
        let name = tensor.name();
        match self {
            Site::Initializer if name.is_empty() => "an initializer without a name".to_owned(),
            Site::Initializer => format!("initializer `{name}`"),
            Site::SparseInitializer => format!("sparse initializer `{name}`"),
            Site::Attribute { node, op_type, attribute } => {
                format!("attribute `{attribute}` of node `{node}` ({op_type})")
            }
        }
    }
}

/// Calls `visit` with the main graph, the training graphs and every subgraph, parents before children.
pub fn for_each_graph<'a>(model: &'a ModelProto, mut visit: impl FnMut(&'a GraphProto)) {
    walk(model, &mut |item| {
        if let Item::Graph(graph) = item {
            visit(graph);
        }
    });
}

/// Calls `visit` with every node of every graph, subgraph and function.
pub fn for_each_node<'a>(model: &'a ModelProto, mut visit: impl FnMut(&'a NodeProto)) {
    walk(model, &mut |item| {
        if let Item::Node(node) = item {
            visit(node);
        }
    });
}

/// Calls `visit` with every sparse tensor.
pub(crate) fn for_each_sparse_tensor<'a>(
    model: &'a ModelProto,
    mut visit: impl FnMut(Site<'a>, &'a SparseTensorProto),
) {
    walk(model, &mut |item| {
        if let Item::Sparse(site, sparse) = item {
            visit(site, sparse);
        }
    });
}

/// Calls `visit` with every tensor: initializers, attributes, and the values and indices of sparse ones.
pub fn for_each_tensor<'a>(model: &'a ModelProto, mut visit: impl FnMut(Site<'a>, &'a TensorProto)) {
    walk(model, &mut |item| match item {
        Item::Tensor(site, tensor) => visit(site, tensor),
        Item::Sparse(site, sparse) => {
            sparse.values.iter().chain(&sparse.indices).for_each(|tensor| visit(site, tensor));
        }
        Item::Graph(_) | Item::Node(_) => {}
    });
}

/// One thing that [`walk`] comes by.
enum Item<'a> {
    Graph(&'a GraphProto),
    Node(&'a NodeProto),
    Tensor(Site<'a>, &'a TensorProto),
    Sparse(Site<'a>, &'a SparseTensorProto),
}

fn walk<'a>(model: &'a ModelProto, visit: &mut dyn FnMut(Item<'a>)) {
    let training = model.training_info.iter();
    let training = training.flat_map(|info| info.initialization.iter().chain(&info.algorithm));
    for graph in model.graph.iter().chain(training) {
        walk_graph(graph, visit);
    }
    for function in &model.functions {
        walk_nodes(&function.node, visit);
        for attribute in &function.attribute_proto {
            walk_attribute(attribute, function.name(), "a function's default", visit);
        }
    }
}

fn walk_graph<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(Item<'a>)) {
    visit(Item::Graph(graph));
    for tensor in &graph.initializer {
        visit(Item::Tensor(Site::Initializer, tensor));
    }
    for sparse in &graph.sparse_initializer {
        visit(Item::Sparse(Site::SparseInitializer, sparse));
    }
    walk_nodes(&graph.node, visit);
}

fn walk_nodes<'a>(nodes: &'a [NodeProto], visit: &mut dyn FnMut(Item<'a>)) {
    for node in nodes {
        visit(Item::Node(node));
        for attribute in &node.attribute {
            walk_attribute(attribute, node.name(), node.op_type(), visit);
        }
    }
}

fn walk_attribute<'a>(
    attribute: &'a AttributeProto,
    node: &'a str,
    op_type: &'a str,
    visit: &mut dyn FnMut(Item<'a>),
) {
    let site = Site::Attribute { node, op_type, attribute: attribute.name() };
    for tensor in attribute.t.iter().chain(&attribute.tensors) {
        visit(Item::Tensor(site, tensor));
    }
    for sparse in attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors) {
        visit(Item::Sparse(site, sparse));
    }
    for graph in attribute.g.iter().chain(&attribute.graphs) {
        walk_graph(graph, visit);
    }
}

/// Like [`for_each_tensor`], in the same order, with tensors that may be changed.
pub fn for_each_tensor_mut(model: &mut ModelProto, mut visit: impl FnMut(Site<'_>, &mut TensorProto)) {
    let visit: &mut VisitMut<'_> = &mut visit;
    let training = model.training_info.iter_mut();
    let training = training.flat_map(|info| info.initialization.iter_mut().chain(&mut info.algorithm));
    for graph in model.graph.iter_mut().chain(training) {
        walk_graph_mut(graph, visit);
    }
    for function in &mut model.functions {
        walk_nodes_mut(&mut function.node, visit);
        let name = function.name.as_deref().unwrap_or_default();
        for attribute in &mut function.attribute_proto {
            walk_attribute_mut(attribute, name, "a function's default", visit);
        }
    }
}

type VisitMut<'v> = dyn FnMut(Site<'_>, &mut TensorProto) + 'v;

fn walk_graph_mut(graph: &mut GraphProto, visit: &mut VisitMut<'_>) {
    graph.initializer.iter_mut().for_each(|tensor| visit(Site::Initializer, tensor));
    graph
        .sparse_initializer
        .iter_mut()
        .for_each(|sparse| visit_sparse(Site::SparseInitializer, sparse, visit));
    walk_nodes_mut(&mut graph.node, visit);
}

fn walk_nodes_mut(nodes: &mut [NodeProto], visit: &mut VisitMut<'_>) {
    for NodeProto { name, op_type, attribute, .. } in nodes {
        let (name, op_type) = (name.as_deref().unwrap_or_default(), op_type.as_deref().unwrap_or_default());
        attribute.iter_mut().for_each(|attribute| walk_attribute_mut(attribute, name, op_type, visit));
    }
}

fn walk_attribute_mut(attribute: &mut AttributeProto, node: &str, op_type: &str, visit: &mut VisitMut<'_>) {
    let AttributeProto { name, t, tensors, sparse_tensor, sparse_tensors, g, graphs, .. } = attribute;
    let site = Site::Attribute { node, op_type, attribute: name.as_deref().unwrap_or_default() };
    t.iter_mut().chain(tensors).for_each(|tensor| visit(site, tensor));
    sparse_tensor.iter_mut().chain(sparse_tensors).for_each(|sparse| visit_sparse(site, sparse, visit));
    g.iter_mut().chain(graphs).for_each(|graph| walk_graph_mut(graph, visit));
}

fn visit_sparse(site: Site<'_>, sparse: &mut SparseTensorProto, visit: &mut VisitMut<'_>) {
    sparse.values.iter_mut().chain(&mut sparse.indices).for_each(|tensor| visit(site, tensor));
}
