//! Mutations of an ONNX file: mostly in the decoded message, so that what comes out is read again and gets far.

mod tensors;
mod values;

use bytes::Bytes;
use prost::Message;
use secateurs_graph::ops::REGISTRY;
use secateurs_onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};

use crate::rng::Rng;
use crate::seeds::PLAN;
use values::{number, real};

/// Nodes beyond this are not added: a run has to be short.
const MAX_NODES: usize = 24;

/// A changed copy of a file, a function of the seed. `other` is what parts of are put in.
pub fn mutate(input: &[u8], other: Option<&[u8]>, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let Ok(mut model) = ModelProto::decode(Bytes::copy_from_slice(input)) else {
        return flip(input.to_vec(), &mut rng);
    };
    let other = other.and_then(|other| ModelProto::decode(Bytes::copy_from_slice(other)).ok());
    for _ in 0..1 + rng.below(4) {
        change(&mut model, other.as_ref(), &mut rng);
    }
    let bytes = model.encode_to_vec();
    if rng.one_in(16) { flip(bytes, &mut rng) } else { bytes }
}

/// Changes bits, removes and repeats stretches of bytes.
fn flip(mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len());
        let end = (at + 1 + rng.below(8)).min(bytes.len());
        match rng.below(5) {
            _ if bytes.is_empty() => bytes.push(rng.bits() as u8),
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.bits() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            _ => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
        }
    }
    bytes
}

fn change(model: &mut ModelProto, other: Option<&ModelProto>, rng: &mut Rng) {
    match rng.below(24) {
        0 => {
            if let Some(import) = rng.of_mut(&mut model.opset_import) {
                import.version = Some(if rng.one_in(8) { number(rng) } else { 1 + rng.below(28) as i64 });
            }
        }
        1 => metadata(model, rng),
        2 | 3 if other.is_some() => splice(model, other, rng),
        4 if !model.functions.is_empty() => {
            if let Some(function) = rng.of_mut(&mut model.functions) {
                let names = function.node.iter().flat_map(|node| node.output.clone()).collect::<Vec<_>>();
                node(&mut function.node, &names, rng);
            }
        }
        _ => graph(model.graph.get_or_insert_default(), rng),
    }
}

fn metadata(model: &mut ModelProto, rng: &mut Rng) {
    let Some(entry) = model.metadata_props.iter_mut().find(|entry| entry.key() == PLAN) else { return };
    let Ok(mut plan) = serde_json::from_str::<serde_json::Value>(entry.value()) else { return };
    values::json(&mut plan, rng);
    entry.value = Some(plan.to_string());
}

/// Puts the nodes and constants of another model behind this one.
fn splice(model: &mut ModelProto, other: Option<&ModelProto>, rng: &mut Rng) {
    let Some(other) = other.and_then(|other| other.graph.clone()) else { return };
    let own = model.graph.get_or_insert_default();
    if own.node.len() + other.node.len() > MAX_NODES {
        return;
    }
    let ends = names(own);
    let Some(end) = rng.of(&ends).cloned() else { return };
    let mark = own.node.len();
    let fed = other.input.iter().map(|input| input.name().to_owned()).collect::<Vec<_>>();
    let renamed = |name: &str| match name {
        "" => String::new(),
        _ if fed.first().is_some_and(|first| first == name) => end.clone(),
        name => format!("{name}_{mark}"),
    };
    for mut node in other.node {
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = renamed(name));
        own.node.push(node);
    }
    for mut tensor in other.initializer {
        tensor.name = Some(renamed(tensor.name()));
        own.initializer.push(tensor);
    }
    for (at, list) in [(1, other.input), (0, other.output)] {
        for mut info in list.into_iter().skip(at) {
            info.name = Some(renamed(info.name()));
            if at == 1 { own.input.push(info) } else { own.output.push(info) }
        }
    }
    // What was the end is a value inside now.
    if rng.one_in(2) && own.output.len() > 1 {
        own.output.retain(|output| output.name() != end);
    }
}

/// The names of all values of a graph.
fn names(graph: &GraphProto) -> Vec<String> {
    let inputs = graph.input.iter().map(|input| input.name());
    let tensors = graph.initializer.iter().map(|tensor| tensor.name());
    let made = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
    inputs.chain(tensors).chain(made).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn graph(graph: &mut GraphProto, rng: &mut Rng) {
    let known = names(graph);
    match rng.below(16) {
        0..=6 => node(&mut graph.node, &known, rng),
        7..=9 => {
            if let Some(tensor) = rng.of_mut(&mut graph.initializer) {
                tensors::change(tensor, rng);
            }
        }
        10 | 11 => {
            let list = if rng.one_in(3) { &mut graph.output } else { &mut graph.input };
            if let Some(info) = rng.of_mut(list) {
                values::info(info, rng);
            }
        }
        12 => {
            if let Some(sparse) = rng.of_mut(&mut graph.sparse_initializer) {
                tensors::sparse(sparse, rng);
            }
        }
        13 => {
            // A constant becomes an input, or an input loses its declaration.
            let at = rng.below(graph.input.len());
            match graph.initializer.pop() {
                Some(tensor) if rng.one_in(2) => graph.initializer.insert(0, tensor),
                _ if at < graph.input.len() => drop(graph.input.remove(at)),
                _ => {}
            }
        }
        14 => {
            if let (Some(name), Some(mut info)) = (rng.of(&known), graph.output.first().cloned()) {
                info.name = Some(name.clone());
                graph.output.push(info);
            }
        }
        _ => {
            let at = rng.below(graph.output.len());
            if graph.output.len() > 1 {
                graph.output.remove(at);
            }
        }
    }
}

fn node(nodes: &mut Vec<NodeProto>, names: &[String], rng: &mut Rng) {
    let (count, at) = (nodes.len(), rng.below(nodes.len()));
    let others = rng.of(nodes).map(|node| node.attribute.clone()).unwrap_or_default();
    let Some(node) = nodes.get_mut(at) else { return };
    match rng.below(12) {
        0 | 1 => {
            if let Some(entry) = rng.of(REGISTRY) {
                (node.op_type, node.domain) = (Some(entry.name.into()), Some(entry.domain.into()));
            }
        }
        2 | 3 => {
            if let (Some(input), Some(name)) = (rng.of_mut(&mut node.input), rng.of(names)) {
                input.clone_from(name);
            }
        }
        4 => match (rng.below(4), rng.of(names)) {
            (0, Some(name)) => node.input.push(name.clone()),
            (1, _) => drop(node.input.pop()),
            (2, _) => node.output.push(format!("more{}", node.output.len())),
            _ => {
                if let Some(input) = rng.of_mut(&mut node.input) {
                    input.clear();
                }
            }
        },
        5 if rng.one_in(2) => drop(nodes.remove(at)),
        6 if count < MAX_NODES => {
            // A node more behind this one, of another op.
            let (Some(entry), Some(made)) = (rng.of(REGISTRY), node.output.first().cloned()) else { return };
            let mut input = vec![made];
            input.extend((0..rng.below(3)).filter_map(|_| rng.of(names).cloned()));
            nodes.push(NodeProto {
                op_type: Some(entry.name.into()),
                domain: Some(entry.domain.into()),
                input,
                output: vec![format!("new{count}")],
                attribute: others,
                ..NodeProto::default()
            });
        }
        7 => {
            let at = rng.below(node.attribute.len());
            match (rng.one_in(2), rng.of(&others)) {
                (true, _) if !node.attribute.is_empty() => drop(node.attribute.remove(at)),
                (_, Some(other)) => node.attribute.push(other.clone()),
                _ => node.attribute.push(AttributeProto::from_int("axis", number(rng))),
            }
        }
        _ => match rng.of_mut(&mut node.attribute) {
            Some(attribute) => self::attribute(attribute, rng),
            None => {
                const NAMES: &[&str] = &["axis", "group", "axes", "keepdims", "num_heads", "to", "perm"];
                let name = rng.of(NAMES).copied().unwrap_or_default();
                node.attribute.push(AttributeProto::from_int(name, number(rng)));
            }
        },
    }
}

fn attribute(attribute: &mut AttributeProto, rng: &mut Rng) {
    if let Some(inner) = &mut attribute.g {
        return graph(inner, rng);
    }
    if let Some(tensor) = &mut attribute.t {
        return tensors::change(tensor, rng);
    }
    if let Some(value) = &mut attribute.f {
        *value = real(rng);
    } else if let Some(value) = rng.of_mut(&mut attribute.floats) {
        *value = real(rng);
    } else if let Some(text) = &mut attribute.s {
        const WORDS: &[&str] =
            &["", "SAME_UPPER", "VALID", "linear", "ij,jk->ik", "...i,i", "bidirectional", "add"];
        let flipped = flip(text.to_vec(), rng);
        *text = match rng.of(WORDS) {
            Some(word) if rng.one_in(2) => Bytes::from_static(word.as_bytes()),
            _ => flipped.into(),
        };
    } else {
        values::longs(&mut attribute.ints, rng);
        if let Some(value) = &mut attribute.i {
            *value = values::near(*value, rng);
        }
    }
    if rng.one_in(12) {
        attribute.r#type = Some(rng.below(16) as i32);
    }
}
