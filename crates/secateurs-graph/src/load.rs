//! From the ONNX file to the graph: names become values, nodes become ops, function calls are inlined.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use secateurs_onnx::proto::{
    AttributeProto, GraphProto, NodeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use secateurs_onnx::{ElementType, Model};
use slotmap::SlotMap;

use crate::attribute::{Attribute, Attributes};
use crate::dim::Dim;
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, Node, NodeId, Origin, Source, Value, ValueId};
use crate::op::ParseContext;
use crate::ops;

mod attributes;
mod functions;

pub(crate) use attributes::captured_names;

impl Graph {
    /// Builds the graph of a model, checks its structure, and infers all shapes.
    pub fn from_model(model: Model) -> Result<Graph, GraphError> {
        let model = Arc::new(model);
        let proto = model.graph();
        let mut graph = Graph {
            nodes: SlotMap::with_key(),
            values: SlotMap::with_key(),
            order: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            opsets: opsets(&model),
            source: model.clone(),
            changed: false,
        };
        let mut loader = Loader { graph: &mut graph, names: HashMap::new(), producers: HashMap::new() };
        loader.constants(&model, proto)?;
        loader.inputs(proto)?;
        for (index, (node, origin)) in functions::inline(&model, proto)?.iter().enumerate() {
            loader.declare_outputs(node, *origin, index)?;
        }
        loader.connect(&model)?;
        loader.outputs(proto)?;
        loader.declared(proto)?;
        graph.sort()?;
        graph.update_facts()?;
        Ok(graph)
    }
}

fn opsets(model: &Model) -> std::collections::BTreeMap<String, i64> {
    let imports = model.proto.opset_import.iter();
    let known = imports.map(|o| {
        // "ai.onnx" is another spelling of the standard domain.
        let domain = if o.domain() == "ai.onnx" { "" } else { o.domain() };
        (domain.to_owned(), o.version())
    });
    known.collect()
}

struct Loader<'g> {
    graph: &'g mut Graph,
    names: HashMap<String, ValueId>,
    /// Nodes whose inputs are not connected yet, by the node made for them.
    producers: HashMap<NodeId, NodeProto>,
}

impl Loader<'_> {
    fn add_value(&mut self, name: &str, source: Source, fact: Fact) -> Result<ValueId, GraphError> {
        if let Some(&old) = self.names.get(name) {
            return Err(GraphError::Duplicate {
                value: name.into(),
                first: self.describe(&self.graph.values[old].source),
                second: self.describe(&source),
            });
        }
        let value = Value { name: name.into(), source, fact, declared: None };
        let id = self.graph.values.insert(value);
        self.names.insert(name.into(), id);
        Ok(id)
    }

    fn describe(&self, source: &Source) -> String {
        match source {
            Source::Input => "an input of the graph".into(),
            Source::Tensor(_) => "an initializer".into(),
            Source::Node(node, _) => {
                let node = self.producers.get(node);
                format!("node '{}' ({})", node.map_or("", |n| n.name()), node.map_or("", |n| n.op_type()))
            }
        }
    }

    fn constants(&mut self, model: &Model, proto: &GraphProto) -> Result<(), GraphError> {
        for initializer in &proto.initializer {
            let tensor = model.tensor(initializer)?;
            let fact = Fact::from_tensor(&tensor);
            self.add_value(initializer.name(), Source::Tensor(tensor), fact)?;
        }
        for initializer in &proto.sparse_initializer {
            let tensor = model.sparse_tensor(initializer)?;
            let fact = Fact::from_tensor(&tensor);
            let name = initializer.values.as_ref().map_or("", |v| v.name());
            self.add_value(name, Source::Tensor(tensor), fact)?;
        }
        Ok(())
    }

    fn inputs(&mut self, proto: &GraphProto) -> Result<(), GraphError> {
        let mut seen = HashSet::new();
        for info in &proto.input {
            if !seen.insert(info.name()) {
                return Err(GraphError::Input {
                    name: info.name().to_owned(),
                    reason: "is listed twice; inputs must have unique names".into(),
                });
            }
            // Before IR version 4 initializers had to be listed as inputs too; later that makes a default.
            if self.names.contains_key(info.name()) {
                continue;
            }
            let fact = declared_fact(info)?;
            let id = self.add_value(info.name(), Source::Input, fact)?;
            self.graph.inputs.push(id);
        }
        Ok(())
    }

    fn declare_outputs(&mut self, node: &NodeProto, origin: Origin, index: usize) -> Result<(), GraphError> {
        let placeholder = Node {
            name: node.name().to_owned(),
            op: Box::new(ops::Unknown::new(node.op_type(), node.domain(), Vec::new())),
            inputs: Vec::new(),
            outputs: Vec::new(),
            captures: Vec::new(),
            origin,
        };
        let id = self.graph.nodes.insert(placeholder);
        self.graph.order.push(id);
        debug_assert_eq!(self.graph.order.len(), index + 1);
        self.producers.insert(id, node.clone());
        for (i, name) in node.output.iter().enumerate() {
            let value = match name.is_empty() {
                true => None,
                false => Some(self.add_value(name, Source::Node(id, i), Fact::unknown())?),
            };
            self.graph.nodes[id].outputs.push(value);
        }
        Ok(())
    }

    fn connect(&mut self, model: &Model) -> Result<(), GraphError> {
        for id in self.graph.order.clone() {
            let proto = &self.producers[&id];
            let missing = |value: &str| GraphError::Missing {
                node: self.graph.node_label(id),
                op: proto.op_type().to_owned(),
                value: value.into(),
            };
            let find = |name: &String| self.names.get(name).copied().ok_or_else(|| missing(name));
            let inputs: Vec<Option<ValueId>> = proto
                .input
                .iter()
                .map(|name| if name.is_empty() { Ok(None) } else { find(name).map(Some) })
                .collect::<Result<_, _>>()?;
            let captures =
                captured_names(&proto.attribute).iter().map(&find).collect::<Result<Vec<_>, _>>()?;
            let attributes = proto
                .attribute
                .iter()
                .map(|a| Ok((a.name().to_owned(), attributes::read(model, a)?)))
                .collect::<Result<Vec<(String, Attribute)>, GraphError>>()?;
            let domain = if proto.domain() == "ai.onnx" { "" } else { proto.domain() };
            let cx = ParseContext {
                opset: self.graph.opset(domain),
                inputs: proto.input.len(),
                outputs: proto.output.len(),
            };
            let op = ops::parse(proto.op_type(), domain, Attributes::new(attributes), &cx)
                .map_err(|e| self.graph.node_error(id, e))?;
            let node = &mut self.graph.nodes[id];
            (node.inputs, node.captures, node.op) = (inputs, captures, op);
        }
        Ok(())
    }

    fn outputs(&mut self, proto: &GraphProto) -> Result<(), GraphError> {
        for info in &proto.output {
            let missing = || GraphError::MissingOutput(info.name().to_owned());
            let id = self.names.get(info.name()).copied().ok_or_else(missing)?;
            self.graph.outputs.push(id);
        }
        Ok(())
    }

    fn declared(&mut self, proto: &GraphProto) -> Result<(), GraphError> {
        for info in proto.value_info.iter().chain(&proto.output) {
            let Some(&id) = self.names.get(info.name()) else { continue };
            let value = &mut self.graph.values[id];
            if matches!(value.source, Source::Node(..)) {
                // A hint only: a wrong one must not stop a model that runs.
                value.declared = declared_fact(info).ok();
            }
        }
        Ok(())
    }
}

/// What a graph input, output or `value_info` says of a value.
fn declared_fact(info: &ValueInfoProto) -> Result<Fact, GraphError> {
    let fail = |reason: String| GraphError::Input { name: info.name().to_owned(), reason };
    let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(_) => {
            return Err(fail("is not a tensor; sequences, maps and sparse inputs are not supported".into()));
        }
        None => return Ok(Fact::unknown()),
    };
    let element_type = match tensor.elem_type() {
        0 => None,
        n => Some(
            ElementType::from_onnx(n)
                .ok_or_else(|| fail(format!("has element type number {n}, which ONNX does not define")))?,
        ),
    };
    let Some(shape) = &tensor.shape else {
        return Ok(Fact { element_type, shape: None, content: None });
    };
    use tensor_shape_proto::dimension::Value;
    let dims = shape.dim.iter().enumerate().map(|(axis, dim)| match &dim.value {
        Some(Value::DimValue(n)) if *n >= 0 => Ok(Dim::from(*n)),
        // Paddle's exporter and older ones write a dynamic axis so.
        Some(Value::DimValue(-1)) => Ok(Dim::symbol(format!("{}.{axis}", info.name()))),
        Some(Value::DimValue(n)) => Err(fail(format!(
            "axis {axis} has the size {n}; a size cannot be negative: export with a dynamic axis or a fixed size"
        ))),
        Some(Value::DimParam(name)) if !name.is_empty() => Ok(Dim::parse(name)),
        _ => Ok(Dim::symbol(format!("{}.{axis}", info.name()))),
    });
    Ok(Fact { element_type, shape: Some(dims.collect::<Result<_, _>>()?), content: None })
}

/// Subgraphs of an attribute list.
fn subgraphs(attributes: &[AttributeProto]) -> impl Iterator<Item = &GraphProto> {
    attributes.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// How many nodes each call of a model-local function becomes, by the call's index in the file.
pub(crate) fn inlined_counts(model: &Model) -> Result<HashMap<usize, usize>, GraphError> {
    let mut counts = HashMap::new();
    for (_, origin) in functions::inline(model, model.graph())? {
        if let Origin::Call(index) = origin {
            *counts.entry(index).or_default() += 1;
        }
    }
    Ok(counts)
}
