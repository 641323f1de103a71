//! The axis map against evaluation: permuting an atom permutes the outputs or leaves them alone; changing one index of a
//! free atom changes the outputs at that index only. Tied atoms are permuted together, and their indices may mix.

use std::collections::HashMap;
use std::sync::Arc;

use secateurs_onnx::Tensor;

use super::case::Noise;
use super::check::{assert_close, run};
use crate::axes::{AtomId, Axis, AxisMap, Role, Segment};
use crate::fact::Fact;
use crate::graph::{Graph, Source, ValueId};

/// Holds the op's axis map against evaluation, in 64 bits.
pub fn check(graph: &Arc<Graph>, fed: &[Tensor], outputs: &[Tensor], ordered: bool, what: &str) {
    let node_id = graph.order[0];
    let node = &graph.nodes[node_id];
    let facts = graph.input_facts(node);
    let map = node.op.axes(&node.op_inputs(&facts), &graph.output_facts(node));
    sizes_agree(graph, &map, what);
    for (i, atom) in map.atoms.iter().enumerate() {
        let (id, Some(size)) = (AtomId(i), atom.size.known()) else { continue };
        let permutable = match atom.role {
            Role::Free | Role::Summed | Role::Averaged => true,
            Role::Mixed(_) => !ordered,
            Role::Dropped | Role::Made | Role::Blocked(_) => false,
        };
        if size < 2 || outputs.is_empty() {
            continue;
        }
        let what = format!("{what}: atom {i} ({:?}, size {size}) of {map:?}", atom.role);
        let tied = tied(&map, id);
        if permutable && !tied.iter().any(|&id| picked(&map, id)) {
            permutation(graph, &map, &tied, size as usize, fed, outputs, &what);
        }
        if matches!(atom.role, Role::Free | Role::Dropped) && tied.len() == 1 {
            perturbation(graph, &map, id, size as usize, fed, outputs, &what);
        }
    }
}

/// The atoms whose indices are those of this one, itself included.
pub fn tied(map: &AxisMap, id: AtomId) -> Vec<AtomId> {
    let mut tied = vec![id];
    let mut next = 0;
    while next < tied.len() {
        let own = tied[next];
        let others = map.ties.iter().filter_map(|&(a, b)| match () {
            _ if a == own => Some(b),
            _ if b == own => Some(a),
            _ => None,
        });
        let new: Vec<AtomId> = others.filter(|other| !tied.contains(other)).collect();
        tied.extend(new);
        next += 1;
    }
    tied
}

fn sizes_agree(graph: &Graph, map: &AxisMap, what: &str) {
    let node = &graph.nodes[graph.order[0]];
    let ports = node.inputs.iter().zip(&map.inputs).chain(node.outputs.iter().zip(&map.outputs));
    for (value, axes) in ports {
        let (Some(value), Some(axes)) = (value, axes) else { continue };
        let shape = graph.values[*value].fact.shape.as_ref().unwrap();
        assert_eq!(axes.len(), shape.len(), "{what}: axes of '{}'", graph.values[*value].name);
        for (axis, dim) in axes.iter().zip(shape) {
            let size: i64 = axis.iter().map(|s| segment_size(map, s)).sum();
            assert_eq!(
                Some(size),
                dim.known(),
                "{what}: an axis of '{}' in {map:?}",
                graph.values[*value].name
            );
        }
    }
}

fn segment_size(map: &AxisMap, segment: &Segment) -> i64 {
    match segment {
        Segment::Product(atoms) => atoms.iter().map(|a| map.atoms[a.0].size.known().unwrap()).product(),
        Segment::Pick { indices, .. } => indices.len() as i64,
    }
}

fn picked(map: &AxisMap, id: AtomId) -> bool {
    let axes = map.inputs.iter().chain(&map.outputs).flatten().flatten().flatten();
    axes.into_iter().any(|s| matches!(s, Segment::Pick { atom, .. } if *atom == id))
}

/// For every index of an axis, the index of the atom there, if it takes part.
pub fn atom_indices(map: &AxisMap, axis: &Axis, id: AtomId) -> Vec<Option<usize>> {
    let mut out = Vec::new();
    for segment in axis {
        match segment {
            Segment::Product(atoms) => {
                let sizes: Vec<usize> =
                    atoms.iter().map(|a| map.atoms[a.0].size.known().unwrap() as usize).collect();
                for flat in 0..sizes.iter().product::<usize>() {
                    let mut rest = flat;
                    let mut index = None;
                    for (atom, size) in atoms.iter().zip(&sizes).rev() {
                        if *atom == id {
                            index = Some(rest % size);
                        }
                        rest /= size;
                    }
                    out.push(index);
                }
            }
            Segment::Pick { atom, indices } => {
                out.extend(indices.iter().map(|&i| (*atom == id).then_some(i)));
            }
        }
    }
    out
}

/// Where each index of an axis moves when the atoms are permuted.
fn moved(map: &AxisMap, axis: &Axis, ids: &[AtomId], permutation: &[usize]) -> Vec<usize> {
    let mut out = Vec::new();
    let mut offset = 0;
    for segment in axis {
        let size = segment_size(map, segment) as usize;
        match segment {
            Segment::Product(atoms) => {
                let sizes: Vec<usize> =
                    atoms.iter().map(|a| map.atoms[a.0].size.known().unwrap() as usize).collect();
                for flat in 0..size {
                    let (mut rest, mut target, mut stride) = (flat, 0, 1);
                    for (atom, size) in atoms.iter().zip(&sizes).rev() {
                        let index = rest % size;
                        rest /= size;
                        target += stride * if ids.contains(atom) { permutation[index] } else { index };
                        stride *= size;
                    }
                    out.push(offset + target);
                }
            }
            Segment::Pick { .. } => out.extend(offset..offset + size),
        }
        offset += size;
    }
    out
}

fn permute(map: &AxisMap, axes: &[Axis], tensor: &Tensor, ids: &[AtomId], permutation: &[usize]) -> Tensor {
    let moves: Vec<Vec<usize>> = axes.iter().map(|axis| moved(map, axis, ids, permutation)).collect();
    let shape = tensor.shape();
    let width = tensor.bytes().len() / tensor.len().max(1);
    let mut bytes = Vec::with_capacity(tensor.bytes().len());
    for flat in 0..tensor.len() {
        let (mut rest, mut source, mut stride) = (flat, 0, 1);
        for (axis, size) in shape.iter().enumerate().rev() {
            source += stride * moves[axis][rest % size];
            rest /= size;
            stride *= size;
        }
        bytes.extend_from_slice(&tensor.bytes()[source * width..(source + 1) * width]);
    }
    Tensor::new(tensor.element_type(), shape.to_vec(), bytes.into()).unwrap()
}

/// Replaces fed inputs and constants and runs.
pub fn run_with(
    graph: &Arc<Graph>,
    fed: &[Tensor],
    replaced: &HashMap<ValueId, Tensor>,
    what: &str,
) -> Vec<Tensor> {
    let fed: Vec<Tensor> =
        graph.inputs.iter().zip(fed).map(|(id, tensor)| replaced.get(id).unwrap_or(tensor).clone()).collect();
    let mut changed = (**graph).clone();
    for (&id, tensor) in replaced {
        let value = &mut changed.values[id];
        if let Source::Tensor(old) = &mut value.source {
            *old = tensor.clone();
            value.fact = Fact::from_tensor(tensor);
        }
    }
    run(&Arc::new(changed), &fed, true, what)
}

/// The tensors that the node reads, by input.
pub fn input_tensors(graph: &Graph, fed: &[Tensor]) -> Vec<Option<(ValueId, Tensor)>> {
    let node = &graph.nodes[graph.order[0]];
    let find = |id: ValueId| {
        let at = graph.inputs.iter().position(|v| *v == id);
        (id, at.map(|i| fed[i].clone()).or_else(|| graph.tensor(id).cloned()).unwrap())
    };
    node.inputs.iter().map(|v| v.map(find)).collect()
}

fn permutation(
    graph: &Arc<Graph>,
    map: &AxisMap,
    ids: &[AtomId],
    size: usize,
    fed: &[Tensor],
    outputs: &[Tensor],
    what: &str,
) {
    let mut order: Vec<usize> = (0..size).collect();
    let mut noise = Noise(77);
    for i in (1..size).rev() {
        order.swap(i, (noise.next() % (i as u64 + 1)) as usize);
    }
    order.rotate_left(1);
    let mut replaced = HashMap::new();
    for (input, axes) in input_tensors(graph, fed).into_iter().zip(&map.inputs) {
        if let (Some((value, tensor)), Some(axes)) = (input, axes) {
            replaced.insert(value, permute(map, axes, &tensor, ids, &order));
        }
    }
    let got = run_with(graph, fed, &replaced, what);
    for ((before, after), axes) in outputs.iter().zip(&got).zip(&map.outputs) {
        let Some(axes) = axes else { continue };
        let want = permute(map, axes, before, ids, &order);
        assert_close(after, &want, 1e-9, &format!("{what}: permuted"));
    }
}

fn perturbation(
    graph: &Arc<Graph>,
    map: &AxisMap,
    id: AtomId,
    size: usize,
    fed: &[Tensor],
    outputs: &[Tensor],
    what: &str,
) {
    let index = size / 2;
    for (input, axes) in input_tensors(graph, fed).into_iter().zip(&map.inputs) {
        let (Some((value, tensor)), Some(axes)) = (input, axes) else { continue };
        if !tensor.element_type().is_float() {
            continue;
        }
        let touched = positions(map, axes, tensor.shape(), id, index);
        let mut values: Vec<f32> = tensor.to_vec().unwrap();
        values.iter_mut().zip(&touched).filter(|(_, t)| **t).for_each(|(v, _)| *v += 0.25);
        let changed = Tensor::from_slice(tensor.shape().to_vec(), &values).unwrap();
        let got = run_with(graph, fed, &HashMap::from([(value, changed)]), what);
        for ((before, after), axes) in outputs.iter().zip(&got).zip(&map.outputs) {
            let Some(axes) = axes else { continue };
            let may = positions(map, axes, before.shape(), id, index);
            let (x, y) = (before.to_f64_vec().unwrap(), after.to_f64_vec().unwrap());
            for (i, (a, b)) in x.iter().zip(&y).enumerate() {
                let same = (a - b).abs() <= 1e-12 * a.abs().max(1.0) || (a.is_nan() && b.is_nan()) || a == b;
                assert!(
                    same || may[i],
                    "{what}: changing index {index} of '{}' changes output element {i}",
                    graph.values[value].name
                );
            }
        }
    }
}

/// For every element, whether the atom has this index there (along any axis).
fn positions(map: &AxisMap, axes: &[Axis], shape: &[usize], id: AtomId, index: usize) -> Vec<bool> {
    let along: Vec<Vec<Option<usize>>> = axes.iter().map(|axis| atom_indices(map, axis, id)).collect();
    let count: usize = shape.iter().product();
    let hit = |flat: usize| {
        let mut rest = flat;
        let mut found = false;
        for (axis, size) in shape.iter().enumerate().rev() {
            found |= along[axis][rest % size] == Some(index);
            rest /= size;
        }
        found
    };
    (0..count).map(hit).collect()
}
