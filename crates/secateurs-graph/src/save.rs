//! From the graph back to the ONNX file: what was not changed is written as it was.

use std::collections::{HashMap, HashSet};

use secateurs_onnx::proto::attribute_proto::AttributeType;
use secateurs_onnx::proto::tensor_shape_proto::dimension::Value as Size;
use secateurs_onnx::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto, type_proto,
};
use secateurs_onnx::{ElementType, Model, Tensor, tensor_to_proto, value_info};

use crate::attribute::Attribute;
use crate::dim::Dim;
use crate::graph::{Graph, Node, Origin, Source, Value};

impl Graph {
    /// The model to write. An unchanged graph gives the model it was read from, message for message.
    pub fn to_model(&self) -> Model {
        let mut model = (*self.source).clone();
        if !self.changed {
            return model;
        }
        let old = self.source.graph().clone();
        let mut new = old.clone();
        new.node = self.nodes_to_write(&old);
        new.initializer = self.initializers(&old);
        let kept: HashMap<&str, &Value> = self.values.values().map(|v| (v.name.as_str(), v)).collect();
        new.sparse_initializer.retain(|t| {
            let name = t.values.as_ref().map_or("", |v| v.name());
            kept.contains_key(name) && new.initializer.iter().all(|i| i.name() != name)
        });
        new.quantization_annotation.retain(|q| kept.contains_key(q.tensor_name()));
        new.value_info.retain(|info| kept.get(info.name()).is_some_and(|v| still_true(info, v)));
        // An initializer listed as an input (IR version 3) keeps its listing true.
        let is_input = |v: &Value| matches!(v.source, Source::Input);
        new.input.retain(|info| kept.get(info.name()).is_some_and(|v| is_input(v) || still_true(info, v)));
        for info in new.input.iter_mut().chain(&mut new.output) {
            if let Some(value) = kept.get(info.name()) {
                resize(info, value);
            }
        }
        // Before IR version 4, every initializer is an input too.
        if self.source.proto.ir_version() < 4 {
            list_initializers(&mut new);
        }
        let ambiguous = ambiguous_names(&new, &kept);
        new.value_info.retain(|info| named_sizes(info).all(|(_, name)| !ambiguous.contains(name)));
        let called: HashSet<(&str, &str)> = new.node.iter().map(|n| (n.domain(), n.op_type())).collect();
        let unused: Vec<bool> = {
            let functions = &model.proto.functions;
            let nested: HashSet<(&str, &str)> =
                functions.iter().flat_map(|f| f.node.iter().map(|n| (n.domain(), n.op_type()))).collect();
            functions
                .iter()
                .map(|f| {
                    let key = (f.domain(), f.name());
                    !called.contains(&key) && !nested.contains(&key)
                })
                .collect()
        };
        let mut unused = unused.into_iter();
        model.proto.functions.retain(|_| unused.next() == Some(false));
        model.proto.graph = Some(new);
        model
    }

    fn nodes_to_write(&self, old: &GraphProto) -> Vec<NodeProto> {
        // A call is written as a call only when nothing that was inlined from it has changed or gone.
        let mut inlined = HashMap::<usize, usize>::new();
        for node in self.nodes.values() {
            if let Origin::Call(index) = node.origin {
                *inlined.entry(index).or_default() += 1;
            }
        }
        let whole: HashSet<usize> = match crate::load::inlined_counts(&self.source) {
            Ok(before) => inlined.iter().filter(|(i, n)| before.get(i) == Some(n)).map(|(i, _)| *i).collect(),
            Err(_) => HashSet::new(),
        };
        let mut written = HashSet::new();
        let mut nodes = Vec::with_capacity(self.order.len());
        for &id in &self.order {
            let node = &self.nodes[id];
            match node.origin {
                Origin::File(index) => nodes.push(old.node[index].clone()),
                Origin::Call(index) if whole.contains(&index) => {
                    if written.insert(index) {
                        nodes.push(old.node[index].clone());
                    }
                }
                _ => nodes.push(self.node_to_proto(node)),
            }
        }
        nodes
    }

    fn node_to_proto(&self, node: &Node) -> NodeProto {
        let name = |v: &Option<_>| v.map_or_else(String::new, |v| self.values[v].name.clone());
        let mut output: Vec<String> = node.outputs.iter().map(name).collect();
        while output.last().is_some_and(String::is_empty) {
            output.pop();
        }
        NodeProto {
            name: (!node.name.is_empty()).then(|| node.name.clone()),
            op_type: Some(node.op.name().into()),
            domain: (!node.op.domain().is_empty()).then(|| node.op.domain().into()),
            input: node.inputs.iter().map(name).collect(),
            output,
            attribute: node.op.attributes().iter().map(|(name, value)| attribute(name, value)).collect(),
            ..NodeProto::default()
        }
    }

    fn initializers(&self, old: &GraphProto) -> Vec<TensorProto> {
        let mut mine: HashMap<&str, _> = HashMap::new();
        for value in self.values.values() {
            if let Source::Tensor(tensor) = &value.source {
                mine.insert(&value.name, tensor);
            }
        }
        let sparse: HashSet<&str> =
            old.sparse_initializer.iter().filter_map(|t| t.values.as_ref()).map(|t| t.name()).collect();
        let mut written = Vec::new();
        for proto in &old.initializer {
            let Some(tensor) = mine.remove(proto.name()) else { continue };
            let unchanged = self.source.tensor(proto).is_ok_and(|before| same(&before, tensor));
            written.push(if unchanged { proto.clone() } else { tensor_to_proto(proto.name(), tensor) });
        }
        // Constants that patches made, in a stable order.
        for value in self.values.values() {
            if let Some(tensor) = mine.remove(value.name.as_str())
                && !(sparse.contains(value.name.as_str()) && self.sparse_unchanged(&value.name, tensor))
            {
                written.push(tensor_to_proto(&value.name, tensor));
            }
        }
        written
    }

    fn sparse_unchanged(&self, name: &str, tensor: &Tensor) -> bool {
        let sparse = &self.source.graph().sparse_initializer;
        let found = sparse.iter().find(|t| t.values.as_ref().is_some_and(|v| v.name() == name));
        found.and_then(|t| self.source.sparse_tensor(t).ok()).is_some_and(|before| before == *tensor)
    }
}

/// Lists among the inputs what initializers are not listed there yet.
fn list_initializers(graph: &mut GraphProto) {
    let listed: HashSet<&str> = graph.input.iter().map(ValueInfoProto::name).collect();
    let missing = graph.initializer.iter().filter(|tensor| !listed.contains(tensor.name()));
    let infos: Vec<ValueInfoProto> = missing
        .filter_map(|tensor| {
            let sizes: Vec<String> = tensor.dims.iter().map(i64::to_string).collect();
            let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
            Some(value_info(tensor.name(), ElementType::from_onnx(tensor.data_type())?, &sizes))
        })
        .collect();
    graph.input.extend(infos);
}

/// Whether two tensors are the same, most often because they share their bytes.
fn same(a: &Tensor, b: &Tensor) -> bool {
    let shared = a.strings().is_none() && a.bytes().as_ptr() == b.bytes().as_ptr();
    (shared && a.element_type() == b.element_type() && a.shape() == b.shape()) || a == b
}

/// The shape that the file declares for a value.
fn declared_shape(info: &ValueInfoProto) -> Option<&TensorShapeProto> {
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => tensor.shape.as_ref(),
        _ => None,
    }
}

/// The axes of which the file gives the size by a name, and that name.
fn named_sizes(info: &ValueInfoProto) -> impl Iterator<Item = (usize, &str)> {
    let axes = declared_shape(info).into_iter().flat_map(|shape| shape.dim.iter().enumerate());
    axes.filter_map(|(axis, dim)| match &dim.value {
        Some(Size::DimParam(name)) if !name.is_empty() && !is_formula(name) => Some((axis, name.as_str())),
        _ => None,
    })
}

/// Whether what the file says of a value does not contradict what is known now.
fn still_true(info: &ValueInfoProto, value: &Value) -> bool {
    let (Some(shape), Some(declared)) = (&value.fact.shape, declared_shape(info)) else { return true };
    declared.dim.len() == shape.len()
        && declared.dim.iter().zip(shape).all(|(old, new)| match &old.value {
            Some(Size::DimValue(old)) => new.known().is_none_or(|new| new == *old),
            Some(Size::DimParam(text)) if is_formula(text) => {
                !new.is_determined() || Dim::parse(text) == *new
            }
            _ => true,
        })
}

/// Whether a size is told by a formula such as `4*batch` rather than by a name.
fn is_formula(text: &str) -> bool {
    !text.is_empty() && Dim::parse(text) != Dim::symbol(text)
}

/// Names that stand for several sizes by now, as that of four heads times the batch does where some layers have two heads left. ONNX Runtime
/// takes sizes of one name to be equal.
fn ambiguous_names(graph: &GraphProto, values: &HashMap<&str, &Value>) -> HashSet<String> {
    let mut sizes: HashMap<&str, &Dim> = HashMap::new();
    let mut ambiguous = HashSet::new();
    for info in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        let Some(shape) = values.get(info.name()).and_then(|value| value.fact.shape.as_ref()) else {
            continue;
        };
        for (axis, name) in named_sizes(info) {
            let Some(size) = shape.get(axis).filter(|size| size.is_determined()) else { continue };
            if *sizes.entry(name).or_insert(size) != size {
                ambiguous.insert(name.to_owned());
            }
        }
    }
    ambiguous
}

/// Writes the sizes that surgery has changed into what the file says of an input or output.
fn resize(info: &mut ValueInfoProto, value: &Value) {
    let (Some(shape), Some(type_proto::Value::TensorType(declared))) =
        (&value.fact.shape, info.r#type.as_mut().and_then(|t| t.value.as_mut()))
    else {
        return;
    };
    let Some(declared) = declared.shape.as_mut().filter(|declared| declared.dim.len() == shape.len()) else {
        return;
    };
    for (old, new) in declared.dim.iter_mut().zip(shape) {
        if let (Some(Size::DimValue(size)), Some(new)) = (&mut old.value, new.known()) {
            *size = new;
        }
    }
}

pub(crate) fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(v) => {
            proto.i = Some(*v);
            AttributeType::Int
        }
        Attribute::Float(v) => {
            proto.f = Some(*v);
            AttributeType::Float
        }
        Attribute::String(v) => {
            proto.s = Some(v.clone().into_bytes().into());
            AttributeType::String
        }
        Attribute::Tensor(v) => {
            proto.t = Some(tensor_to_proto("", v));
            AttributeType::Tensor
        }
        Attribute::Ints(v) => {
            proto.ints.clone_from(v);
            AttributeType::Ints
        }
        Attribute::Floats(v) => {
            proto.floats.clone_from(v);
            AttributeType::Floats
        }
        Attribute::Strings(v) => {
            proto.strings = v.iter().map(|s| s.clone().into_bytes().into()).collect();
            AttributeType::Strings
        }
        Attribute::Graph(v) => return v.to_proto(name),
        Attribute::Other(v) => return (**v).clone(),
    };
    proto.r#type = Some(kind as i32);
    proto
}
