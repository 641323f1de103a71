//! A model's identity: what it computes, whatever file it lies in.

use std::collections::HashMap;

use blake3::Hasher;
use secateurs_onnx::Tensor;

use crate::attribute::Attribute;
use crate::graph::{Graph, NodeId, Source, ValueId};

impl Graph {
    /// The BLAKE3 hash of the canonical graph and its weights, as 64 hexadecimal digits.
    ///
    /// Hashed are the nodes that outputs depend on, each after those it reads: op, domain, attributes and which values it
    /// reads, by number in this order; constants with name, element type, shape and elements; names of inputs and outputs,
    /// and the opsets. Constants keep their names because plans call them so. Not hashed: names of nodes and of values
    /// between them, the order of nodes in the file, sizes of inputs (which can be bound), documentation and metadata.
    pub fn hash(&self) -> String {
        let mut canonical = Canonical { graph: self, hasher: Hasher::new(), numbers: HashMap::new() };
        for (domain, version) in &self.opsets {
            canonical.text(domain);
            canonical.number(*version as u64);
        }
        canonical.number(self.inputs.len() as u64);
        for &input in &self.inputs {
            canonical.text(&self.values[input].name);
            canonical.text(&format!("{:?}", self.values[input].fact.element_type));
            canonical.assign(input);
        }
        for &output in &self.outputs {
            canonical.text(&self.values[output].name);
            canonical.value(output);
        }
        canonical.hasher.finalize().to_hex().to_string()
    }
}

struct Canonical<'g> {
    graph: &'g Graph,
    hasher: Hasher,
    /// The number of each value that has been met.
    numbers: HashMap<ValueId, u64>,
}

impl Canonical<'_> {
    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_le_bytes());
    }

    /// The length goes first, so that no two lists of texts look alike.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hasher.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn assign(&mut self, value: ValueId) {
        let next = self.numbers.len() as u64;
        self.numbers.entry(value).or_insert(next);
    }

    /// A value and all that it depends on. With a stack of its own, as graphs can be deep.
    fn value(&mut self, value: ValueId) {
        let mut stack = vec![(value, false)];
        while let Some((value, read)) = stack.pop() {
            if self.numbers.contains_key(&value) {
                continue;
            }
            match (&self.graph.values[value].source, self.graph.tensor(value)) {
                (_, Some(tensor)) => {
                    let tensor = tensor.clone();
                    self.text(&self.graph.values[value].name);
                    self.tensor(&tensor);
                    self.assign(value);
                }
                (Source::Node(node, _), None) if read => self.node(*node),
                (Source::Node(node, _), None) => {
                    stack.push((value, true));
                    let node = &self.graph.nodes[*node];
                    let inputs = node.inputs.iter().flatten().chain(&node.captures);
                    stack.extend(inputs.rev().map(|&input| (input, false)));
                }
                (Source::Input | Source::Tensor(_), None) => self.assign(value),
            }
        }
        let number = self.numbers.get(&value).copied().unwrap_or(u64::MAX);
        self.number(number);
    }

    /// A node whose inputs have numbers.
    fn node(&mut self, id: NodeId) {
        let node = &self.graph.nodes[id];
        self.text(node.op.domain());
        self.text(node.op.name());
        let mut attributes = node.op.attributes();
        attributes.sort_by_key(|(name, _)| *name);
        for (name, attribute) in attributes {
            self.text(name);
            match attribute {
                Attribute::Tensor(tensor) => self.tensor(&tensor),
                other => self.text(&format!("{other:?}")),
            }
        }
        for input in &node.inputs {
            let number = input.and_then(|v| self.numbers.get(&v).copied());
            self.number(number.unwrap_or(u64::MAX));
        }
        for capture in &node.captures {
            self.text(&self.graph.values[*capture].name);
            self.number(self.numbers.get(capture).copied().unwrap_or(u64::MAX));
        }
        self.number(node.outputs.len() as u64);
        for output in node.outputs.iter().flatten() {
            self.assign(*output);
        }
    }

    fn tensor(&mut self, tensor: &Tensor) {
        self.text(tensor.element_type().name());
        self.number(tensor.shape().len() as u64);
        for &size in tensor.shape() {
            self.number(size as u64);
        }
        match tensor.strings() {
            Some(strings) => strings.iter().for_each(|s| self.bytes(s)),
            None => self.bytes(tensor.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::proto::ModelProto;
    use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor};

    use super::*;

    fn proto(weight: f32, hidden: &str) -> ModelProto {
        let w = Tensor::from_slice(vec![2, 2], &[1.0f32, 2.0, 3.0, weight]).unwrap();
        let model = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2"])
            .constant("w", &w)
            .constant("v", &w)
            .node("MatMul", &["x", "w"], &[hidden])
            .node("MatMul", &["x", "v"], &["other"])
            .node("Sub", &[hidden, "other"], &["y"]);
        model.output("y").proto()
    }

    fn hash(proto: ModelProto) -> String {
        Graph::from_model(Model::from_proto(proto, None).unwrap()).unwrap().hash()
    }

    #[test]
    fn what_does_not_change_the_model_does_not_change_its_hash() {
        let plain = hash(proto(4.0, "hidden"));
        assert_eq!(plain.len(), 64);
        assert_eq!(plain, hash(proto(4.0, "renamed")));
        let mut reordered = proto(4.0, "hidden");
        let graph = reordered.graph.as_mut().unwrap();
        graph.node.swap(0, 1);
        graph.node[0].name = Some("another name".into());
        graph.doc_string = Some("about it".into());
        graph.initializer.swap(0, 1);
        assert_eq!(plain, hash(reordered));
        let mut bound = Graph::from_model(Model::from_proto(proto(4.0, "hidden"), None).unwrap()).unwrap();
        bound.bind_shape("x", &[3, 2]).unwrap();
        assert_eq!(plain, bound.hash());
    }

    #[test]
    fn weights_names_of_weights_wiring_and_attributes_count() {
        let mut hashes = vec![hash(proto(4.0, "hidden")), hash(proto(4.5, "hidden"))];
        let changed = |change: fn(&mut secateurs_onnx::proto::GraphProto)| {
            let mut model = proto(4.0, "hidden");
            change(model.graph.as_mut().unwrap());
            hash(model)
        };
        hashes.push(changed(|g| g.node[2].input.swap(0, 1)));
        hashes.push(changed(|g| g.node[2].op_type = Some("Add".into())));
        hashes.push(changed(|g| {
            g.initializer[0].name = Some("u".into());
            g.node[0].input[1] = "u".into();
        }));
        hashes.push(changed(|g| {
            g.input[0].name = Some("z".into());
            g.node[0].input[0] = "z".into();
            g.node[1].input[0] = "z".into();
        }));
        for (i, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..i].contains(hash), "{i}");
        }
    }
}
