//! Surgery against evaluation: an op that has lost indices gives what is left of the outputs that it gave before.
//!
//! Indices of atoms that are summed or averaged over are first set to zero in the inputs. Where the indices that stay
//! depend on those that go (`Role::Mixed`), only shapes are compared.

use std::collections::HashMap;
use std::sync::Arc;

use secateurs_onnx::{ElementType, Tensor};

use super::axes::{atom_indices, input_tensors, run_with, tied};
use super::case::Noise;
use super::check::{bindings, close, run};
use crate::attribute::{Attribute, Attributes};
use crate::axes::{AtomId, Axis, AxisMap, Role};
use crate::dim::Dim;
use crate::fact::{Content, Fact, Shape};
use crate::graph::{Graph, Source, Value, ValueId};
use crate::op::ParseContext;
use crate::shrink::{Kept, Shrunk, ShrunkInput, Subset};

/// For each atom the indices that are kept; `None` for all of them.
pub type Choice = Vec<Option<Subset>>;

/// Removes indices of every atom that can lose some, together with the atom that comes so many places after it in each of
/// `partners`; 0 for alone. Tied atoms lose the same indices.
pub fn check(graph: &Arc<Graph>, fed: &[Tensor], outputs: &[Tensor], partners: &[usize], what: &str) {
    let map = axis_map(graph);
    let removable: Vec<usize> = (0..map.atoms.len()).filter(|i| is_removable(&map, *i)).collect();
    let mut noise = Noise(0x5eed);
    for (at, &first) in removable.iter().enumerate() {
        for other in partners {
            let second = removable[(at + other) % removable.len()];
            let mut choice: Choice = vec![None; map.atoms.len()];
            for atom in [first, second] {
                let kept = subset(&map, atom, &mut noise);
                tied(&map, AtomId(atom)).iter().for_each(|id| choice[id.0] = Some(kept.clone()));
            }
            if empties_an_axis(graph, &map, &choice) {
                continue;
            }
            if let Err(difference) = trial(graph, fed, outputs, &choice, &choice) {
                panic!("{what}: keeping {choice:?} of {map:?}: {difference}");
            }
        }
    }
}

fn axis_map(graph: &Graph) -> AxisMap {
    let node = &graph.nodes[graph.order[0]];
    let facts = graph.input_facts(node);
    node.op.axes(&node.op_inputs(&facts), &graph.output_facts(node))
}

/// The map at the sizes of a run.
fn bound(map: &AxisMap) -> AxisMap {
    let bindings = bindings();
    let mut map = map.clone();
    map.atoms.iter_mut().for_each(|atom| atom.size = atom.size.bind(&bindings));
    map
}

fn is_removable(map: &AxisMap, atom: usize) -> bool {
    let atom = &map.atoms[atom];
    atom.size.known().is_some_and(|n| n > 1) && !matches!(atom.role, Role::Blocked(_))
}

/// Some indices, but not all.
fn subset(map: &AxisMap, atom: usize, noise: &mut Noise) -> Subset {
    let size = map.atoms[atom].size.known().unwrap() as usize;
    loop {
        let kept: Vec<usize> = (0..size).filter(|_| !noise.next().is_multiple_of(3)).collect();
        if !kept.is_empty() && kept.len() < size {
            return Subset { indices: kept.into(), of: size };
        }
    }
}

fn kept_with<T>(graph: &Graph, map: &AxisMap, choice: &Choice, f: impl FnOnce(&Kept) -> T) -> T {
    let node = &graph.nodes[graph.order[0]];
    let (inputs, outputs) = (graph.input_facts(node), graph.output_facts(node));
    f(&Kept::new(map, node.op_inputs(&inputs), &outputs, choice))
}

/// No surgery leaves an axis without indices.
fn empties_an_axis(graph: &Graph, map: &AxisMap, choice: &Choice) -> bool {
    kept_with(graph, map, choice, |kept| {
        let axes = map.inputs.iter().chain(&map.outputs).flatten().flatten();
        axes.into_iter().any(|axis| kept.axis_size(axis).is(0) && !kept.is_whole(axis))
    })
}

/// Compares a node that has lost indices with the part `wanted` of the outputs of the whole one.
pub fn trial(
    graph: &Arc<Graph>,
    fed: &[Tensor],
    outputs: &[Tensor],
    choice: &Choice,
    wanted: &Choice,
) -> Result<(), String> {
    let map = axis_map(graph);
    let bound = bound(&map);
    let lost = |i: usize| choice[i].is_some();
    let exact = !map.atoms.iter().enumerate().any(|(i, a)| lost(i) && matches!(a.role, Role::Mixed(_)));
    let consumed: Vec<usize> = (0..map.atoms.len())
        .filter(|&i| lost(i) && matches!(map.atoms[i].role, Role::Summed | Role::Averaged))
        .collect();

    let mut tensors = input_tensors(graph, fed);
    for (input, axes) in tensors.iter_mut().zip(&map.inputs) {
        let (Some((_, tensor)), Some(axes)) = (input, axes) else { continue };
        for &atom in &consumed {
            let kept = choice[atom].as_ref().map_or(&[][..], |s| &s.indices);
            *tensor = zeroed(&bound, axes, tensor, AtomId(atom), kept);
        }
    }
    let whole = match consumed.is_empty() {
        true => outputs.to_vec(),
        false => {
            let replaced: HashMap<ValueId, Tensor> = tensors.iter().flatten().cloned().collect();
            run_with(graph, fed, &replaced, "the whole op")
        }
    };

    for (input, axes) in tensors.iter_mut().zip(&map.inputs) {
        if let (Some((_, tensor)), Some(axes)) = (input, axes) {
            *tensor = kept_with(graph, &bound, choice, |kept| sliced(kept, axes, tensor));
        }
    }
    let (shrunk, shapes) = kept_with(graph, &map, choice, |kept| {
        let op = &graph.nodes[graph.order[0]].op;
        let shrunk = op.shrink(kept).map_err(|e| format!("it does not shrink: {e}"))?;
        Ok::<_, String>((shrunk, (0..outputs.len()).map(|i| kept.output_shape(i)).collect::<Vec<_>>()))
    })?;
    let tolerance = if writes_floats(graph, &shrunk) { 1e-6 } else { 1e-9 };
    let scale = shrunk.output_scale.map_or(1.0, |scale| scale.factor());
    let (small, small_fed) = apply(graph, &map, choice, &tensors, shrunk)?;
    for (&id, shape) in small.outputs.iter().zip(&shapes) {
        let fact = &small.values[id].fact;
        let agree = |(a, b): (&Dim, &Dim)| a == b || (!a.is_determined() && !b.is_determined());
        let agree = |(a, b): (&Shape, &Shape)| a.len() == b.len() && a.iter().zip(b).all(agree);
        if !fact.shape.as_ref().zip(shape.as_ref()).is_some_and(agree) {
            return Err(format!("the shape is inferred as {fact} and should be {shape:?}"));
        }
    }
    let mut got = run(&Arc::new(small), &small_fed, true, "the op without what it lost");
    if scale != 1.0 {
        let values: Vec<f64> = got[0].to_f64_vec().unwrap().iter().map(|v| v * scale).collect();
        got[0] = Tensor::from_slice(got[0].shape().to_vec(), &values).unwrap();
    }
    for (i, (got, whole)) in got.iter().zip(&whole).enumerate().filter(|_| exact) {
        let want = kept_with(graph, &bound, wanted, |kept| match &map.outputs[i] {
            Some(axes) => sliced(kept, axes, whole),
            None => whole.clone(),
        });
        let half = matches!(got.element_type(), ElementType::Float16 | ElementType::Bfloat16);
        close(got, &want, if half { 1e-2 } else { tolerance }).map_err(|e| format!("output {i}: {e}"))?;
    }
    Ok(())
}

/// Attributes hold 32-bit floats.
fn writes_floats(graph: &Graph, shrunk: &Shrunk) -> bool {
    let Some(op) = &shrunk.op else { return false };
    let old = graph.nodes[graph.order[0]].op.attributes();
    op.attributes().iter().any(|new| matches!(new.1, Attribute::Float(_)) && !old.contains(new))
}

/// The graph of the node as it is after surgery, and what it is fed.
fn apply(
    graph: &Graph,
    map: &AxisMap,
    choice: &Choice,
    tensors: &[Option<(ValueId, Tensor)>],
    shrunk: Shrunk,
) -> Result<(Graph, Vec<Tensor>), String> {
    let mut small = graph.clone();
    let node_id = small.order[0];
    let mut tensors: Vec<Option<(ValueId, Tensor)>> = tensors.to_vec();
    for (input, fact) in &shrunk.controls {
        let Some((id, tensor)) = &mut tensors[*input] else { return Err("it sets an absent input".into()) };
        if !matches!(small.values[*id].source, Source::Tensor(_)) {
            return Err(format!("it sets input {input}, which only a run can tell"));
        }
        *tensor = constant(fact)?;
        if fact.element_type != small.values[*id].fact.element_type {
            return Err(format!("it changes the type of input {input}"));
        }
    }
    for (i, (id, tensor)) in tensors.iter().enumerate().filter_map(|(i, input)| Some((i, input.as_ref()?))) {
        let value = &mut small.values[*id];
        match &mut value.source {
            Source::Tensor(old) => {
                *old = tensor.clone();
                value.fact = Fact::from_tensor(tensor);
            }
            _ => value.fact.shape = kept_with(graph, map, choice, |kept| kept.input_shape(i)),
        }
    }
    if let Some(inputs) = shrunk.inputs {
        let mut new = Vec::new();
        for (i, input) in inputs.into_iter().enumerate() {
            new.push(match input {
                ShrunkInput::Old(i) => small.nodes[node_id].inputs[i],
                ShrunkInput::New(tensor) => {
                    let fact = Fact::from_tensor(&tensor);
                    let name = format!("new{i}");
                    let source = Source::Tensor(tensor);
                    Some(small.values.insert(Value { name, source, fact, declared: None }))
                }
            });
        }
        small.nodes[node_id].inputs = new;
    }
    if let Some(op) = shrunk.op {
        small.nodes[node_id].op = op;
    }
    if let Some(tensor) = small.nodes[node_id].op.constant().cloned() {
        let axes = map.outputs[0].as_ref().unwrap();
        let part = kept_with(graph, map, choice, |kept| sliced(kept, axes, &tensor));
        small.nodes[node_id].op = Box::new(crate::ops::Constant::new(part));
    }
    survives(&small)?;
    small.update_facts().map_err(|e| e.to_string())?;
    let fed = small.inputs.iter().filter_map(|id| {
        let given = tensors.iter().flatten().find(|(input, _)| input == id);
        given.map(|(_, tensor)| tensor.clone())
    });
    let fed = fed.collect();
    Ok((small, fed))
}

/// Whether the op is read as it is written.
fn survives(graph: &Graph) -> Result<(), String> {
    let node = &graph.nodes[graph.order[0]];
    let cx = ParseContext {
        opset: graph.opset(node.op.domain()),
        inputs: node.inputs.len(),
        outputs: node.outputs.len(),
    };
    let attributes = node.op.attributes().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    let again = crate::ops::parse(node.op.name(), node.op.domain(), Attributes::new(attributes), &cx);
    match again {
        Ok(again) if format!("{again:?}") == format!("{:?}", node.op) => Ok(()),
        Ok(again) => Err(format!("{:?} is read back as {again:?}", node.op)),
        Err(e) => Err(format!("{:?} cannot be read back: {e}", node.op)),
    }
}

fn constant(fact: &Fact) -> Result<Tensor, String> {
    let shape: Option<Vec<i64>> = fact.known_shape();
    let shape: Vec<usize> = shape.ok_or("a control of unknown shape")?.iter().map(|&n| n as usize).collect();
    let tensor = match (&fact.content, fact.element_type) {
        (Some(Content::Floats(v)), Some(ElementType::Float32)) => {
            Tensor::from_slice(shape, &v.iter().map(|&v| v as f32).collect::<Vec<_>>())
        }
        (Some(Content::Ints(v)), Some(element_type)) => {
            let ints =
                v.iter().map(|d| d.known().ok_or("a symbolic control")).collect::<Result<Vec<_>, _>>()?;
            match element_type {
                ElementType::Int64 => Tensor::from_slice(shape, &ints),
                ElementType::Int32 => {
                    Tensor::from_slice(shape, &ints.iter().map(|&n| n as i32).collect::<Vec<_>>())
                }
                ElementType::Bool => {
                    Tensor::from_slice(shape, &ints.iter().map(|&n| n != 0).collect::<Vec<_>>())
                }
                other => return Err(format!("a control of type {other}")),
            }
        }
        _ => return Err(format!("a control without content: {fact:?}")),
    };
    tensor.map_err(|e| e.to_string())
}

/// What is kept of a tensor with these axes.
fn sliced(kept: &Kept, axes: &[Axis], tensor: &Tensor) -> Tensor {
    let all = |axis: usize| (0..tensor.shape()[axis]).collect();
    let indices = axes.iter().enumerate().map(|(i, axis)| kept.axis_indices(axis).unwrap_or_else(|| all(i)));
    let indices: Vec<Vec<usize>> = indices.collect();
    let mut flat = vec![0];
    for (own, size) in indices.iter().zip(tensor.shape()) {
        flat = flat.iter().flat_map(|i| own.iter().map(move |j| i * size + j)).collect();
    }
    let width = tensor.bytes().len() / tensor.len().max(1);
    let bytes: Vec<u8> =
        flat.iter().flat_map(|i| &tensor.bytes()[i * width..(i + 1) * width]).copied().collect();
    Tensor::new(tensor.element_type(), indices.iter().map(Vec::len).collect(), bytes.into()).unwrap()
}

/// Zeros where the atom has an index that is not kept, along any axis.
fn zeroed(map: &AxisMap, axes: &[Axis], tensor: &Tensor, atom: AtomId, kept: &[usize]) -> Tensor {
    let along: Vec<_> = axes.iter().map(|axis| atom_indices(map, axis, atom)).collect();
    let width = tensor.bytes().len() / tensor.len().max(1);
    let mut bytes = tensor.bytes().to_vec();
    for (flat, element) in bytes.chunks_exact_mut(width.max(1)).enumerate() {
        let mut rest = flat;
        for (axis, size) in tensor.shape().iter().enumerate().rev() {
            if along[axis][rest % size].is_some_and(|index| !kept.contains(&index)) {
                element.fill(0);
            }
            rest /= size;
        }
    }
    Tensor::new(tensor.element_type(), tensor.shape().to_vec(), bytes.into()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Case;

    #[test]
    fn a_wrong_index_is_noticed() {
        let case = Case::new(11).float([1, 2, 5]).param([4, 2, 3]);
        let graph = Arc::new(Graph::from_model(case.model::<crate::ops::Conv>(false)).unwrap());
        let fed = case.fed_tensors();
        let outputs = run(&graph, &fed, true, "a convolution");
        let map = axis_map(&graph);
        let filters = map.atoms.iter().position(|atom| atom.size.is(4)).unwrap();
        let keep = |indices: &[usize]| {
            let mut choice: Choice = vec![None; map.atoms.len()];
            choice[filters] = Some(Subset { indices: indices.into(), of: 4 });
            choice
        };
        assert_eq!(trial(&graph, &fed, &outputs, &keep(&[0, 2]), &keep(&[0, 2])), Ok(()));
        assert!(trial(&graph, &fed, &outputs, &keep(&[0, 2]), &keep(&[0, 3])).is_err());
    }
}
