//! Model-local functions (ONNX IR version 8): calls are inlined in the graph; the file keeps them until something inside
//! is changed.

use std::collections::{HashMap, HashSet};

use secateurs_onnx::Model;
use secateurs_onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};

use crate::error::GraphError;
use crate::graph::Origin;

/// Calls are inlined up to this many nodes, which no sensible model reaches: nested calls grow exponentially.
const MAX_NODES: usize = 1 << 20;

type Functions<'m> = HashMap<(String, String, String), &'m FunctionProto>;

/// The nodes of a graph with all calls of model-local functions inlined, and where each comes from.
pub(super) fn inline(model: &Model, graph: &GraphProto) -> Result<Vec<(NodeProto, Origin)>, GraphError> {
    let functions: Functions = model
        .proto
        .functions
        .iter()
        .map(|f| ((f.domain().to_owned(), f.name().to_owned(), f.overload().to_owned()), f))
        .collect();
    let mut out = Vec::with_capacity(graph.node.len());
    for (index, node) in graph.node.iter().enumerate() {
        match functions.get(&key(node)) {
            None => out.push((node.clone(), Origin::File(index))),
            Some(function) => {
                let mut inlined = Vec::new();
                expand(node, function, &functions, &mut Vec::new(), index, &mut inlined)?;
                out.extend(inlined.into_iter().map(|n| (n, Origin::Call(index))));
            }
        }
    }
    Ok(out)
}

fn key(node: &NodeProto) -> (String, String, String) {
    (node.domain().to_owned(), node.op_type().to_owned(), node.overload().to_owned())
}

fn expand(
    call: &NodeProto,
    function: &FunctionProto,
    functions: &Functions,
    stack: &mut Vec<String>,
    index: usize,
    out: &mut Vec<NodeProto>,
) -> Result<(), GraphError> {
    let name = format!("{}::{}", function.domain(), function.name());
    if stack.contains(&name) || out.len() > MAX_NODES {
        return Err(GraphError::RecursiveFunction(name));
    }
    stack.push(name);
    let scope = format!("{}#{index}.{}", function.name(), out.len());
    let mut names: HashMap<String, String> = HashMap::new();
    for (i, formal) in function.input.iter().enumerate() {
        names.insert(formal.clone(), call.input.get(i).cloned().unwrap_or_default());
    }
    for (i, formal) in function.output.iter().enumerate() {
        let passed_through = function.input.contains(formal);
        if let Some(actual) = call.output.get(i).filter(|a| !a.is_empty() && !passed_through) {
            names.insert(formal.clone(), actual.clone());
        }
    }
    for inner in &function.node {
        let mut node = inner.clone();
        let caller = if call.name().is_empty() { &scope } else { call.name() };
        node.name = Some(format!("{caller}/{}", inner.name()));
        rename(&mut node, &mut names, &scope);
        node.attribute = inner.attribute.iter().filter_map(|a| bind(a, call, function)).collect();
        for attribute in &mut node.attribute {
            rename_captures(attribute, &names);
        }
        match functions.get(&key(&node)) {
            Some(nested) => expand(&node, nested, functions, stack, index, out)?,
            None => out.push(node),
        }
    }
    // An output that is one of the function's own inputs needs a node to carry the caller's name.
    for (i, formal) in function.output.iter().enumerate() {
        let Some(actual) = call.output.get(i).filter(|a| !a.is_empty()) else { continue };
        if let Some(at) = function.input.iter().position(|f| f == formal) {
            out.push(NodeProto {
                op_type: Some("Identity".into()),
                input: vec![call.input.get(at).cloned().unwrap_or_default()],
                output: vec![actual.clone()],
                ..NodeProto::default()
            });
        }
    }
    stack.pop();
    Ok(())
}

/// Gives the values of an inlined node names that are unique in the graph.
fn rename(node: &mut NodeProto, names: &mut HashMap<String, String>, scope: &str) {
    for name in node.input.iter_mut().chain(&mut node.output) {
        if !name.is_empty() {
            *name = names.entry(name.clone()).or_insert_with(|| format!("{scope}/{name}")).clone();
        }
    }
}

/// Renames what a subgraph reads from the function's body.
fn rename_captures(attribute: &mut AttributeProto, names: &HashMap<String, String>) {
    for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
        let mut own: HashSet<String> = graph.input.iter().map(|i| i.name().to_owned()).collect();
        own.extend(graph.initializer.iter().map(|t| t.name().to_owned()));
        own.extend(graph.node.iter().flat_map(|n| n.output.clone()));
        let visible: HashMap<String, String> =
            names.iter().filter(|(k, _)| !own.contains(*k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        for node in &mut graph.node {
            for name in &mut node.input {
                if let Some(new) = visible.get(name) {
                    name.clone_from(new);
                }
            }
            for inner in &mut node.attribute {
                rename_captures(inner, &visible);
            }
        }
        for output in &mut graph.output {
            if let Some(new) = visible.get(output.name()) {
                output.name = Some(new.clone());
            }
        }
    }
}

/// The attribute with the caller's value where the body refers to one; `None` where neither caller nor function gives it.
fn bind(attribute: &AttributeProto, call: &NodeProto, function: &FunctionProto) -> Option<AttributeProto> {
    let mut bound = if attribute.ref_attr_name().is_empty() {
        attribute.clone()
    } else {
        let given = call.attribute.iter().find(|a| a.name() == attribute.ref_attr_name());
        let default = || function.attribute_proto.iter().find(|a| a.name() == attribute.ref_attr_name());
        let mut value = given.or_else(default)?.clone();
        value.name = attribute.name.clone();
        value
    };
    for graph in bound.g.iter_mut().chain(&mut bound.graphs) {
        for node in &mut graph.node {
            node.attribute = node.attribute.iter().filter_map(|a| bind(a, call, function)).collect();
        }
    }
    Some(bound)
}
