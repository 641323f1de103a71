//! Arrays from `.npz` and `.npy` files, bound to the model's inputs by name.
//!
//! 8-bit arrays for a float input with four axes are images `[N, H, W, C]`, `[N, C, H, W]` or `[N, H, W]` and are
//! preprocessed; everything else is taken as it is, unless preprocessing was asked for.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use secateurs_onnx::{ElementType, Tensor};

use super::augment::Augmenting;
use super::cast;
use super::error::{DataError, Result};
use super::labels::Labels;
use super::npz::Archive;
use super::preprocess::Preprocess;
use super::signature::InputSpec;
use super::transform::Transform;
use super::view::View;

/// Names of the labels' array, where no input of the model has that name.
const LABELS: [&str; 3] = ["y", "labels", "label"];

/// The arrays of a file, one per input of the model in its order.
#[derive(Debug)]
pub(super) struct Arrays {
    path: PathBuf,
    columns: Vec<Column>,
    /// Number of samples.
    pub len: usize,
}

#[derive(Debug)]
struct Column {
    name: String,
    tensor: Tensor,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Samples that are taken as they are, apart from the element type.
    Plain,
    /// An input without axes: the same value for every batch.
    Constant,
    /// Images; `planar` ones have their channels before height and width.
    Images { transform: Transform, planar: bool },
}

/// How to preprocess: what the user asked for, and what to do with 8-bit images if nothing was asked for, which is looked up only where there
/// are any.
pub(super) struct Wishes<'a> {
    pub explicit: &'a Preprocess,
    pub images: &'a dyn Fn() -> Result<Preprocess>,
}

impl Arrays {
    /// Reads the arrays for `inputs` and the labels if there are any, of which `ignored` do not count.
    pub fn open(
        path: &Path,
        inputs: &[InputSpec],
        wishes: &Wishes<'_>,
        ignored: Option<i64>,
    ) -> Result<(Arrays, Option<Labels>)> {
        let mut archive = Archive::open(path)?;
        let names = archive.names();
        let is_input = |name: &str| inputs.iter().any(|input| input.name == name);
        let label_name = LABELS.iter().find(|l| !is_input(l) && names.iter().any(|n| n == *l));
        let mut columns = Vec::new();
        for input in inputs {
            let name = column_name(path, input, inputs.len(), &names, label_name.copied())?;
            let tensor = archive.read(&name)?;
            let kind = kind(path, &name, &tensor, input, wishes)?;
            columns.push(Column { name, tensor, kind });
        }
        let mut counted = columns.iter().filter(|column| !matches!(column.kind, Kind::Constant));
        let Some(first) = counted.next() else {
            return Err(DataError::Empty {
                path: path.to_owned(),
                what: "no array has an axis of samples".to_owned(),
            });
        };
        let len = first.tensor.shape()[0];
        let mismatch = |second: &str, second_len: usize| DataError::LengthMismatch {
            path: path.to_owned(),
            first: first.name.clone(),
            first_len: len,
            second: second.to_owned(),
            second_len,
        };
        if let Some(other) = counted.find(|column| column.tensor.shape()[0] != len) {
            return Err(mismatch(&other.name, other.tensor.shape()[0]));
        }
        let labels = match label_name {
            None => None,
            Some(name) => {
                let labels = Labels::of_array(path, name, &archive.read(name)?, ignored)?;
                if labels.shape()[0] != len {
                    return Err(mismatch(name, labels.shape()[0]));
                }
                Some(labels)
            }
        };
        if len == 0 {
            return Err(DataError::Empty {
                path: path.to_owned(),
                what: format!("'{}' has none", first.name),
            });
        }
        let transformed = columns.iter().any(|column| matches!(column.kind, Kind::Images { .. }));
        if !wishes.explicit.is_empty() && !transformed {
            return Err(DataError::Options(format!(
                "{}: preprocessing was asked for, but no array and input of the model are images with four axes",
                path.display()
            )));
        }
        Ok((Arrays { path: path.to_owned(), columns, len }, labels))
    }

    /// The preprocessing of the first input that gets any.
    pub fn preprocess(&self) -> Option<Preprocess> {
        self.columns.iter().find_map(|column| match &column.kind {
            Kind::Images { transform, .. } => Some(transform.describe()),
            _ => None,
        })
    }

    /// The inputs that get 8-bit images: their places, what becomes of the images, and the images' channels.
    pub fn byte_images(&self) -> Vec<(usize, &Transform, usize)> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter_map(|(position, Column { tensor, kind, .. })| match kind {
                Kind::Images { transform, planar } if tensor.element_type() == ElementType::Uint8 => {
                    let channels = tensor.shape().get(if *planar { 1 } else { 3 });
                    Some((position, transform, *channels.unwrap_or(&1)))
                }
                _ => None,
            })
            .collect()
    }

    /// The first input that gets one row a sample, which there is.
    pub fn first_input(&self) -> usize {
        self.columns.iter().position(|column| !matches!(column.kind, Kind::Constant)).unwrap_or_default()
    }

    /// The rows `indices` for the input at `position`; 8-bit images are augmented.
    pub fn batch(
        &self,
        indices: &[usize],
        position: usize,
        spec: &InputSpec,
        augmenting: Option<Augmenting<'_>>,
    ) -> Result<Tensor> {
        let column = &self.columns[position];
        let tensor = &column.tensor;
        let error = |message: String| DataError::Array {
            path: self.path.clone(),
            array: Some(column.name.clone()),
            message,
        };
        match &column.kind {
            Kind::Constant => cast::cast(tensor, spec.element_type).map_err(error),
            Kind::Plain => {
                let rows = rows(tensor, indices)?;
                cast::cast(&rows, spec.element_type).map_err(error)
            }
            Kind::Images { transform, planar } => {
                let (values, shape) =
                    images(tensor, indices, transform, *planar, augmenting).map_err(error)?;
                cast::from_f32(values, shape, spec.element_type).map_err(error)
            }
        }
    }
}

/// Which array an input takes: its namesake, or for a model with one input `x` or the only array.
fn column_name(
    path: &Path,
    input: &InputSpec,
    inputs: usize,
    names: &[String],
    labels: Option<&str>,
) -> Result<String> {
    let has = |name: &str| names.iter().any(|n| n == name);
    if has(&input.name) {
        return Ok(input.name.clone());
    }
    let others: Vec<&String> = names.iter().filter(|name| Some(name.as_str()) != labels).collect();
    match others[..] {
        [only] if inputs == 1 => Ok(only.clone()),
        _ if inputs == 1 && has("x") => Ok("x".to_owned()),
        _ => Err(DataError::MissingArray {
            path: path.to_owned(),
            input: input.name.clone(),
            present: if names.is_empty() { "none".to_owned() } else { format!("'{}'", names.join("', '")) },
        }),
    }
}

fn kind(path: &Path, name: &str, tensor: &Tensor, spec: &InputSpec, wishes: &Wishes<'_>) -> Result<Kind> {
    let shape = tensor.shape();
    if spec.shape.is_empty() {
        return Ok(Kind::Constant);
    }
    if shape.is_empty() {
        return Err(DataError::Array {
            path: path.to_owned(),
            array: Some(name.to_owned()),
            message: format!("is a single number; the model's input '{}' takes {spec}", spec.name),
        });
    }
    let bytes = tensor.element_type() == ElementType::Uint8;
    let asked = !wishes.explicit.is_empty();
    let imagelike = spec.shape.len() == 4
        && (shape.len() == 4 && (bytes || tensor.element_type().is_float()) || shape.len() == 3 && bytes);
    if !imagelike || !(asked || bytes && spec.element_type.is_float()) {
        return Ok(Kind::Plain);
    }
    // Channels last, as images are stored, unless only the second axis can be that of the channels.
    let few = |size: usize| size == 1 || size == 3;
    let planar = shape.len() == 4 && few(shape[1]) && !few(shape[3]);
    let channels = if shape.len() == 3 { 1 } else { shape[if planar { 1 } else { 3 }] };
    let found = if asked { None } else { Some((wishes.images)()?) };
    let transform = Transform::new(path, found.as_ref().unwrap_or(wishes.explicit), spec, Some(channels))?;
    if transform.changes_size() && !bytes {
        return Err(DataError::Options(format!(
            "{}: array '{name}': only 8-bit images can be resized and cropped, these are {}",
            path.display(),
            tensor.element_type()
        )));
    }
    if transform.channels != channels && channels != 1 {
        return Err(DataError::Signature {
            path: path.to_owned(),
            input: spec.name.clone(),
            expected: spec.to_string(),
            got: format!("images with {channels} channels, {} {shape:?}", tensor.element_type()),
            remedy: "convert the images, or choose the axis of the model's channels with --layout".to_owned(),
        });
    }
    Ok(Kind::Images { transform, planar })
}

/// The rows `indices` of the first axis.
pub(super) fn rows(tensor: &Tensor, indices: &[usize]) -> Result<Tensor> {
    let row = tensor.bytes().len() / tensor.shape()[0];
    let mut bytes = Vec::with_capacity(row * indices.len());
    for index in indices {
        bytes.extend_from_slice(&tensor.bytes()[index * row..(index + 1) * row]);
    }
    let mut shape = tensor.shape().to_vec();
    shape[0] = indices.len();
    Tensor::new(tensor.element_type(), shape, Bytes::from(bytes))
        .map_err(|e| DataError::Options(e.to_string()))
}

fn images(
    tensor: &Tensor,
    indices: &[usize],
    transform: &Transform,
    planar: bool,
    augmenting: Option<Augmenting<'_>>,
) -> Result<(Vec<f32>, Vec<usize>), String> {
    let mut shape = [1; 3];
    shape[..tensor.shape().len() - 1].copy_from_slice(&tensor.shape()[1..]);
    if shape.contains(&0) {
        return Err(format!("has images without pixels, {:?}", tensor.shape()));
    }
    let row_bytes = tensor.bytes().len() / tensor.shape()[0];
    let mut values: Vec<f32> = Vec::new();
    let mut full = vec![indices.len()];
    for (position, index) in indices.iter().enumerate() {
        let bytes = tensor.bytes().slice(index * row_bytes..(index + 1) * row_bytes);
        let got = if tensor.element_type() == ElementType::Uint8 {
            let augmenting = augmenting.map(|a| (a, *index));
            transform.apply(View::new(&bytes, shape, planar), augmenting, &mut values)
        } else {
            let one = Tensor::new(tensor.element_type(), shape.to_vec(), bytes).map_err(|e| e.to_string())?;
            transform.apply_floats(&one.to_f64_vec().map_err(|e| e.to_string())?, shape, planar, &mut values)
        };
        if position == 0 {
            full.extend(got);
            values.reserve_exact(values.len() * (indices.len() - 1));
        }
    }
    Ok((values, full))
}
