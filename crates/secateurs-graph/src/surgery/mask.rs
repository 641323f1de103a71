//! The masked twin: the original shape, and what was removed is zero where it is consumed.
//!
//! A node consumes indices that it sums, averages or otherwise mixes. There the slice of a constant operand is zeroed, or the
//! edge into the node is multiplied by a mask of ones and zeros. Zeroing where the indices are made would not do: a bias or
//! an activation behind can turn zero into something else.

use secateurs_onnx::{ElementType, Tensor};

use super::constants::{KeptAxes, floats, zero};
use crate::axes::{Axis, Segment, has_atom};
use crate::coupling::{Coupling, Selection};
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Use};
use crate::op::{InputRole, OpError};
use crate::ops;
use crate::patch::Patch;
use crate::shrink::Kept;

impl Coupling {
    /// The change that zeroes what `selection` leaves out in the inputs of every node that consumes it, all shapes kept.
    pub fn masking(&self, graph: &Graph, selection: &Selection) -> Result<Patch, GraphError> {
        let spaces = self.kept(selection);
        let uses = graph.uses();
        let mut patch = Patch::new();
        for &id in &graph.order {
            let node = &graph.nodes[id];
            let map = &self.spaces.maps[id];
            let atoms = self.atoms_kept(&spaces, id);
            // For each input the atoms that are zeroed there.
            let mut zeroed = vec![vec![None; atoms.len()]; node.inputs.len()];
            for (a, kept) in atoms.iter().enumerate() {
                if kept.is_some() && map.atoms[a].role.consumes() {
                    for i in masked_inputs(graph, id, self, a) {
                        zeroed[i][a] = kept.clone();
                    }
                }
            }
            let facts = graph.input_facts(node);
            let outputs = graph.output_facts(node);
            for (i, atoms) in zeroed.iter().enumerate() {
                let (Some(Some(axes)), Some(value)) = (map.inputs.get(i), node.inputs[i]) else { continue };
                if atoms.iter().all(Option::is_none) {
                    continue;
                }
                let kept = Kept::new(map, node.op_inputs(&facts), &outputs, atoms);
                let touched =
                    |axis: &Axis| axis.iter().flat_map(Segment::atoms).any(|a| atoms[a.0].is_some());
                let axes = axes.iter().map(|axis| match touched(axis) {
                    true => kept.axis_indices(axis).map(|own| Some(own.into())).ok_or_else(|| {
                        let text = "an axis of symbolic size cannot be masked".to_owned();
                        graph.node_error(id, OpError::Unsupported(text))
                    }),
                    false => Ok(None),
                });
                let axes: KeptAxes = axes.collect::<Result<_, _>>()?;
                let name = &graph.values[value].name;
                match graph.tensor(value) {
                    Some(tensor) => {
                        let masked = zero(tensor, &axes)?;
                        // Who reads only the sizes does not mind.
                        let reads = |at: &&Use| {
                            at.input.is_none_or(|i| graph.nodes[at.node].op.role(i) != InputRole::Sizes)
                        };
                        let only = uses[value].iter().filter(reads).count() == 1;
                        match only && !graph.outputs.contains(&value) {
                            true => patch.set_tensor(value, masked),
                            false => {
                                patch.set_input_constant(vec![(id, i)], format!("{name}_masked"), masked)
                            }
                        };
                    }
                    None => {
                        let element_type =
                            graph.values[value].fact.element_type.unwrap_or(ElementType::Float32);
                        for (axis, own) in axes.iter().enumerate() {
                            let (Some(own), Some(shape)) = (own, &graph.values[value].fact.shape) else {
                                continue;
                            };
                            let size = shape[axis].known().unwrap_or(0) as usize;
                            let mask = mask(element_type, shape.len(), axis, size, own)?;
                            let at = Use { node: id, input: Some(i) };
                            let constant = vec![(format!("{name}_mask"), mask)];
                            patch.insert_before(at, format!("{name}_masked"), Box::new(ops::Mul), constant);
                        }
                    }
                }
            }
        }
        Ok(patch)
    }
}

/// The inputs in which removed indices of an atom are zeroed. Of a contraction with a constant that is enough; of computed
/// operands all are, since an op may do more than contract (linear attention sums a state that its keys made).
fn masked_inputs(graph: &Graph, id: NodeId, coupling: &Coupling, atom: usize) -> Vec<usize> {
    let (constants, computed) = holders(graph, id, coupling, atom);
    match constants.first() {
        Some(&first)
            if computed.is_empty()
                || !coupling.spaces.maps[id].outputs.iter().any(|axes| has(axes, atom)) =>
        {
            vec![first]
        }
        _ => computed,
    }
}

/// The inputs that an atom is an index of, those that are constant and those that are computed.
pub(super) fn holders(
    graph: &Graph,
    id: NodeId,
    coupling: &Coupling,
    atom: usize,
) -> (Vec<usize>, Vec<usize>) {
    let node = &graph.nodes[id];
    let map = &coupling.spaces.maps[id];
    let mut holders: Vec<usize> =
        (0..node.inputs.len()).filter(|&i| map.inputs.get(i).is_some_and(|axes| has(axes, atom))).collect();
    // Integers beside floats are labels or positions, which mean something else as zeros.
    let is_float = |i: &usize| {
        node.inputs[*i].and_then(|v| graph.values[v].fact.element_type).is_none_or(ElementType::is_float)
    };
    if holders.iter().any(is_float) {
        holders.retain(is_float);
    }
    let constant = |i: &usize| node.inputs[*i].is_some_and(|v| graph.tensor(v).is_some());
    holders.into_iter().partition(constant)
}

fn has(axes: &Option<Vec<Axis>>, atom: usize) -> bool {
    axes.iter().flatten().any(|axis| has_atom(axis, atom))
}

/// Ones at the kept indices of an axis, zeros elsewhere, shaped to broadcast.
fn mask(
    element_type: ElementType,
    rank: usize,
    axis: usize,
    size: usize,
    kept: &[usize],
) -> Result<Tensor, GraphError> {
    let mut values = vec![0.0; size];
    kept.iter().for_each(|&i| values[i] = 1.0);
    let mut shape = vec![1; rank - axis];
    shape[0] = size;
    floats(element_type, shape, &values)
}
