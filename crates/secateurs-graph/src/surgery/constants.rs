//! Host tensors: slicing, zeroing, and small ones of a given element type.

use std::sync::Arc;

use half::{bf16, f16};
use secateurs_onnx::{ElementType, Tensor};
use slotmap::SecondaryMap;

use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Use, ValueId};
use crate::patch::Patch;

/// The kept indices of each axis, ascending (or in a new order, where they are only sliced); `None` where all stay as they are.
pub(crate) type KeptAxes = Vec<Option<Arc<[usize]>>>;

/// A constant of which only some indices are left.
pub(super) struct Sliced {
    pub value: ValueId,
    pub tensor: Tensor,
    /// The uses that get it as a copy of their own; `None` where it takes the constant's place.
    pub copied: Option<Vec<(NodeId, usize)>>,
}

/// The constants sliced to the indices that each use keeps of each axis (node, input, axis). Uses that part get copies.
pub(super) fn sliced(
    graph: &Graph,
    uses: &SecondaryMap<ValueId, Vec<Use>>,
    kept: impl Fn(NodeId, usize, usize) -> Option<Arc<[usize]>>,
) -> Result<Vec<Sliced>, GraphError> {
    let mut named: Vec<(ValueId, &Tensor)> =
        graph.values.keys().filter_map(|id| Some((id, graph.tensor(id)?))).collect();
    named.sort_by_key(|(id, _)| *id);
    let mut found = Vec::new();
    for (value, tensor) in named {
        let rank = tensor.shape().len();
        let of_use = |at: &Use| match at.input {
            Some(input) => (0..rank).map(|k| kept(at.node, input, k)).collect(),
            None => vec![None; rank],
        };
        let mut wanted: Vec<KeptAxes> = uses[value].iter().map(of_use).collect();
        if graph.outputs.contains(&value) {
            wanted.push(vec![None; rank]);
        }
        let changes = |kept: &KeptAxes| kept.iter().any(Option::is_some);
        if let Some(first) = wanted.first().filter(|first| changes(first))
            && wanted.iter().all(|kept| kept == first)
        {
            found.push(Sliced { value, tensor: slice(tensor, first)?, copied: None });
            continue;
        }
        let mut copies: Vec<(KeptAxes, Vec<(NodeId, usize)>)> = Vec::new();
        for (at, kept) in uses[value].iter().zip(wanted) {
            let Some(input) = at.input.filter(|_| changes(&kept)) else { continue };
            match copies.iter_mut().find(|(own, _)| *own == kept) {
                Some((_, uses)) => uses.push((at.node, input)),
                None => copies.push((kept, vec![(at.node, input)])),
            }
        }
        for (kept, uses) in copies {
            found.push(Sliced { value, tensor: slice(tensor, &kept)?, copied: Some(uses) });
        }
    }
    Ok(found)
}

impl Sliced {
    /// Puts it into the graph.
    pub fn put(self, graph: &Graph, patch: &mut Patch) {
        match self.copied {
            None => patch.set_tensor(self.value, self.tensor),
            Some(uses) => patch.set_input_constant(uses, graph.values[self.value].name.clone(), self.tensor),
        };
    }
}

/// The tensor with only the kept indices of each axis.
pub(crate) fn slice(tensor: &Tensor, kept: &KeptAxes) -> Result<Tensor, GraphError> {
    let Some(last) = kept.iter().rposition(Option::is_some) else { return Ok(tensor.clone()) };
    if let Some(codes) = tensor.codes() {
        return packed(tensor.element_type(), &slice(&codes, kept)?);
    }
    let (shape, width) = (tensor.shape(), width(tensor)?);
    let block = shape[last + 1..].iter().product::<usize>() * width;
    let mut strides = vec![block; last + 1];
    for axis in (0..last).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    // The starts of the rows that lie along the last sliced axis.
    let mut rows = vec![0];
    for axis in 0..last {
        let next = |row: usize, index: usize| row + index * strides[axis];
        rows = match &kept[axis] {
            Some(own) => rows.iter().flat_map(|&r| own.iter().map(move |&i| next(r, i))).collect(),
            None => rows.iter().flat_map(|&r| (0..shape[axis]).map(move |i| next(r, i))).collect(),
        };
    }
    let own: &[usize] = kept[last].as_deref().unwrap_or_default();
    let source = &tensor.bytes()[..];
    let mut bytes = Vec::with_capacity(rows.len() * own.len() * block);
    for row in rows {
        match block {
            // Single numbers: a copy of known length is several times faster.
            4 => own.iter().for_each(|i| bytes.extend_from_slice(fixed::<4>(source, row + i * 4))),
            2 => own.iter().for_each(|i| bytes.extend_from_slice(fixed::<2>(source, row + i * 2))),
            _ => own.iter().for_each(|i| bytes.extend_from_slice(&source[row + i * block..][..block])),
        }
    }
    let sizes = shape.iter().zip(kept).map(|(&n, k)| k.as_ref().map_or(n, |k| k.len())).collect();
    Tensor::new(tensor.element_type(), sizes, bytes.into())
        .map_err(|e| GraphError::Inconsistent(e.to_string()))
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("a tensor holds all of its elements")
}

/// The tensor with zeros wherever an index is not among the kept ones of its axis.
pub(super) fn zero(tensor: &Tensor, kept: &KeptAxes) -> Result<Tensor, GraphError> {
    if let Some(codes) = tensor.codes() {
        return packed(tensor.element_type(), &zero(&codes, kept)?);
    }
    let (shape, width) = (tensor.shape(), width(tensor)?);
    let mut bytes = tensor.bytes().to_vec();
    for (axis, own) in kept.iter().enumerate() {
        let Some(own) = own else { continue };
        let block = shape[axis + 1..].iter().product::<usize>() * width;
        let gone: Vec<usize> = (0..shape[axis]).filter(|i| own.binary_search(i).is_err()).collect();
        for row in bytes.chunks_exact_mut((block * shape[axis]).max(1)) {
            gone.iter().for_each(|i| row[i * block..(i + 1) * block].fill(0));
        }
    }
    Tensor::new(tensor.element_type(), shape.to_vec(), bytes.into())
        .map_err(|e| GraphError::Inconsistent(e.to_string()))
}

fn packed(element_type: ElementType, codes: &Tensor) -> Result<Tensor, GraphError> {
    Tensor::from_codes(element_type, codes).map_err(|e| GraphError::Inconsistent(e.to_string()))
}

fn width(tensor: &Tensor) -> Result<usize, GraphError> {
    match tensor.element_type().bits() {
        Some(bits) if bits % 8 == 0 => Ok(bits / 8),
        _ => Err(GraphError::Inconsistent(format!("{} tensors cannot be sliced", tensor.element_type()))),
    }
}

/// A tensor of floats in a floating-point type.
pub(crate) fn floats(
    element_type: ElementType,
    shape: Vec<usize>,
    values: &[f64],
) -> Result<Tensor, GraphError> {
    let tensor = match element_type {
        ElementType::Float64 => Tensor::from_slice(shape, values),
        ElementType::Float16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>())
        }
        ElementType::Bfloat16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| bf16::from_f64(x)).collect::<Vec<_>>())
        }
        ElementType::Float32 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| x as f32).collect::<Vec<_>>())
        }
        other => return ints(other, shape, &values.iter().map(|&x| x as i64).collect::<Vec<_>>()),
    };
    tensor.map_err(|e| GraphError::Inconsistent(e.to_string()))
}

/// A tensor of integers in an integer type.
pub(super) fn ints(
    element_type: ElementType,
    shape: Vec<usize>,
    values: &[i64],
) -> Result<Tensor, GraphError> {
    let tensor = match element_type {
        ElementType::Int64 => Tensor::from_slice(shape, values),
        ElementType::Int32 => {
            Tensor::from_slice(shape, &values.iter().map(|&n| n as i32).collect::<Vec<_>>())
        }
        ElementType::Bool => Tensor::from_slice(shape, &values.iter().map(|&n| n != 0).collect::<Vec<_>>()),
        other => return Err(GraphError::Inconsistent(format!("no {other} tensor can be made of integers"))),
    };
    tensor.map_err(|e| GraphError::Inconsistent(e.to_string()))
}
