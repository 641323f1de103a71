//! Sparse tensors, made dense.

use crate::{
    ElementType, Tensor, TensorError,
    tensor::{byte_len, elements},
    tensor_proto::shape,
};

/// The largest dense tensor that is made of a sparse one. What does not fit into a protobuf message has no use here.
const MAX_DENSE_BYTES: usize = 1 << 31;
/// A few bytes of a file can ask for any size, so that a larger one may be so many times as large as what is stored of it.
const TIMES_STORED: usize = 1024;
const ALWAYS_BYTES: usize = 1 << 20;

/// The dense tensor with `values` at `indices` and zeros elsewhere. `values`: `[nnz]`; `indices`: `[nnz]`
/// (positions in row-major order) or `[nnz, rank]`; `dims`: the dense shape.
pub(crate) fn densify(dims: &[i64], values: &Tensor, indices: &Tensor) -> Result<Tensor, TensorError> {
    let shape = shape(dims)?;
    let positions = positions(&shape, values, indices)?;
    let element_type = values.element_type();
    if element_type == ElementType::String {
        return Err(problem("of strings, which is not supported; make it dense".to_owned()));
    }
    let width = match element_type.bits() {
        Some(bits) if bits % 8 == 0 => bits / 8,
        _ => return Err(problem(format!("of {element_type}, which is not supported; make it dense"))),
    };
    let size = byte_len(element_type, &shape)?;
    let stored = values.bytes().len() + indices.bytes().len();
    let limit = stored.saturating_mul(TIMES_STORED).clamp(ALWAYS_BYTES, MAX_DENSE_BYTES);
    if size > limit {
        return Err(problem(format!(
            "that takes {size} bytes when dense; the limit for {stored} bytes of values and indices is {limit}: make it dense"
        )));
    }
    let mut bytes = vec![0; size];
    for (position, value) in positions.into_iter().zip(values.bytes().chunks_exact(width)) {
        bytes[position * width..][..width].copy_from_slice(value);
    }
    Tensor::new(element_type, shape, bytes.into())
}

/// The row-major position of every value, each inside the shape.
pub(crate) fn positions(
    shape: &[usize],
    values: &Tensor,
    indices: &Tensor,
) -> Result<Vec<usize>, TensorError> {
    let count = elements(shape)?;
    let [nnz] = *values.shape() else {
        return Err(problem(format!("whose values have shape {:?}; it must be [nnz]", values.shape())));
    };
    if indices.element_type() != ElementType::Int64 {
        return Err(problem(format!("whose indices are {}; they must be int64", indices.element_type())));
    }
    let entries = indices.to_vec::<i64>()?;
    let outside =
        |entry: &dyn std::fmt::Debug| problem(format!("with index {entry:?} outside of its dims {shape:?}"));
    match *indices.shape() {
        [n] if n == nnz => {
            let position = |entry: &i64| {
                let position = usize::try_from(*entry).ok().filter(|&position| position < count);
                position.ok_or_else(|| outside(entry))
            };
            entries.iter().map(position).collect()
        }
        [n, rank] if n == nnz && rank == shape.len() && rank > 0 => {
            let position = |entry: &[i64]| {
                let mut position = 0;
                for (&index, &dim) in entry.iter().zip(shape) {
                    let index = usize::try_from(index).ok().filter(|&index| index < dim);
                    // No overflow: it stays below the number of elements.
                    position = position * dim + index.ok_or_else(|| outside(&entry))?;
                }
                Ok(position)
            };
            entries.chunks_exact(rank).map(position).collect()
        }
        ref other => {
            let rank = shape.len();
            Err(problem(format!("whose indices have shape {other:?}; it must be [{nnz}] or [{nnz}, {rank}]")))
        }
    }
}

fn problem(text: String) -> TensorError {
    TensorError::Sparse(text)
}
